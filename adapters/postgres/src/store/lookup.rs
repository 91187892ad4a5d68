//! The two reads that most requests begin with, each batched: what is recorded under a key, and the
//! end of a stream, which for most streams is all of it.

use chrono::{DateTime, Utc};
use commands::idempotency::{Answer, IdempotencyKey, KeyRecord};
use commands::ports::LookUp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::batched::BatchedRead;

/// A request's key and the payment that it names.
#[derive(Debug)]
pub(super) struct KeyQuestion {
    pub(super) key: IdempotencyKey,
    pub(super) payment_id: Option<String>,
}

/// Reads what is recorded under keys.
pub(super) struct ReadKeys;

// `limit 1` in each lateral part keeps the planner on the primary keys, whatever it believes about
// the tables' sizes when it first plans this.
const LOOK_UP: &str = "
select k.request_hash, k.trace_id, a.status, a.body, a.position, p.found is not null
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality
       as q(caller, key, payment_id, ordinal)
  left join lateral (select request_hash, trace_id from idempotency_keys i
                      where i.caller = q.caller and i.key = q.key limit 1) as k on true
  left join lateral (select status, body, position from idempotency_answers i
                      where k.trace_id is not null and i.caller = q.caller and i.key = q.key limit 1) as a on true
  left join lateral (select 1 as found from events e
                      where e.aggregate_type = 'payment' and e.aggregate_id = q.payment_id
                        and e.sequence = 1 limit 1) as p on true
 order by q.ordinal";

impl BatchedRead for ReadKeys {
    type Question = KeyQuestion;
    type Answer = LookUp;
    const NAME: &'static str = "look_up";
    const MOST: usize = 512;

    async fn answer(
        connection: &mut PgConnection,
        questions: &[KeyQuestion],
    ) -> Result<Vec<LookUp>, sqlx::Error> {
        let callers: Vec<&str> = questions.iter().map(|question| question.key.caller.as_ref()).collect();
        let keys: Vec<&str> = questions.iter().map(|question| question.key.key.as_ref()).collect();
        let payments: Vec<Option<&str>> =
            questions.iter().map(|question| question.payment_id.as_deref()).collect();
        let query = sqlx::query(LOOK_UP).bind(callers).bind(keys).bind(payments);
        query.fetch_all(connection).await?.iter().map(look_up).collect()
    }
}

fn look_up(row: &PgRow) -> Result<LookUp, sqlx::Error> {
    let payment_exists = row.try_get(5)?;
    let is_claimed = row.try_get::<Option<&[u8]>, _>(0)?.is_some();
    Ok(LookUp { key: if is_claimed { Some(key_record(row)?) } else { None }, payment_exists })
}

/// What is recorded under a key, from its columns: hash, trace, status, body, position.
pub(crate) fn key_record(row: &PgRow) -> Result<KeyRecord, sqlx::Error> {
    let answer = match row.try_get::<Option<i16>, _>(2)? {
        None => None,
        Some(status) => Some(Answer {
            status: u16::try_from(status).unwrap_or(500),
            body: row.try_get(3)?,
            position: row.try_get(4)?,
        }),
    };
    let hash: Vec<u8> = row.try_get(0)?;
    let request_hash = hash.try_into().map_err(|_| sqlx::Error::ColumnDecode {
        index: "request_hash".to_owned(),
        source: "a SHA-256 has 32 bytes".into(),
    })?;
    Ok(KeyRecord { request_hash, traceparent: row.try_get(1)?, answer })
}

/// A stream whose end is asked for.
#[derive(Debug)]
pub(super) struct StreamQuestion {
    pub(super) aggregate_type: &'static str,
    pub(super) aggregate_id: String,
    /// The first sequence of interest.
    pub(super) from: i64,
}

/// Reads the ends of streams: at most [`ReadStreams::TAIL`] events of each, in order.
pub(super) struct ReadStreams;

impl ReadStreams {
    /// Most events of one stream; a batch of long ones must still fit the reader's patience.
    pub(super) const TAIL: i64 = 128;
}

/// An event as it is folded.
#[derive(Debug)]
pub(super) struct StreamRow {
    pub(super) sequence: i64,
    pub(super) position: i64,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) event_id: Uuid,
    pub(super) event_type: String,
    pub(super) event_version: String,
    pub(super) payload: String,
}

const STREAM_ENDS: &str = "
select l.sequence, l.position, l.event_id, l.event_type, l.event_version, l.payload::text, l.recorded_at,
       q.ordinal
  from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as q(type, id, first, ordinal),
       lateral (select sequence, position, event_id, event_type, event_version, payload, recorded_at
                  from events e
                 where e.aggregate_type = q.type and e.aggregate_id = q.id and e.sequence >= q.first
                 order by e.sequence desc limit $4) as l
 order by q.ordinal, l.sequence";

impl BatchedRead for ReadStreams {
    type Question = StreamQuestion;
    type Answer = Vec<StreamRow>;
    const NAME: &'static str = "load";
    const MOST: usize = 128;

    async fn answer(
        connection: &mut PgConnection,
        questions: &[StreamQuestion],
    ) -> Result<Vec<Vec<StreamRow>>, sqlx::Error> {
        let types: Vec<&str> = questions.iter().map(|question| question.aggregate_type).collect();
        let ids: Vec<&str> = questions.iter().map(|question| question.aggregate_id.as_str()).collect();
        let firsts: Vec<i64> = questions.iter().map(|question| question.from).collect();
        let query = sqlx::query(STREAM_ENDS).bind(types).bind(ids).bind(firsts).bind(Self::TAIL);
        let mut answers: Vec<Vec<StreamRow>> = questions.iter().map(|_| vec![]).collect();
        for row in query.fetch_all(connection).await? {
            let ordinal: i64 = row.try_get(7)?;
            let answer = usize::try_from(ordinal - 1).ok().and_then(|index| answers.get_mut(index));
            answer.ok_or(sqlx::Error::RowNotFound)?.push(StreamRow::read(&row)?);
        }
        Ok(answers)
    }
}

impl StreamRow {
    /// Reads `sequence, position, event_id, event_type, event_version, payload::text, recorded_at`.
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            sequence: row.try_get(0)?,
            position: row.try_get(1)?,
            event_id: row.try_get(2)?,
            event_type: row.try_get(3)?,
            event_version: row.try_get(4)?,
            payload: row.try_get(5)?,
            recorded_at: row.try_get(6)?,
        })
    }
}
