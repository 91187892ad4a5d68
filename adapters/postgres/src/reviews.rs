//! Payments that wait for an operator, read from the read model of payments.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Money, PaymentId, UserId};
use projections::ports::{AsOf, ReadError};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::database::{Database, fetch_all};
use crate::read_models::{as_of, damaged};

/// A payment in review.
#[derive(Debug, Clone)]
pub struct InReview {
    /// The payment.
    pub payment_id: PaymentId,
    /// Who pays.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// What is not known about it.
    pub reason: String,
    /// Since when it waits.
    pub required_at: DateTime<Utc>,
    /// How long it has waited, by the database's clock.
    pub age: TimeDelta,
}

// Nothing but its resolution follows on a payment in review: its last event required it.
const IN_REVIEW: &str = "
select r.payment_id, r.user_id, r.amount, r.currency, r.review_reason, r.updated_at, clock_timestamp(),
       p.position, p.recorded_at
  from projections p left join read_models.payments r on r.status = 'needs_review'
 where p.name = 'payments' order by r.position";

/// The payments in review, those that wait longest first.
///
/// # Errors
/// [`ReadError`] when the read model cannot be read.
pub async fn payments_in_review(database: &Database) -> Result<AsOf<Vec<InReview>>, ReadError> {
    let rows = fetch_all(&database.pool, sqlx::query(IN_REVIEW)).await.map_err(|error| {
        tracing::warn!(%error, "cannot look for payments in review");
        ReadError::Unavailable
    })?;
    as_of(&rows, in_review).map_err(damaged)
}

fn in_review(row: &PgRow) -> Result<InReview, sqlx::Error> {
    let currency = domain::money::parse_currency(row.try_get(3)?).map_err(|error| unreadable(3, error))?;
    let (required_at, now): (DateTime<Utc>, DateTime<Utc>) = (row.try_get(5)?, row.try_get(6)?);
    Ok(InReview {
        payment_id: PaymentId::parse(row.try_get(0)?).map_err(|error| unreadable(0, error))?,
        user_id: UserId::parse(row.try_get(1)?).map_err(|error| unreadable(1, error))?,
        amount: Money::new(row.try_get(2)?, currency),
        reason: row.try_get(4)?,
        required_at,
        age: now - required_at,
    })
}

/// A column that holds what this program cannot read.
fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: format!("{column} of payments in review"), source: Box::new(error) }
}
