//! Webhooks in PostgreSQL: the endpoints, the deliveries, and the effect that makes deliveries of events.
//!
//! | module | is |
//! | --- | --- |
//! | `effect` | [`WebhookEffect`], for an `Inbox`: which endpoints an event is for |
//! | `endpoints` | the port `WebhookEndpoints`: registering, changing, keys and answers |
//! | `deliveries` | the port `Deliveries`: what became of them; sending again |
//! | `queue` | the port `DeliveryQueue`: claiming what is due, settling it |
//!
//! **Invariant:** every time is the database's own, so that processes whose clocks differ agree on what
//! is due and on whose claim has ended.

mod deliveries;
mod effect;
mod endpoints;
mod keyed;
mod queue;

use std::time::Duration;

use commands::webhooks::ports::WebhookError;
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

use crate::database::Database;

pub use self::effect::WebhookEffect;

/// Endpoints and deliveries in a database.
#[derive(Debug, Clone)]
pub struct PostgresWebhooks {
    pool: PgPool,
}

impl PostgresWebhooks {
    /// Those of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone() }
    }
}

/// For `map_err`, and so by value.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: sqlx::Error) -> WebhookError {
    match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
            WebhookError::Damaged(error.to_string())
        }
        _ => {
            tracing::warn!(%error, "cannot work on webhooks in the database");
            WebhookError::Unavailable
        }
    }
}

/// What a column holds that this program never wrote there.
fn unknown(column: &'static str, found: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: format!("has {found:?}").into() }
}

/// A time span as the database has it.
fn interval(span: Duration) -> PgInterval {
    let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
