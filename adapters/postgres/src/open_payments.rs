//! What the channel was, or was to be, asked for and nobody has ended, found from the log alone: payments
//! that hold funds, captures, voids and refunds.
//!
//! The scan follows the log by position and keeps the open payments in memory. Its checkpoint stands
//! before the oldest of them, so a new process reads only what is behind that.
//!
//! **Invariant:** all that was begun at or before the checkpoint has ended.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use commands::context::TraceContext;
use commands::meters;
use commands::ports::StoreError;
use commands::saga::{OpenPayment, OpenPayments};
use domain::{PaymentId, RefundId};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use tokio::sync::Mutex;

use crate::database::{Database, fetch_all};

const CHECKPOINT: &str = "open_payments";
/// Positions that one query reads.
const PAGE: i64 = 50_000;
/// How long one look may take; the next one goes on where it was.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows the log for payments to recover.
#[derive(Debug)]
pub struct OpenPaymentScan {
    pool: PgPool,
    scan: Mutex<Scan>,
}

#[derive(Debug, Default)]
struct Scan {
    /// `None` until the checkpoint has been read.
    position: Option<i64>,
    saved: i64,
    open: HashMap<Work, Open>,
}

/// A payment, or a refund of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Work {
    payment_id: String,
    refund_id: Option<String>,
}

#[derive(Debug)]
struct Open {
    begun_at: i64,
    last_news: DateTime<Utc>,
    trace: TraceContext,
}

impl OpenPaymentScan {
    /// A scan that begins at the checkpoint.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone(), scan: Mutex::default() }
    }

    async fn catch_up(&self, scan: &mut Scan) -> Result<DateTime<Utc>, sqlx::Error> {
        let mut position = match scan.position {
            Some(position) => position,
            None => {
                let query = sqlx::query("select position from checkpoints where name = $1").bind(CHECKPOINT);
                let rows = fetch_all(&self.pool, query).await?;
                scan.saved = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
                scan.saved
            }
        };
        let query = sqlx::query("select position, clock_timestamp() from event_log_head");
        let rows = fetch_all(&self.pool, query).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let (head, now): (i64, DateTime<Utc>) = (row.try_get(0)?, row.try_get(1)?);
        while position < head {
            let end = head.min(position + PAGE);
            for row in self.page(position, end).await? {
                scan.apply(&row)?;
            }
            position = end;
            scan.position = Some(position);
        }
        scan.position = Some(position);
        Ok(now)
    }

    async fn page(&self, after: i64, through: i64) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = sqlx::query(
            "select position, aggregate_id, event_type, recorded_at, traceparent, tracestate, baggage,
                    case when event_type like 'Refund%' then payload -> event_type ->> 'refund_id' end
               from events
              where position > $1 and position <= $2 and aggregate_type = 'payment'
                and event_type in ('FundsReserved', 'ChannelOutcomeUnknown', 'PaymentAuthorized',
                                   'CaptureStarted', 'VoidStarted', 'PaymentCompleted', 'PaymentFailed',
                                   'PaymentVoided', 'ReviewRequired', 'RefundStarted', 'RefundCompleted',
                                   'RefundFailed')
              order by position",
        )
        .bind(after)
        .bind(through);
        fetch_all(&self.pool, query).await
    }

    async fn save(&self, scan: &mut Scan) -> Result<(), sqlx::Error> {
        let checkpoint = scan.checkpoint();
        if checkpoint <= scan.saved {
            return Ok(());
        }
        let query = sqlx::query(
            "insert into checkpoints (name, position) values ($1, $2)
             on conflict (name) do update
                set position = greatest(checkpoints.position, excluded.position), updated_at = now()",
        )
        .bind(CHECKPOINT)
        .bind(checkpoint);
        fetch_all(&self.pool, query).await?;
        scan.saved = checkpoint;
        Ok(())
    }
}

impl Scan {
    fn apply(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        let work = Work { payment_id: row.try_get(1)?, refund_id: row.try_get(7)? };
        match row.try_get::<&str, _>(2)? {
            "FundsReserved" | "CaptureStarted" | "VoidStarted" | "RefundStarted" => {
                let trace = TraceContext {
                    traceparent: row.try_get(4)?,
                    tracestate: row.try_get(5)?,
                    baggage: row.try_get(6)?,
                };
                let open = Open { begun_at: row.try_get(0)?, last_news: row.try_get(3)?, trace };
                self.open.insert(work, open);
            }
            "ChannelOutcomeUnknown" => {
                if let Some(open) = self.open.get_mut(&work) {
                    open.last_news = row.try_get(3)?;
                }
            }
            _ => {
                self.open.remove(&work);
            }
        }
        Ok(())
    }

    fn longest_without_news(&self, now: DateTime<Utc>) -> Duration {
        let oldest = self.open.values().map(|open| open.last_news).min();
        oldest.and_then(|oldest| (now - oldest).to_std().ok()).unwrap_or_default()
    }

    fn checkpoint(&self) -> i64 {
        let oldest = self.open.values().map(|open| open.begun_at - 1).min();
        oldest.or(self.position).unwrap_or(0)
    }

    fn overdue(&self, before: DateTime<Utc>) -> Vec<OpenPayment> {
        let mut overdue: Vec<_> = self.open.iter().filter(|(_, open)| open.last_news <= before).collect();
        overdue.sort_unstable_by_key(|(_, open)| open.begun_at);
        overdue
            .into_iter()
            .filter_map(|(work, open)| {
                let payment_id = PaymentId::parse(&work.payment_id).ok()?;
                let refund_id = work.refund_id.as_deref().map(RefundId::parse).transpose().ok()?;
                Some(OpenPayment { payment_id, refund_id, trace: open.trace.clone() })
            })
            .collect()
    }
}

#[async_trait]
impl OpenPayments for OpenPaymentScan {
    async fn overdue(&self, age: Duration) -> Result<Vec<OpenPayment>, StoreError> {
        let mut scan = self.scan.lock().await;
        let unavailable = |error: sqlx::Error| {
            tracing::warn!(%error, "cannot scan the log for open payments");
            StoreError::Unavailable
        };
        let looking = async {
            let now = self.catch_up(&mut scan).await?;
            self.save(&mut scan).await?;
            Ok(now)
        };
        // A connection that has fallen silent must not end recovery for good.
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        let now = looked.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unavailable)?;
        meters::open_payments(scan.open.len(), scan.longest_without_news(now));
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        Ok(scan.overdue(now - age))
    }
}
