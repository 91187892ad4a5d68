//! Reading the log: in order, a payment's story, one event, and whether the database answers.

pub(crate) mod fact;
mod of_trace;
pub(crate) mod pages;
mod point_in_time;
pub(crate) mod stretch;

use std::time::Duration;

use async_trait::async_trait;
use commands::ports::{AccountAt, EventReader, Moment, RecordedEvent, SearchError, StoreError};
use domain::{AccountId, PaymentId};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::database::{Database, fetch_all};
use crate::hash_chain::Hash;

pub use self::fact::fact_of;

/// Most events of one story; a payment has about a dozen.
const MOST_EVENTS: i64 = 1_000;
/// How soon a reader that follows the log looks for what other processes have appended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The columns of a recorded event, in the order in which [`recorded_event`] reads them.
macro_rules! event_columns {
    () => {
        "e.position, e.sequence, e.event_id, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
         e.payload::text, e.recorded_at, e.correlation_id, e.causation_id, e.actor, e.traceparent,
         e.tracestate, e.baggage, e.hash, e.chain"
    };
}

/// Reads recorded events.
#[derive(Debug, Clone)]
pub struct EventLog {
    pool: PgPool,
    database: Database,
    /// Position of the last event that this process has appended, where it appends.
    appended: Option<watch::Receiver<i64>>,
}

impl EventLog {
    /// A reader of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone(), database: database.clone(), appended: None }
    }

    /// The same, told at once of what this process appends.
    #[must_use]
    pub fn told_of(mut self, appended: watch::Receiver<i64>) -> Self {
        self.appended = Some(appended);
        self
    }

    /// Position of the last event, and the hash chain up to it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without the database.
    pub async fn sealed_head(&self) -> Result<(i64, Hash), StoreError> {
        let query = sqlx::query("select position, chain from event_log_head");
        let read = || async {
            let rows = fetch_all(&self.pool, query).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        };
        let (position, chain): (i64, Vec<u8>) = read().await.map_err(|error| unavailable(&error))?;
        let chain =
            chain.try_into().map_err(|_| StoreError::Damaged("the head's hash is no SHA-256".to_owned()))?;
        Ok((position, chain))
    }

    async fn read(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = fetch_all(&self.pool, query).await.map_err(|error| unavailable(&error))?;
        rows.iter()
            .map(recorded_event)
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Damaged(error.to_string()))
    }
}

fn unavailable(error: &sqlx::Error) -> StoreError {
    tracing::warn!(%error, "cannot read from the log");
    StoreError::Unavailable
}

#[async_trait]
impl EventReader for EventLog {
    /// The payment's own events and, by its payer's stream, what they did to the accounts. The
    /// account events share an append with a payment event, hence its `recorded_at` and correlation.
    async fn story(&self, payment: &PaymentId) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read(sqlx::query(STORY).bind(payment.as_str()).bind(MOST_EVENTS)).await
    }

    async fn behind(&self, position: i64, limit: u32) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read(sqlx::query(BEHIND).bind(position).bind(i64::from(limit))).await
    }

    async fn event(&self, event_id: &str) -> Result<Option<RecordedEvent>, StoreError> {
        let Ok(event_id) = Uuid::parse_str(event_id) else { return Ok(None) };
        let query = concat!("select ", event_columns!(), " from events e where e.event_id = $1");
        Ok(self.read(sqlx::query(query).bind(event_id)).await?.pop())
    }

    async fn of_trace(
        &self,
        trace_id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, SearchError> {
        let positions = of_trace::positions(&self.pool, trace_id, after, limit).await?;
        if positions.is_empty() {
            return Ok(vec![]);
        }
        Ok(self.read(sqlx::query(AT).bind(positions)).await?)
    }

    async fn account_at(&self, account: &AccountId, moment: Moment) -> Result<Option<AccountAt>, StoreError> {
        point_in_time::account_at(&self.pool, account, moment).await
    }

    async fn head(&self) -> Result<i64, StoreError> {
        point_in_time::head(&self.pool).await.map_err(|error| unavailable(&error))
    }

    async fn grown_beyond(&self, position: i64) {
        let Some(mut appended) = self.appended.clone() else { return tokio::time::sleep(LOOK_AGAIN).await };
        // Late or without a sender: either way it is time to look.
        let _ = tokio::time::timeout(LOOK_AGAIN, appended.wait_for(|last| *last > position)).await;
    }

    async fn is_up(&self) -> bool {
        self.database.is_up().await
    }
}

// A unit of work is one append: its events stand at consecutive positions. So the account events of
// a payment are the neighbours of its own events that share their correlation, and the primary key
// finds them; no index on the correlation has to be kept for every event written.
const STORY: &str = concat!(
    "
with own as (
    select position, correlation_id from events
     where aggregate_type = 'payment' and aggregate_id = $1
     order by sequence limit $2
), neighbours as (
    select distinct n.position from own o, generate_series(o.position - 4, o.position + 4) as n(position)
)
select ",
    event_columns!(),
    "
  from neighbours n join events e on e.position = n.position
 where e.correlation_id in (select correlation_id from own)
   and (e.aggregate_type <> 'payment' or e.aggregate_id = $1)
 order by e.position"
);

/// Events behind a position, at most so many, for [`recorded_event`].
pub(crate) const BEHIND: &str =
    concat!("select ", event_columns!(), " from events e where e.position > $1 order by e.position limit $2");

/// The events at these positions.
const AT: &str =
    concat!("select ", event_columns!(), " from events e where e.position = any($1) order by e.position");

/// An event of a query with `event_columns`. Unchecked: the macro decided what the columns hold, and asking
/// for it seventeen times an event is a tenth of the relay's work.
pub(crate) fn recorded_event(row: &PgRow) -> Result<RecordedEvent, sqlx::Error> {
    Ok(RecordedEvent {
        position: row.try_get_unchecked(0)?,
        sequence: row.try_get_unchecked(1)?,
        event_id: row.try_get_unchecked::<Uuid, _>(2)?.to_string(),
        aggregate_type: row.try_get_unchecked(3)?,
        aggregate_id: row.try_get_unchecked(4)?,
        event_type: row.try_get_unchecked(5)?,
        event_version: row.try_get_unchecked(6)?,
        payload: row.try_get_unchecked(7)?,
        recorded_at: row.try_get_unchecked(8)?,
        correlation_id: row.try_get_unchecked(9)?,
        causation_id: row.try_get_unchecked(10)?,
        actor: row.try_get_unchecked(11)?,
        traceparent: row.try_get_unchecked(12)?,
        tracestate: row.try_get_unchecked(13)?,
        baggage: row.try_get_unchecked(14)?,
        hash: row.try_get_unchecked(15)?,
        chain: row.try_get_unchecked(16)?,
    })
}
