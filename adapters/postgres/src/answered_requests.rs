//! Requests that were answered long ago: after a while their keys and answers are forgotten.

use std::time::Duration;

use commands::ports::StoreError;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Row};

use crate::database::{Database, fetch_all};

/// Most keys that one statement forgets; each takes row locks and log for a moment.
const BATCH: i64 = 5_000;

/// The recorded answers of a database.
#[derive(Debug, Clone)]
pub struct AnsweredRequests {
    pool: PgPool,
}

impl AnsweredRequests {
    /// Those of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone() }
    }

    /// Forgets the keys that were answered longer ago than `keep`, and says how many. A key whose
    /// request still runs has no answer and stays, however old it is. Several processes may do so at
    /// once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; what was forgotten before stays forgotten.
    pub async fn forget(&self, keep: Duration) -> Result<u64, StoreError> {
        let keep = PgInterval::try_from(keep).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let mut forgotten = 0;
        loop {
            let query = sqlx::query(FORGET).bind(keep).bind(BATCH);
            let count =
                async { fetch_all(&self.pool, query).await?.first().map_or(Ok(0), |row| row.try_get(0)) };
            let count: i64 = count.await.map_err(|error: sqlx::Error| {
                tracing::warn!(%error, "cannot forget old idempotency keys");
                StoreError::Unavailable
            })?;
            forgotten += u64::try_from(count).unwrap_or(0);
            if count < BATCH {
                return Ok(forgotten);
            }
        }
    }
}

const FORGET: &str = "
with old as (
    select caller, key from idempotency_answers
     where answered_at < clock_timestamp() - $1
     limit $2 for update skip locked
), answers as (
    delete from idempotency_answers a using old where a.key = old.key and a.caller = old.caller
), keys as (
    delete from idempotency_keys k using old where k.key = old.key and k.caller = old.caller
)
select count(*) from old";
