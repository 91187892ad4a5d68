//! Where in the log the events of a trace are, found through the index of ADR 14.

use std::time::Duration;

use commands::ports::SearchError;
use sqlx::{PgPool, Row};

use super::unavailable;
use crate::database::Borrowed;

/// How long a search may take. What the index does not cover yet is read from end to end, and a search for a
/// person must not take the disk from payments for long.
const PATIENCE: Duration = Duration::from_secs(5);
/// PostgreSQL's code for a statement that was given up.
const GIVEN_UP: &str = "57014";

/// For this transaction only. The planner takes an index of Bloom filters for one that finds nearly every page, and
/// would rather read the whole log, or walk it by position; so neither is offered.
const ONLY_BY_THE_INDEX: &str = "
select set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true),
       set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true)";

/// The trace's part is kept apart from the page's: together they would be searched for by position.
const POSITIONS: &str = "
with recorded as materialized (
    select position from events where substr(traceparent, 4, 32) = $1
)
select position from recorded where position > $2 order by position limit $3";

/// Positions of the events that a trace recorded, behind a position, at most so many.
pub(super) async fn positions(
    pool: &PgPool,
    trace_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<i64>, SearchError> {
    search(pool, trace_id, after, limit).await.map_err(|error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(GIVEN_UP) { TOO_LONG } else { unavailable(&error).into() }
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a few seconds in milliseconds")]
const TOO_LONG: SearchError = SearchError::TookTooLong { limit_ms: PATIENCE.as_millis() as u64 };

async fn search(pool: &PgPool, trace_id: &str, after: i64, limit: u32) -> Result<Vec<i64>, sqlx::Error> {
    // Whatever goes wrong, the connection goes with its transaction.
    let mut borrowed = Borrowed::from(pool).await?;
    let connection = borrowed.connection()?;
    sqlx::query("begin read only").execute(&mut *connection).await?;
    let patience = PATIENCE.as_millis().to_string();
    sqlx::query(ONLY_BY_THE_INDEX).bind(patience).execute(&mut *connection).await?;
    let query = sqlx::query(POSITIONS).bind(trace_id).bind(after).bind(i64::from(limit));
    let rows = query.fetch_all(&mut *connection).await?;
    sqlx::query("commit").execute(connection).await?;
    borrowed.give_back();
    rows.iter().map(|row| row.try_get(0)).collect()
}
