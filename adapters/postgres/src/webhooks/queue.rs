//! The deliveries that are to be made: claimed by one process at a time, settled together.
//!
//! A claim is a lease: it ends by itself, so what a killed process has claimed is taken up by another. That
//! one delivery is then made twice now and then is what *at least once* means.

use async_trait::async_trait;
use commands::context::TraceContext;
use commands::webhooks::ports::{ClaimLimits, Claimed, DeliveryQueue, Outgoing, Settled, WebhookError};
use commands::webhooks::schedule::Outcome;
use commands::webhooks::{DeliveryId, Secret};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{PostgresWebhooks, deliveries, failed, interval};

#[async_trait]
impl DeliveryQueue for PostgresWebhooks {
    async fn claim(&self, limits: ClaimLimits) -> Result<Vec<Claimed>, WebhookError> {
        let query = sqlx::query(CLAIM)
            .bind(i64::from(limits.per_endpoint))
            .bind(i64::from(limits.most))
            .bind(interval(limits.lease));
        let rows = query.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(claimed).collect::<Result<_, _>>().map_err(failed)
    }

    async fn settle(&self, settled: &[Settled]) -> Result<(), WebhookError> {
        let pause = |settled: &Settled| match settled.outcome {
            Outcome::Again { after } => Some(interval(after)),
            Outcome::Delivered | Outcome::Dead | Outcome::Gone => None,
        };
        let http_status = |settled: &Settled| settled.status.and_then(|status| i16::try_from(status).ok());
        let all = || settled.iter();
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let query = sqlx::query_scalar(SETTLE)
            .bind(all().map(|settled| settled.id.0).collect::<Vec<_>>())
            .bind(all().map(|settled| count(settled.attempt)).collect::<Vec<_>>())
            .bind(all().map(|settled| status_of(settled.outcome)).collect::<Vec<_>>())
            .bind(all().map(pause).collect::<Vec<_>>())
            .bind(all().map(|settled| settled.hold.map(interval)).collect::<Vec<_>>())
            .bind(all().map(|settled| settled.outcome == Outcome::Gone).collect::<Vec<_>>())
            .bind(all().map(http_status).collect::<Vec<_>>())
            .bind(all().map(|settled| settled.error.as_deref()).collect::<Vec<_>>());
        let gone: Vec<String> = query.fetch_all(&mut *transaction).await.map_err(failed)?;
        if !gone.is_empty() {
            let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
            let reason = "the endpoint was disabled: its receiver answered 410";
            deliveries::give_up(&mut transaction, &gone, reason).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

fn status_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Again { .. } => "pending",
        Outcome::Dead | Outcome::Gone => "dead",
    }
}

fn count(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// Takes what is due, each endpoint's oldest first and the endpoints in turn. Parameters: most under way
/// of one endpoint, most in all, length of the lease.
///
/// The endpoints' rows are locked, so two processes seldom serve one at the same time; where the second
/// has looked before the first has ended, an endpoint has up to its bound of each for a moment. An
/// endpoint whose last attempt failed has one attempt under way at a time: however many hang, each costs
/// one slot.
const CLAIM: &str = "
with served as (
    select e.id, e.url, e.secret,
           case when e.previous_until > now() then e.previous_secret end as previous_secret,
           greatest(case when e.failures > 0 then 1 else $1 end
                    - (select count(*) from webhook_deliveries f
                        where f.endpoint_id = e.id and f.claimed_until > now()), 0) as room
      from webhook_endpoints e
     where e.status = 'enabled' and (e.held_until is null or e.held_until <= now())
       and exists (select from webhook_deliveries d where d.endpoint_id = e.id and d.status = 'pending'
                                                      and d.next_attempt_at <= now())
       for no key update of e skip locked
), due as (
    select s.id, s.url, s.secret, s.previous_secret, d.number, d.next_attempt_at,
           row_number() over (partition by s.id order by d.next_attempt_at, d.number) as turn
      from served s cross join lateral (
           select d.number, d.next_attempt_at from webhook_deliveries d
            where d.endpoint_id = s.id and d.status = 'pending' and d.next_attempt_at <= now()
            order by d.next_attempt_at limit s.room for update of d skip locked) as d
), chosen as (
    select * from due order by turn, next_attempt_at limit $2
)
update webhook_deliveries d
   set attempts = d.attempts + 1, last_attempt_at = now(), claimed_until = now() + $3,
       next_attempt_at = now() + $3
  from chosen c where d.number = c.number
returning d.number, d.endpoint_id, d.event_id, d.body, d.traceparent, d.tracestate, d.baggage,
          d.attempts, d.attempts - d.schedule_from, c.url, c.secret, c.previous_secret";

/// Keeps what came of attempts; returns the endpoints that are gone. Parameters, one element for each
/// attempt: delivery, attempt, status, pause until the next, hold of the endpoint, whether it is gone,
/// HTTP status, error.
///
/// Whoever comes late with a failure, after its lease, changes nothing; a success counts whenever it comes.
const SETTLE: &str = "
with settled as (
    select * from unnest($1::bigint[], $2::int[], $3::text[], $4::interval[], $5::interval[], $6::bool[],
                         $7::smallint[], $8::text[])
           as s(number, attempt, status, pause, hold, gone, http_status, error)
), ended as (
    update webhook_deliveries d
       set status = s.status, claimed_until = null, last_status = s.http_status, last_error = s.error,
           next_attempt_at = clock_timestamp() + coalesce(s.pause, interval '0'),
           ended_at = case when s.status <> 'pending' then clock_timestamp() end
      from settled s
     where d.number = s.number
       and (s.status = 'delivered' or (d.status = 'pending' and d.attempts = s.attempt))
    returning d.endpoint_id, s.status, s.hold, s.gone
), by_endpoint as (
    select endpoint_id, bool_or(status = 'delivered') as succeeded,
           (count(*) filter (where status <> 'delivered'))::int as failed, max(hold) as hold,
           bool_or(gone) as gone
      from ended group by endpoint_id
), changed as (
    update webhook_endpoints e
       set failures = case when b.succeeded then 0 else e.failures + b.failed end,
           held_until = case when b.hold is null then e.held_until
                             else greatest(e.held_until, clock_timestamp() + b.hold) end,
           status = case when b.gone and e.status = 'enabled' then 'disabled' else e.status end,
           disabled_reason = case when b.gone and e.status = 'enabled'
                                  then 'the receiver answered 410 Gone' else e.disabled_reason end,
           updated_at = case when b.gone and e.status = 'enabled' then clock_timestamp() else e.updated_at end
      from by_endpoint b
     where e.id = b.endpoint_id and (b.failed > 0 or e.failures > 0)
    returning e.id, b.gone
)
select id from changed where gone";

fn claimed(row: &PgRow) -> Result<Claimed, sqlx::Error> {
    let attempt =
        |column: usize| Ok::<_, sqlx::Error>(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or(0));
    let previous: Option<String> = row.try_get(11)?;
    let secrets = [Some(row.try_get::<String, _>(10)?), previous].into_iter().flatten().map(Secret::new);
    Ok(Claimed {
        id: DeliveryId(row.try_get(0)?),
        endpoint_id: row.try_get(1)?,
        attempt: attempt(7)?,
        scheduled_attempt: attempt(8)?,
        outgoing: Outgoing {
            url: row.try_get(9)?,
            message_id: row.try_get::<Uuid, _>(2)?.to_string(),
            body: row.try_get(3)?,
            secrets: secrets.collect(),
            trace: TraceContext {
                traceparent: row.try_get(4)?,
                tracestate: row.try_get(5)?,
                baggage: row.try_get(6)?,
            },
        },
    })
}
