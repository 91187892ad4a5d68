//! What has become of deliveries, and sending one again.

use std::time::Duration;

use async_trait::async_trait;
use commands::webhooks::ports::{Deliveries, DeliveryCounts, WebhookError};
use commands::webhooks::{Delivery, DeliveryFilter, DeliveryId, DeliveryStatus};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::database::fetch_all;

use super::{PostgresWebhooks, failed, interval, unknown};

/// Most deliveries that one statement forgets.
const BATCH: i64 = 5_000;

/// The columns of a delivery `d`, in the order in which [`delivery`] reads them.
macro_rules! delivery_columns {
    () => {
        "d.number, d.endpoint_id, d.event_id, d.position, d.event_type, d.payment_id, d.status, d.attempts,
         case when d.status = 'pending' then d.next_attempt_at end, d.last_attempt_at, d.last_status,
         d.last_error, d.created_at, d.ended_at"
    };
}

/// What differs is by which index deliveries are found. Parameters: caller, endpoint, payment, status,
/// before, limit.
macro_rules! deliveries_by {
    ($found_by:literal) => {
        concat!(
            "select ",
            delivery_columns!(),
            " from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id
              where ",
            $found_by,
            " and ($1::text is null or e.caller = $1) and ($2::text is null or d.endpoint_id = $2)
              and ($3::text is null or d.payment_id = $3) and ($4::text is null or d.status = $4)
              and d.number < $5
              order by d.number desc limit $6"
        )
    };
}

#[async_trait]
impl Deliveries for PostgresWebhooks {
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Delivery>, WebhookError> {
        // One statement for each index, so that the right one is used whatever is asked for.
        let query = match (&filter.payment_id, &filter.endpoint_id, filter.status) {
            (Some(_), ..) => sqlx::query(deliveries_by!("d.payment_id = $3")),
            (None, _, Some(DeliveryStatus::Dead)) => sqlx::query(deliveries_by!("d.status = 'dead'")),
            (None, Some(_), _) => sqlx::query(deliveries_by!("d.endpoint_id = $2")),
            (None, None, _) => sqlx::query(deliveries_by!("true")),
        };
        let query = query
            .bind(filter.caller.as_deref())
            .bind(filter.endpoint_id.as_deref())
            .bind(filter.payment_id.as_deref())
            .bind(filter.status.map(DeliveryStatus::name))
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit));
        let rows = fetch_all(&self.pool, query).await.map_err(failed)?;
        rows.iter().map(delivery).collect::<Result<_, _>>().map_err(failed)
    }

    async fn resend(&self, id: DeliveryId) -> Result<Delivery, WebhookError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let resent = resend(&mut transaction, id, None).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(resent)
    }

    async fn resend_dead(&self, endpoint_id: &str) -> Result<u64, WebhookError> {
        let query = "select status from webhook_endpoints where id = $1 and status <> 'deleted'";
        let status: Option<String> =
            sqlx::query_scalar(query).bind(endpoint_id).fetch_optional(&self.pool).await.map_err(failed)?;
        match status.as_deref() {
            None => return Err(WebhookError::NoEndpoint),
            Some("enabled") => {}
            Some(_) => return Err(WebhookError::NotEnabled),
        }
        let query = "update webhook_deliveries
                        set status = 'pending', schedule_from = attempts, next_attempt_at = now(), ended_at = null
                      where endpoint_id = $1 and status = 'dead'";
        let resent = sqlx::query(query).bind(endpoint_id).execute(&self.pool).await.map_err(failed)?;
        Ok(resent.rows_affected())
    }

    async fn counts(&self) -> Result<DeliveryCounts, WebhookError> {
        // Those of a deleted endpoint are nobody's concern any more.
        let query = "select (select count(*) from webhook_deliveries where status = 'pending'),
                            (select count(*) from webhook_deliveries d
                               join webhook_endpoints e on e.id = d.endpoint_id and e.status <> 'deleted'
                              where d.status = 'dead')";
        let (pending, dead) = sqlx::query_as(query).fetch_one(&self.pool).await.map_err(failed)?;
        Ok(DeliveryCounts { pending, dead })
    }
}

