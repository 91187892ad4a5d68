//! Reading the log: a payment's story, and whether the database answers.

use async_trait::async_trait;
use commands::ports::{EventReader, RecordedEvent, StoreError};
use domain::PaymentId;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::database::{Database, fetch_all};

/// Most events of one story; a payment has about a dozen.
const MOST_EVENTS: i64 = 1_000;

/// Reads recorded events.
#[derive(Debug, Clone)]
pub struct EventLog {
    pool: PgPool,
    database: Database,
}

impl EventLog {
    /// A reader of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone(), database: database.clone() }
    }
}

#[async_trait]
impl EventReader for EventLog {
    /// The payment's own events and, by its payer's stream, what they did to the accounts. The
    /// account events share an append with a payment event, hence its `recorded_at` and correlation.
    async fn story(&self, payment: &PaymentId) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = fetch_all(&self.pool, sqlx::query(STORY).bind(payment.as_str()).bind(MOST_EVENTS))
            .await
            .map_err(|error| {
            tracing::warn!(%error, "cannot read the events of a payment");
            StoreError::Unavailable
        })?;
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Damaged(error.to_string()))
    }

    async fn is_up(&self) -> bool {
        self.database.is_up().await
    }
}

// A unit of work is one append: its events stand at consecutive positions. So the account events of
// a payment are the neighbours of its own events that share their correlation, and the primary key
// finds them; no index on the correlation has to be kept for every event written.
const STORY: &str = "
with own as (
    select position, correlation_id from events
     where aggregate_type = 'payment' and aggregate_id = $1
     order by sequence limit $2
), neighbours as (
    select distinct n.position from own o, generate_series(o.position - 4, o.position + 4) as n(position)
)
select e.position, e.sequence, e.event_id, e.aggregate_type, e.aggregate_id, e.event_type,
       e.event_version, e.payload::text, e.recorded_at, e.correlation_id, e.causation_id, e.actor,
       e.traceparent
  from neighbours n join events e on e.position = n.position
 where e.correlation_id in (select correlation_id from own)
   and (e.aggregate_type <> 'payment' or e.aggregate_id = $1)
 order by e.position";

fn read(row: &PgRow) -> Result<RecordedEvent, sqlx::Error> {
    Ok(RecordedEvent {
        position: row.try_get(0)?,
        sequence: row.try_get(1)?,
        event_id: row.try_get::<Uuid, _>(2)?.to_string(),
        aggregate_type: row.try_get(3)?,
        aggregate_id: row.try_get(4)?,
        event_type: row.try_get(5)?,
        event_version: row.try_get(6)?,
        payload: row.try_get(7)?,
        recorded_at: row.try_get(8)?,
        correlation_id: row.try_get(9)?,
        causation_id: row.try_get(10)?,
        actor: row.try_get(11)?,
        traceparent: row.try_get(12)?,
    })
}
