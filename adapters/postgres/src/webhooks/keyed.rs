//! Keys and answers of requests that change webhooks: the tables of all requests, in the transaction of
//! the change.

use commands::idempotency::{Answer, Claim, KeyRecord, Reply};
use commands::webhooks::ports::WebhookError;
use sqlx::PgConnection;

use super::failed;
use crate::store::key_record;

/// Claims a key. `Some` is the recorded answer: the request was carried out before. While another
/// transaction claims the same key, this waits for its end.
pub(super) async fn claim(
    connection: &mut PgConnection,
    claim: &Claim,
) -> Result<Option<Reply>, WebhookError> {
    let claimed = sqlx::query(
        "insert into idempotency_keys (caller, key, request_hash, trace_id, claimed_at)
         values ($1, $2, $3, $4, clock_timestamp()) on conflict do nothing",
    )
    .bind(claim.key.caller.as_ref())
    .bind(claim.key.key.as_ref())
    .bind(claim.request_hash.as_slice())
    .bind(&claim.traceparent)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    let record = recorded(connection, claim).await.map_err(failed)?;
    Ok(Some(record.reply_to(claim)?))
}

async fn recorded(connection: &mut PgConnection, claim: &Claim) -> Result<KeyRecord, sqlx::Error> {
    let row = sqlx::query(
        "select k.request_hash, k.trace_id, a.status, a.body, a.position
           from idempotency_keys k left join idempotency_answers a on a.key = k.key and a.caller = k.caller
          where k.caller = $1 and k.key = $2",
    )
    .bind(claim.key.caller.as_ref())
    .bind(claim.key.key.as_ref())
    .fetch_one(connection)
    .await?;
    key_record(&row)
}

/// Records the answer of a request whose key this transaction has claimed.
pub(super) async fn answer(
    connection: &mut PgConnection,
    claim: &Claim,
    answer: Answer,
) -> Result<Reply, WebhookError> {
    sqlx::query(
        "insert into idempotency_answers (caller, key, status, body, position, answered_at)
         values ($1, $2, $3, $4, $5, clock_timestamp())",
    )
    .bind(claim.key.caller.as_ref())
    .bind(claim.key.key.as_ref())
    .bind(i16::try_from(answer.status).unwrap_or(i16::MAX))
    .bind(&answer.body)
    .bind(answer.position)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(Reply { answer, replayed: false, trace_id: claim.trace_id().to_owned() })
}
