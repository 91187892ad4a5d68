//! Endpoints: registered, changed, deleted, each for its caller.

use async_trait::async_trait;
use commands::idempotency::{Claim, Reply};
use commands::webhooks::ports::{Change, Changed, EndpointChanges, Render, WebhookEndpoints, WebhookError};
use commands::webhooks::{Endpoint, EndpointStatus, EventFilter, Secret};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::database::fetch_all;

use super::{PostgresWebhooks, deliveries, effect, failed, interval, keyed, unknown};

/// Most endpoints of one caller.
const MOST: u32 = 100;

/// The columns of an endpoint, in the order in which [`endpoint`] reads them.
macro_rules! endpoint_columns {
    () => {
        "id, url, event_types, description, status, disabled_reason, after_position, failures,
         case when held_until > now() then held_until end,
         case when previous_until > now() then previous_until end, created_at, updated_at"
    };
}

#[async_trait]
impl WebhookEndpoints for PostgresWebhooks {
    async fn change(&self, claim: &Claim, change: &Change, render: &Render) -> Result<Reply, WebhookError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let caller = claim.key.caller.as_ref();
        // What may have to wait comes before the key: whoever uses the same key, a payment's append among
        // them, waits for this transaction.
        if let Change::Register { .. } = change {
            hold_handlers(&mut transaction).await?;
            // Two registrations of one caller take turns, so that the bound is kept.
            sqlx::query("select pg_advisory_xact_lock(hashtextextended('webhook endpoints of ' || $1, 0))")
                .bind(caller)
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        if let Some(reply) = keyed::claim(&mut transaction, claim).await? {
            return Ok(reply);
        }
        let changed = match change {
            Change::Register { id, url, filter, description, secret } => {
                let registered = Registered { id, caller, url, filter, description, secret };
                Changed::Endpoint(registered.insert(&mut transaction).await?, secret.clone())
            }
            Change::RotateSecret { id, secret, keep_old } => {
                let query = concat!(
                    "update webhook_endpoints
                        set previous_secret = secret, previous_until = now() + $4, secret = $3,
                            updated_at = now()
                      where id = $1 and caller = $2 and status <> 'deleted' returning ",
                    endpoint_columns!()
                );
                let query = sqlx::query(query).bind(id).bind(caller);
                let query = query.bind(secret.expose()).bind(interval(*keep_old));
                let row = query.fetch_optional(&mut *transaction).await.map_err(failed)?;
                Changed::Endpoint(found(row)?, secret.clone())
            }
            Change::Resend { id } => {
                Changed::Delivery(deliveries::resend(&mut transaction, *id, Some(caller)).await?)
            }
        };
        let reply = keyed::answer(&mut transaction, claim, render(&changed)).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(reply)
    }

    async fn endpoints(&self, caller: Option<&str>) -> Result<Vec<Endpoint>, WebhookError> {
        let query = concat!(
            "select ",
            endpoint_columns!(),
            " from webhook_endpoints
              where ($1::text is null or caller = $1) and status <> 'deleted' order by created_at, id"
        );
        let rows = fetch_all(&self.pool, sqlx::query(query).bind(caller)).await.map_err(failed)?;
        rows.iter().map(endpoint).collect::<Result<_, _>>().map_err(failed)
    }

    async fn endpoint(&self, caller: Option<&str>, id: &str) -> Result<Endpoint, WebhookError> {
        let query = concat!(
            "select ",
            endpoint_columns!(),
            " from webhook_endpoints where id = $1 and ($2::text is null or caller = $2) and status <> 'deleted'"
        );
        let query = sqlx::query(query).bind(id).bind(caller);
        found(fetch_all(&self.pool, query).await.map_err(failed)?.pop())
    }

