//! Authorizations that are older than they may become, found in the read model of payments.
//!
//! The read model may be behind: whoever ends an authorization asks the payment itself.

use std::time::Duration;

use async_trait::async_trait;
use commands::context::TraceContext;
use commands::ports::StoreError;
use commands::saga::{Authorizations, ExpiredAuthorization};
use domain::PaymentId;
use sqlx::{PgPool, Row};

use crate::database::{Database, fetch_all};

/// Most that one look finds; the next look finds the others.
const MOST: i64 = 1_000;

/// Finds them.
#[derive(Debug, Clone)]
pub struct PostgresAuthorizations {
    pool: PgPool,
}

impl PostgresAuthorizations {
    /// A finder on a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone() }
    }
}

#[async_trait]
impl Authorizations for PostgresAuthorizations {
    async fn expired(&self, age: Duration) -> Result<Vec<ExpiredAuthorization>, StoreError> {
        let unavailable = |error: sqlx::Error| {
            tracing::warn!(%error, "cannot look for expired authorizations");
            StoreError::Unavailable
        };
        // The last event of an authorized payment is its authorization. The database's clock, since it
        // is what recorded the event.
        let query = sqlx::query(
            "select payment.payment_id, event.traceparent, event.tracestate, event.baggage
               from read_models.payments as payment join events as event on event.position = payment.position
              where payment.status = 'authorized'
                and payment.updated_at < clock_timestamp() - $1::bigint * interval '1 millisecond'
              order by payment.initiated_position limit $2",
        )
        .bind(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        .bind(MOST);
        let rows = fetch_all(&self.pool, query).await.map_err(unavailable)?;
        let expired = rows.iter().map(|row| {
            let payment_id: &str = row.try_get(0)?;
            let trace = TraceContext {
                traceparent: row.try_get(1)?,
                tracestate: row.try_get(2)?,
                baggage: row.try_get(3)?,
            };
            let payment_id =
                PaymentId::parse(payment_id).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok(ExpiredAuthorization { payment_id, trace })
        });
        expired.collect::<Result<_, _>>().map_err(|error: sqlx::Error| StoreError::Damaged(error.to_string()))
    }
}
