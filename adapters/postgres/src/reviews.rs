//! Payments that wait for an operator, found from the log alone.
//!
//! The log has no index by type, so this reads all of it once: it is for people, and an engine at
//! work never asks.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use commands::ports::StoreError;
use domain::payment::PaymentDetails;
use domain::{Payment, PaymentEvent};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::database::{Database, fetch_all};
use crate::store::decode;

/// A payment in review.
#[derive(Debug, Clone)]
pub struct InReview {
    /// What it is.
    pub details: Arc<PaymentDetails>,
    /// What is not known about it.
    pub reason: String,
    /// Since when it waits.
    pub required_at: DateTime<Utc>,
    /// How long it has waited, by the database's clock.
    pub age: TimeDelta,
}

// Nothing but its resolution follows on a payment in review.
const IN_REVIEW: &str = "
select required.event_type, required.event_version, required.payload::text, required.recorded_at,
       initiated.event_type, initiated.event_version, initiated.payload::text, clock_timestamp()
  from events required
  join events initiated on initiated.aggregate_type = 'payment'
                       and initiated.aggregate_id = required.aggregate_id and initiated.sequence = 1
 where required.aggregate_type = 'payment' and required.event_type = 'ReviewRequired'
   and not exists (select from events later
                    where later.aggregate_type = 'payment' and later.aggregate_id = required.aggregate_id
                      and later.sequence > required.sequence)
 order by required.position";

/// The payments in review, those that wait longest first.
///
/// # Errors
/// [`StoreError`] when the log cannot be read.
pub async fn payments_in_review(database: &Database) -> Result<Vec<InReview>, StoreError> {
    let rows = fetch_all(&database.pool, sqlx::query(IN_REVIEW)).await.map_err(|error| {
        tracing::warn!(%error, "cannot look for payments in review");
        StoreError::Unavailable
    })?;
    rows.iter().map(in_review).collect()
}

fn in_review(row: &PgRow) -> Result<InReview, StoreError> {
    let required_at: DateTime<Utc> = row.try_get(3).map_err(damaged)?;
    let now: DateTime<Utc> = row.try_get(7).map_err(damaged)?;
    match (event(row, 0)?, event(row, 4)?) {
        (PaymentEvent::ReviewRequired { reason }, PaymentEvent::PaymentInitiated(details)) => {
            Ok(InReview { details, reason, required_at, age: now - required_at })
        }
        (_, first) => Err(damaged(format!("a payment begins with {}", first.name()))),
    }
}

/// Reads the event whose type, version and payload stand from a column on.
fn event(row: &PgRow, first: usize) -> Result<PaymentEvent, StoreError> {
    let column = |index: usize| row.try_get::<&str, _>(first + index).map_err(damaged);
    decode::<Payment>(column(0)?, column(1)?, column(2)?).map_err(damaged)
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("payments in review: {what}"))
}
