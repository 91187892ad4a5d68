//! The two reads that most requests begin with, each batched: what is recorded under a key, and how
//! long a stream is.

use commands::idempotency::{Answer, IdempotencyKey, KeyRecord};
use commands::ports::LookUp;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use crate::database::fetch_all;

/// A request's key and the payment that it names.
#[derive(Debug)]
pub(super) struct KeyQuestion {
    pub(super) key: IdempotencyKey,
    pub(super) payment_id: Option<String>,
}

// `limit 1` in each lateral part keeps the planner on the primary keys, whatever it believes about
// the tables' sizes when it first plans this.
const LOOK_UP: &str = "
select k.request_hash, k.trace_id, a.status, a.body, a.position, p.found is not null
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality
       as q(caller, key, payment_id, ordinal)
  left join lateral (select request_hash, trace_id from idempotency_keys i
                      where i.caller = q.caller and i.key = q.key limit 1) as k on true
  left join lateral (select status, body, position from idempotency_answers i
                      where i.caller = q.caller and i.key = q.key limit 1) as a on true
  left join lateral (select 1 as found from events e
                      where e.aggregate_type = 'payment' and e.aggregate_id = q.payment_id
                        and e.sequence = 1 limit 1) as p on true
 order by q.ordinal";

pub(super) async fn look_up(pool: &PgPool, questions: Vec<KeyQuestion>) -> Result<Vec<LookUp>, sqlx::Error> {
    let callers: Vec<&str> = questions.iter().map(|question| question.key.caller.as_ref()).collect();
    let keys: Vec<&str> = questions.iter().map(|question| question.key.key.as_ref()).collect();
    let payments: Vec<Option<&str>> =
        questions.iter().map(|question| question.payment_id.as_deref()).collect();
    let rows = fetch_all(pool, sqlx::query(LOOK_UP).bind(callers).bind(keys).bind(payments)).await?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<LookUp, sqlx::Error> {
    let payment_exists = row.try_get(5)?;
    let Some(hash) = row.try_get::<Option<Vec<u8>>, _>(0)? else {
        return Ok(LookUp { key: None, payment_exists });
    };
    let answer = match row.try_get::<Option<i16>, _>(2)? {
        None => None,
        Some(status) => Some(Answer {
            status: u16::try_from(status).unwrap_or(500),
            body: row.try_get(3)?,
            position: row.try_get(4)?,
        }),
    };
    let request_hash = hash.try_into().map_err(|_| sqlx::Error::ColumnDecode {
        index: "request_hash".to_owned(),
        source: "a SHA-256 has 32 bytes".into(),
    })?;
    Ok(LookUp { key: Some(KeyRecord { request_hash, trace_id: row.try_get(1)?, answer }), payment_exists })
}

/// An aggregate whose length is asked for.
#[derive(Debug)]
pub(super) struct StreamQuestion {
    pub(super) aggregate_type: &'static str,
    pub(super) aggregate_id: String,
}

/// Sequence of the last event of each stream, 0 for a stream that does not exist.
pub(super) async fn lengths(pool: &PgPool, questions: Vec<StreamQuestion>) -> Result<Vec<i64>, sqlx::Error> {
    let types: Vec<&str> = questions.iter().map(|question| question.aggregate_type).collect();
    let ids: Vec<&str> = questions.iter().map(|question| question.aggregate_id.as_str()).collect();
    let query = sqlx::query(
        "select coalesce(l.sequence, 0)
           from unnest($1::text[], $2::text[]) with ordinality as q(type, id, ordinal)
           left join lateral (select sequence from events e
                               where e.aggregate_type = q.type and e.aggregate_id = q.id
                               order by e.sequence desc limit 1) as l on true
          order by q.ordinal",
    )
    .bind(types)
    .bind(ids);
    fetch_all(pool, query).await?.iter().map(|row| row.try_get(0)).collect()
}