    async fn update(
        &self,
        caller: &str,
        id: &str,
        changes: &EndpointChanges,
    ) -> Result<Endpoint, WebhookError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        if changes.status == Some(EndpointStatus::Enabled) {
            hold_handlers(&mut transaction).await?;
        }
        // Enabled again it begins anew: neither a reason nor a receiver's wish from before counts, and
        // what happened while it was off is not sent.
        let query = concat!(
            "update webhook_endpoints
                set url = coalesce($3, url), event_types = coalesce($4, event_types),
                    description = coalesce($5, description), status = coalesce($6, status),
                    after_position = case when status = 'disabled' and $6 = 'enabled'
                                          then (select position from event_log_head)
                                          else after_position end,
                    disabled_reason = case when $6 is null then disabled_reason end,
                    failures = case when $6 = 'enabled' or $3 is not null then 0 else failures end,
                    held_until = case when $6 is null and $3 is null then held_until end,
                    updated_at = now()
              where id = $1 and caller = $2 and status <> 'deleted' returning ",
            endpoint_columns!()
        );
        let query = sqlx::query(query)
            .bind(id)
            .bind(caller)
            .bind(changes.url.as_deref())
            .bind(changes.filter.as_ref().map(EventFilter::names))
            .bind(changes.description.as_deref())
            .bind(changes.status.map(EndpointStatus::name));
        let endpoint = found(query.fetch_optional(&mut *transaction).await.map_err(failed)?)?;
        transaction.commit().await.map_err(failed)?;
        Ok(endpoint)
    }

    async fn delete(&self, caller: &str, id: &str) -> Result<(), WebhookError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let reason = "the endpoint was deleted";
        let is_callers = sqlx::query("select from webhook_endpoints where id = $1 and caller = $2");
        let is_callers = is_callers.bind(id).bind(caller).fetch_optional(&mut *transaction).await;
        if is_callers.map_err(failed)?.is_some() {
            // Deliveries before their endpoint, as whoever settles them locks them; those that are made
            // meanwhile come after it.
            deliveries::give_up(&mut transaction, &[id], reason).await.map_err(failed)?;
        }
        // Its secrets sign nothing any more.
        let deleted = sqlx::query(
            "update webhook_endpoints
                set status = 'deleted', secret = '', previous_secret = null, updated_at = now()
              where id = $1 and caller = $2 and status <> 'deleted'",
        );
        let deleted = deleted.bind(id).bind(caller).execute(&mut *transaction).await.map_err(failed)?;
        if deleted.rows_affected() == 0 {
            return Err(WebhookError::NoEndpoint);
        }
        deliveries::give_up(&mut transaction, &[id], reason).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

/// An endpoint that is registered.
struct Registered<'a> {
    id: &'a str,
    caller: &'a str,
    url: &'a str,
    filter: &'a EventFilter,
    description: &'a str,
    secret: &'a Secret,
}

impl Registered<'_> {
    /// The locks of [`WebhookEndpoints::change`] are held.
    async fn insert(&self, connection: &mut PgConnection) -> Result<Endpoint, WebhookError> {
        let query = concat!(
            "insert into webhook_endpoints (id, caller, url, event_types, description, secret, status,
                                            after_position)
             select $1, $2, $3, $4, $5, $6, 'enabled', position from event_log_head
              where (select count(*) from webhook_endpoints e where e.caller = $2 and e.status <> 'deleted') < $7
             returning ",
            endpoint_columns!()
        );
        let query = sqlx::query(query)
            .bind(self.id)
            .bind(self.caller)
            .bind(self.url)
            .bind(self.filter.names())
            .bind(self.description)
            .bind(self.secret.expose())
            .bind(i64::from(MOST));
        match query.fetch_optional(connection).await.map_err(failed)? {
            Some(row) => endpoint(&row).map_err(failed),
            None => Err(WebhookError::TooMany { most: MOST }),
        }
    }
}

/// Lets no handler make deliveries until the transaction ends, so that the log's head can be taken for where
/// an endpoint begins: what a handler has read before is at or before the head that is read from now on, and
/// what it reads afterwards is for this endpoint as well. No event falls between the two.
async fn hold_handlers(connection: &mut PgConnection) -> Result<(), WebhookError> {
    sqlx::query("select from consumed where consumer = $1 order by topic, partition for share")
        .bind(effect::NAME)
        .fetch_all(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

fn found(row: Option<PgRow>) -> Result<Endpoint, WebhookError> {
    endpoint(&row.ok_or(WebhookError::NoEndpoint)?).map_err(failed)
}

fn endpoint(row: &PgRow) -> Result<Endpoint, sqlx::Error> {
    let status: &str = row.try_get(4)?;
    Ok(Endpoint {
        id: row.try_get(0)?,
        url: row.try_get(1)?,
        filter: EventFilter::kept(row.try_get(2)?),
        description: row.try_get(3)?,
        status: EndpointStatus::named(status).ok_or_else(|| unknown("status", status))?,
        disabled_reason: row.try_get(5)?,
        after_position: row.try_get(6)?,
        failures: row.try_get(7)?,
        held_until: row.try_get(8)?,
        previous_until: row.try_get(9)?,
        created_at: row.try_get(10)?,
        updated_at: row.try_get(11)?,
    })
}
