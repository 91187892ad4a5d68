//! The log as an outbox: who publishes it, and how far that is.
//!
//! **Invariant:** the lead is an advisory lock of one connection, and everything the lead does goes through
//! that connection. When it breaks, the server gives the lock to another process, and whoever had it learns
//! of it at its next call.

use std::time::Duration;

use async_trait::async_trait;
use commands::ports::{RecordedEvent, StoreError};
use commands::publishing::{Lead, Outbox, OutboxMonitor, OutboxStatus};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::sync::watch;

use crate::database::{Database, fetch_all};
use crate::log::{BEHIND, recorded_event};

/// Name of the mark in `checkpoints`.
const CHECKPOINT: &str = "relay";
/// The advisory lock: "relay of a payment engine".
const LOCK: i64 = 0x7061_7904;
/// How soon the lead looks for what other processes have appended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longer than this is as good as no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The outbox of a database.
#[derive(Debug, Clone)]
pub struct PostgresOutbox {
    database: Database,
    appended: Option<watch::Receiver<i64>>,
}

impl PostgresOutbox {
    /// The outbox of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone(), appended: None }
    }

    /// The same, told at once of what this process appends.
    #[must_use]
    pub fn told_of(mut self, appended: watch::Receiver<i64>) -> Self {
        self.appended = Some(appended);
        self
    }
}

struct Leading {
    connection: PgConnection,
    marked: i64,
    appended: Option<watch::Receiver<i64>>,
}

/// Waits for the database, but not for ever: a connection that has fallen silent is a lost lead.
async fn within<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    answer.map_err(|error| {
        tracing::warn!(%error, "the outbox cannot be reached");
        StoreError::Unavailable
    })
}

/// A lead whose machine is gone must not keep the lock until TCP gives up: the server asks after it.
fn leading(options: &PgConnectOptions) -> PgConnectOptions {
    let keepalive =
        [("tcp_keepalives_idle", "5"), ("tcp_keepalives_interval", "2"), ("tcp_keepalives_count", "3")];
    options.clone().application_name("payments relay").options(keepalive)
}

#[async_trait]
impl Outbox for PostgresOutbox {
    async fn lead(&self) -> Result<Option<Box<dyn Lead>>, StoreError> {
        let options = leading(&self.database.options);
        let led = within(async {
            let mut connection = options.connect().await?;
            let lock = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK);
            if !lock.fetch_one(&mut connection).await? {
                connection.close().await?;
                return Ok(None);
            }
            // Its row is there from the first lead on: whoever asks sees that the log is published.
            sqlx::query("insert into checkpoints (name, position) values ($1, 0) on conflict do nothing")
                .bind(CHECKPOINT)
                .execute(&mut connection)
                .await?;
            let query = sqlx::query_scalar("select position from checkpoints where name = $1");
            let marked = query.bind(CHECKPOINT).fetch_one(&mut connection).await?;
            Ok(Some(Leading { connection, marked, appended: self.appended.clone() }))
        });
        Ok(led.await?.map(|leading| Box::new(leading) as Box<dyn Lead>))
    }
}

#[async_trait]
impl Lead for Leading {
    fn marked(&self) -> i64 {
        self.marked
    }

    async fn behind(&mut self, position: i64, limit: u32) -> Result<Vec<RecordedEvent>, StoreError> {
        let query = sqlx::query(BEHIND).bind(position).bind(i64::from(limit));
        let rows = within(query.fetch_all(&mut self.connection)).await?;
        let events = rows.iter().map(recorded_event).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| StoreError::Damaged(error.to_string()))?;
        let expected = (position + 1..).zip(&events).find(|(expected, event)| event.position != *expected);
        match expected {
            Some((missing, _)) => Err(StoreError::Damaged(format!("position {missing} is missing"))),
            None => Ok(events),
        }
    }

    async fn mark(&mut self, position: i64) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update checkpoints set position = $2, updated_at = now() where name = $1 and position < $2",
        );
        within(query.bind(CHECKPOINT).bind(position).execute(&mut self.connection)).await?;
        self.marked = position;
        Ok(())
    }

    async fn grown_beyond(&mut self, position: i64) {
        let Some(appended) = &mut self.appended else { return tokio::time::sleep(LOOK_AGAIN).await };
        // Late or without a sender: either way it is time to look.
        let _ = tokio::time::timeout(LOOK_AGAIN, appended.wait_for(|last| *last > position)).await;
    }
}

#[async_trait]
impl OutboxMonitor for PostgresOutbox {
    async fn status(&self) -> Result<Option<OutboxStatus>, StoreError> {
        // An advisory lock of one number shows it in two halves.
        let query = sqlx::query(
            "select c.position, h.position,
                    greatest(extract(epoch from clock_timestamp() - (
                        select recorded_at from events e where e.position = c.position + 1
                    )) * 1000, 0)::bigint,
                    exists (select from pg_locks l
                             where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                               and l.database = (select oid from pg_database where datname = current_database())
                               and l.classid::bigint << 32 | l.objid::bigint = $2)
               from checkpoints c cross join event_log_head h where c.name = $1",
        );
        let rows = within(fetch_all(&self.database.pool, query.bind(CHECKPOINT).bind(LOCK))).await?;
        let read = |row: &sqlx::postgres::PgRow| -> Result<OutboxStatus, sqlx::Error> {
            Ok(OutboxStatus {
                position: row.try_get(0)?,
                head: row.try_get(1)?,
                lag_ms: row.try_get::<Option<i64>, _>(2)?.unwrap_or(0).unsigned_abs(),
                working: row.try_get(3)?,
            })
        };
        rows.first().map(read).transpose().map_err(|error| StoreError::Damaged(error.to_string()))
    }
}