impl PostgresWebhooks {
    /// Forgets what was delivered longer ago than `keep`, and what was given up for endpoints that are
    /// deleted; says how many. Several processes may do so at once.
    ///
    /// # Errors
    /// [`WebhookError::Unavailable`]; what was forgotten before stays forgotten.
    pub async fn forget_ended(&self, keep: Duration) -> Result<u64, WebhookError> {
        let mut forgotten = 0;
        for statement in [FORGET_DELIVERED, FORGET_DEAD] {
            loop {
                let query = sqlx::query(statement).bind(interval(keep)).bind(BATCH);
                let count = query.execute(&self.pool).await.map_err(failed)?.rows_affected();
                forgotten += count;
                if count < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}

const FORGET_DELIVERED: &str = "
delete from webhook_deliveries where number in (
    select number from webhook_deliveries where status = 'delivered' and ended_at < now() - $1
     limit $2 for update skip locked)";

const FORGET_DEAD: &str = "
delete from webhook_deliveries where number in (
    select d.number from webhook_deliveries d
      join webhook_endpoints e on e.id = d.endpoint_id and e.status = 'deleted'
     where d.status = 'dead' and d.ended_at < now() - $1
     limit $2 for update of d skip locked)";

/// Makes a delivery that has ended pending again, at the beginning of the schedule.
pub(super) async fn resend(
    connection: &mut PgConnection,
    id: DeliveryId,
    caller: Option<&str>,
) -> Result<Delivery, WebhookError> {
    let query = sqlx::query_as(
        "select d.status, e.status from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id
          where d.number = $1 and ($2::text is null or e.caller = $2) for update of d",
    );
    let row: Option<(String, String)> =
        query.bind(id.0).bind(caller).fetch_optional(&mut *connection).await.map_err(failed)?;
    let (delivery_status, endpoint_status) = row.ok_or(WebhookError::NoDelivery)?;
    match (delivery_status.as_str(), endpoint_status.as_str()) {
        ("pending", _) => return Err(WebhookError::Pending),
        (_, "enabled") => {}
        _ => return Err(WebhookError::NotEnabled),
    }
    let query = concat!(
        "update webhook_deliveries d
            set status = 'pending', schedule_from = attempts, next_attempt_at = now(), ended_at = null
          where number = $1 returning ",
        delivery_columns!()
    );
    let row = sqlx::query(query).bind(id.0).fetch_one(connection).await.map_err(failed)?;
    delivery(&row).map_err(failed)
}

/// Gives up what is pending for endpoints.
pub(super) async fn give_up(
    connection: &mut PgConnection,
    endpoint_ids: &[&str],
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update webhook_deliveries
            set status = 'dead', claimed_until = null, ended_at = now(), last_error = $2
          where endpoint_id = any ($1) and status = 'pending'",
    )
    .bind(endpoint_ids)
    .bind(reason)
    .execute(connection)
    .await
    .map(|_| ())
}

fn delivery(row: &PgRow) -> Result<Delivery, sqlx::Error> {
    let status: &str = row.try_get(6)?;
    Ok(Delivery {
        id: DeliveryId(row.try_get(0)?),
        endpoint_id: row.try_get(1)?,
        event_id: row.try_get::<Uuid, _>(2)?.to_string(),
        position: row.try_get(3)?,
        event_type: row.try_get(4)?,
        payment_id: row.try_get(5)?,
        status: DeliveryStatus::named(status).ok_or_else(|| unknown("status", status))?,
        attempts: row.try_get(7)?,
        next_attempt_at: row.try_get(8)?,
        last_attempt_at: row.try_get(9)?,
        last_status: row.try_get::<Option<i16>, _>(10)?.and_then(|status| u16::try_from(status).ok()),
        last_error: row.try_get(11)?,
        created_at: row.try_get(12)?,
        ended_at: row.try_get(13)?,
    })
}
