//! Connections and migrations.

use std::str::FromStr;
use std::time::{Duration, Instant};

use commands::meters;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, PgPool, Postgres};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is not one. It may hold a password, so it is not shown.
    #[error("DATABASE_URL is not a PostgreSQL URL such as postgres://user@host:5432/name")]
    Url,
    /// No connection.
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(#[source] sqlx::Error),
    /// The schema is one that no release has made.
    #[error(
        "the schema of this database was made by a version between releases (migration {0} differs): take another database, or with `payments dev` another --data-dir"
    )]
    Unreleased(i64),
    /// The schema is older than this program's.
    #[error(
        "the schema of this database is at migration {found}, this program needs {ours}; it lacks {}: run `payments migrate` of this version on it once", missing.join(", ")
    )]
    Outdated {
        /// What it lacks, by the names of the files: `0005_events_by_trace`.
        missing: Vec<String>,
        /// Its last migration, 0 without any.
        found: i64,
        /// This program's last migration.
        ours: i64,
    },
    /// The schema is newer than this program's.
    #[error(
        "the schema of this database is at migration {found}, this program knows {ours}: take the tools of the engine's version"
    )]
    Newer {
        /// Its last migration.
        found: i64,
        /// This program's last migration.
        ours: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migrate(#[source] MigrateError),
}

impl From<MigrateError> for DatabaseError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMismatch(version) => Self::Unreleased(version),
            other => Self::Migrate(other),
        }
    }
}

/// A database of the engine.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) pool: PgPool,
    pub(crate) options: PgConnectOptions,
}

impl Database {
    /// Connects and brings the schema up to date; several processes may do so at once.
    ///
    /// # Errors
    /// [`DatabaseError`] says what to mend.
    pub async fn open(url: &str, connections: u32) -> Result<Self, DatabaseError> {
        let database = Self::connect(url, connections).await?;
        MIGRATIONS.run(&database.pool).await?;
        Ok(database)
    }

    /// Connects to a database whose schema is up to date.
    ///
    /// # Errors
    /// [`DatabaseError`] says what to mend.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, DatabaseError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| DatabaseError::Url)?
            .application_name("payments")
            // The statements take arrays of any length; a plan made anew for each execution costs more
            // than the statement itself, and would be the same plan.
            .options([("plan_cache_mode", "force_generic_plan")])
            .statement_cache_capacity(64);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(CONNECT)
            // A ping before each acquire doubles the round trips; a dead connection shows itself.
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await;
        match pool {
            Ok(pool) => Ok(Self { pool, options }),
            Err(error) => Err(DatabaseError::Connect(reason(error, &options).await)),
        }
    }

    /// Makes sure that the schema is this program's, for tools that bring none up to date.
    ///
    /// # Errors
    /// [`DatabaseError::Outdated`] or [`DatabaseError::Newer`] says which it is.
    pub async fn must_be_current(&self) -> Result<(), DatabaseError> {
        let applied = self.applied().await.map_err(DatabaseError::Connect)?;
        let ours = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let found = applied.iter().copied().max().unwrap_or(0);
        let lacks = MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version));
        let missing: Vec<String> = lacks
            .map(|migration| format!("{:04}_{}", migration.version, migration.description.replace(' ', "_")))
            .collect();
        if found > ours {
            return Err(DatabaseError::Newer { found, ours });
        }
        if missing.is_empty() { Ok(()) } else { Err(DatabaseError::Outdated { missing, found, ours }) }
    }

    /// The migrations that were applied, by their numbers.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn applied(&self) -> Result<Vec<i64>, sqlx::Error> {
        // Without the table no engine has ever been here.
        let there = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null");
        if !there.fetch_one(&self.pool).await? {
            return Ok(Vec::new());
        }
        let query = sqlx::query_scalar("select version from _sqlx_migrations where success order by version");
        query.fetch_all(&self.pool).await
    }

    /// The pool, for readers.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether the database answers.
    pub async fn is_up(&self) -> bool {
        fetch_all(&self.pool, sqlx::query("select 1")).await.is_ok()
    }
}

/// What is behind a pool's error: it tries again while a server refuses, and then says only that time ran out.
async fn reason(error: sqlx::Error, options: &PgConnectOptions) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(CONNECT, PgConnection::connect_with(options)).await {
        Ok(Err(refused)) => refused,
        // It does now, or it says nothing.
        Ok(Ok(_)) | Err(_) => error,
    }
}

/// Reads rows through the pool. When the caller stops waiting the connection is thrown away: the
/// pool would take it back only once it answers, which one that has fallen silent never does.
pub(crate) async fn fetch_all(
    pool: &PgPool,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut borrowed = Borrowed::from(pool).await?;
    let began = Instant::now();
    let rows = query.fetch_all(borrowed.connection()?).await;
    meters::database_asked("read", rows.is_err(), began.elapsed());
    borrowed.give_back();
    rows
}

/// A connection of the pool with a query under way: thrown away, unless it is given back.
pub(crate) struct Borrowed(Option<PoolConnection<Postgres>>);

impl Borrowed {
    pub(crate) async fn from(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(crate) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// It has answered, and serves again.
    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
