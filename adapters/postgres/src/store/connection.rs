//! The committer's own connection, fenced: at most one of its sessions can be alive.
//!
//! When the connection is lost while a batch commits, the old server process may still be at it. To
//! ask the log too early would be to be told "not there" of a batch that commits a moment later.
//! Each session therefore holds an advisory lock that is this committer's alone; a new session ends
//! the old one and waits for that lock, and only then asks.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

/// First half of the advisory lock: "committer of a payment engine".
const LOCK_CLASS: i32 = 0x7061_7901;
/// How long the server may take to connect and to fence.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens fenced connections one after the other.
#[derive(Debug)]
pub(super) struct FencedConnection {
    options: PgConnectOptions,
    /// Second half of the advisory lock: this committer.
    fence: i32,
    connection: Option<PgConnection>,
}

impl FencedConnection {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        // 31 random bits: a clash with another process costs that process its session once, and it
        // recovers as from any lost connection.
        #[expect(clippy::disallowed_methods, reason = "an adapter may draw its own nonce")]
        let nonce = uuid::Uuid::new_v4().as_u128() & 0x7fff_ffff;
        let fence = i32::try_from(nonce).unwrap_or(i32::MAX);
        Self { options: options.log_statements(tracing::log::LevelFilter::Trace), fence, connection: None }
    }

    /// The connection, opened and fenced if need be.
    pub(super) async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(within(CONNECT_TIMEOUT, self.open()).await?);
        }
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives the connection up without ceremony; the server may still be working for it.
    pub(super) fn lose(&mut self) {
        self.connection = None;
    }

    async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        sqlx::query("set synchronous_commit = on").execute(&mut connection).await?;
        // The cast takes the lock key as pg_locks shows it; 31 bits keep it positive.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_locks
              where locktype = 'advisory' and classid = $1::int4::oid and objid = $2::int4::oid
                and objsubid = 2 and pid <> pg_backend_pid()
                and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(LOCK_CLASS)
        .bind(self.fence)
        .fetch_all(&mut connection)
        .await?;
        sqlx::query("select pg_advisory_lock($1, $2)")
            .bind(LOCK_CLASS)
            .bind(self.fence)
            .fetch_all(&mut connection)
            .await?;
        Ok(connection)
    }
}

/// The answer, or an error of the connection: a server that does not answer is as good as lost.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "the database did not answer in time");
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(sqlx::Error::Io(late)))
}
