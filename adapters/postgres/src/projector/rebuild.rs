//! Building read models anew from the log, beside those that are read.
//!
//! ```text
//! read_models_next ── build ── compare with read_models ── swap in one transaction ── read_models_old
//! ```
//!
//! Start at [`Rebuild::run`]; [`verify`] builds into temporary tables, only to compare.
//!
//! **Invariants:** what is read stays as it is until the swap, and the swap is one transaction, in
//! which the position never goes back. A build that is interrupted goes on from its checkpoint. This
//! module has a database and nothing else: a rebuild cannot reach a channel, a webhook or a ledger.

mod build;
mod compare;
mod statements;

use std::time::{Duration, Instant};

use projections::ports::Projection;
use sqlx::{Connection, PgConnection, Row};

use super::checkpoints;
use super::in_schema;
use super::tables::fold_hash;
use super::told;
use crate::database::Database;

use self::build::{Apart, Build, Member};
pub use self::compare::{Comparison, Difference};

/// Advisory locks of rebuilds: one at a time for each projection.
const LOCK_CLASS: i32 = 0x7061_7903;
/// Advisory locks of the sessions that write for a rebuild: a server may still be at what a killed one
/// had sent, and it must not become durable under the feet of the next.
const WRITER_LOCK_CLASS: i32 = 0x7061_7905;
/// A build that is so close to the live tables may swap.
const CLOSE: i64 = 5_000;
/// How long the server may take to notice that a rebuild before this one was killed: until the statement ends that
/// was under way, its session goes on holding the locks.
const PREDECESSOR: Duration = Duration::from_secs(10);
/// How often a swap waits for readers of the live tables, half a second each time.
const MOST_SWAP_ATTEMPTS: u32 = 30;

/// Why a read model was not built anew. What is read is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// Another process is at it.
    #[error("{0} is being rebuilt by another process; wait for it, or end it")]
    UnderWay(&'static str),
    /// An event cannot be folded.
    #[error(
        "{projection} cannot be built past position {position}: {reason}; look at it with: payments events list --after {} --limit 1",
        position - 1
    )]
    Stopped {
        /// The projection.
        projection: &'static str,
        /// The event's position.
        position: i64,
        /// Why it cannot be folded.
        reason: String,
    },
    /// The log has a gap.
    #[error("position {position} of the log is missing; find out more with: payments events verify")]
    Missing {
        /// The first position that is missing.
        position: i64,
    },
    /// Readers of the live tables do not let go of them.
    #[error("the tables of {0} are held by long transactions; end them and repeat: what is built is kept")]
    Held(&'static str),
}

/// Is told how far the work is.
pub trait Watcher: Send + Sync {
    /// Another part of the work begins.
    fn phase(&self, what: &str);
    /// The log is folded up to a position, and the work ends at another.
    fn at(&self, position: i64, end: i64);
}

/// Tells nobody.
#[derive(Debug)]
pub struct Silent;

impl Watcher for Silent {
    fn phase(&self, _: &str) {}
    fn at(&self, _: i64, _: i64) {}
}

/// What a rebuild has done.
#[derive(Debug)]
pub struct Rebuilt {
    /// Where it began: 0, or where an interrupted one had come to.
    pub resumed_at: i64,
    /// The position at which the tables were swapped.
    pub position: i64,
    /// What differed from the tables that were read; empty for tables of another fold.
    pub comparisons: Vec<Comparison>,
}

/// A rebuild of read models.
#[derive(Debug)]
pub struct Rebuild {
    database: Database,
    projections: Vec<Projection>,
}

impl Rebuild {
    /// A rebuild of these projections; the log is read once for all of them.
    #[must_use]
    pub fn new(database: &Database, projections: &[Projection]) -> Self {
        let mut projections = projections.to_vec();
        projections.sort_unstable_by_key(|projection| projection.name());
        Self { database: database.clone(), projections }
    }

    /// Builds, compares and swaps.
    ///
    /// # Errors
    /// [`RebuildError`] says what to do; what has been built is kept, and the next run goes on.
    pub async fn run(&self, watcher: &dyn Watcher) -> Result<Rebuilt, RebuildError> {
        let options =
            in_schema(&self.database.options, "read_models_next").application_name("payments rebuild");
        let mut connection = PgConnection::connect_with(&options).await?;
        checkpoints::begin(&mut connection).await?;
        let (began, began_at) = (Instant::now(), told::now());
        let mut writers = Vec::with_capacity(self.projections.len());
        for projection in &self.projections {
            take_lock(&mut connection, LOCK_CLASS, *projection, began).await?;
            let mut writer = PgConnection::connect_with(&options).await?;
            take_lock(&mut writer, WRITER_LOCK_CLASS, *projection, began).await?;
            writers.push(writer);
        }
        let mut apart = Apart { reader: PgConnection::connect_with(&options).await?, writers };
        let members = self.begin(&mut connection).await?;
        let mut build = Build::new(&self.database, members, true);
        let resumed_at = build.position();

        watcher.phase("building");
        let live = self.live(&mut connection).await?;
        let comparable = live.iter().all(|live| live.current && !live.failed);
        let lowest = live.iter().map(|live| live.position).min().unwrap_or(0);
        build.aim(lowest);
        build.run_apart(&mut apart, watcher).await?;
        let comparisons =
            if comparable { self.compare(&mut connection, &mut build, watcher).await? } else { vec![] };

        watcher.phase("catching up");
        build.aim(head(&mut connection).await?);
        build.run_apart(&mut apart, watcher).await?;
        watcher.phase("indexing");
        for projection in &self.projections {
            for statement in statements::finish(*projection) {
                sqlx::query(statement).execute(&mut connection).await?;
            }
        }
        watcher.phase("catching up");
        // At least once to the head, so that what cannot be folded shows before the swap.
        let mut distance = i64::MAX;
        while distance > CLOSE {
            build.aim(head(&mut connection).await?);
            build.run_apart(&mut apart, watcher).await?;
            distance = head(&mut connection).await? - build.position();
        }
        watcher.phase("swapping");
        let position = self.swap(&mut connection, &mut build).await?;
        let names = self.projections.iter().map(|projection| projection.name()).collect();
        told::rebuilt(&mut connection, names, position, began_at).await?;
        Ok(Rebuilt { resumed_at, position, comparisons })
    }

    /// Where each build goes on; tables for those that begin.
    async fn begin(&self, connection: &mut PgConnection) -> Result<Vec<Member>, RebuildError> {
        let mut members = vec![];
        for projection in &self.projections {
            let mut transaction = connection.begin().await?;
            let query = sqlx::query_scalar(
                "select position from projection_builds where name = $1 and fold_hash = $2",
            );
            let hash = fold_hash(*projection);
            let begun: Option<i64> =
                query.bind(projection.name()).bind(hash.as_slice()).fetch_optional(&mut *transaction).await?;
            let position = match begun {
                Some(position) => position,
                None => {
                    for statement in statements::begin(*projection) {
                        sqlx::query(statement).execute(&mut *transaction).await?;
                    }
                    sqlx::query(
                        "insert into projection_builds (name, position, fold_hash) values ($1, 0, $2)
                         on conflict (name) do update
                            set position = 0, fold_hash = excluded.fold_hash, started_at = now(),
                                updated_at = now()",
                    )
                    .bind(projection.name())
                    .bind(hash.as_slice())
                    .execute(&mut *transaction)
                    .await?;
                    0
                }
            };
            transaction.commit().await?;
            members.push(Member::new(*projection, position));
        }
        Ok(members)
    }

    async fn live(&self, connection: &mut PgConnection) -> Result<Vec<checkpoints::Checkpoint>, sqlx::Error> {
        let mut live = vec![];
        for projection in &self.projections {
            live.push(checkpoints::read(connection, *projection).await?);
        }
        Ok(live)
    }

    /// Compares in one transaction that sees one moment of the live tables, with the build brought to
    /// that very moment. Nobody waits for it.
    async fn compare(
        &self,
        connection: &mut PgConnection,
        build: &mut Build,
        watcher: &dyn Watcher,
    ) -> Result<Vec<Comparison>, RebuildError> {
        watcher.phase("comparing");
        let mut transaction = connection.begin().await?;
        sqlx::query("set transaction isolation level repeatable read").execute(&mut *transaction).await?;
        let mut comparisons = vec![];
        let live = self.live(&mut transaction).await?;
        for (projection, live) in self.projections.iter().zip(&live) {
            build.aim_one(*projection, live.position);
        }
        build.run_within(&mut transaction, watcher).await?;
        for (projection, live) in self.projections.iter().zip(&live) {
            comparisons.push(compare::compare(&mut transaction, *projection, live.position).await?);
        }
        transaction.commit().await?;
        Ok(comparisons)
    }

    /// Puts the built tables in place of those that are read. Returns the position of the swap.
    async fn swap(&self, connection: &mut PgConnection, build: &mut Build) -> Result<i64, RebuildError> {
        for attempt in 1..=MOST_SWAP_ATTEMPTS {
            match self.try_swap(connection, build).await {
                Err(RebuildError::Database(error)) if is_lock_timeout(&error) => {
                    tracing::info!(attempt, "readers hold the tables; trying the swap again");
                    // What the attempt had folded was taken back with it: on from the checkpoints.
                    *build = Build::new(&self.database, self.begin(connection).await?, true);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                swapped => return swapped,
            }
        }
        Err(RebuildError::Held(self.projections.first().map_or("", |projection| projection.name())))
    }

    async fn try_swap(&self, connection: &mut PgConnection, build: &mut Build) -> Result<i64, RebuildError> {
        let mut transaction = connection.begin().await?;
        // While the swap waits for a reader, those behind it wait too: not for long.
        sqlx::query("set local lock_timeout = '500ms'").execute(&mut *transaction).await?;
        // From here on the live projections stand still.
        let locked = checkpoints::lock(&mut transaction, &self.projections).await?;
        let live = locked.iter().map(|(_, position, _)| *position).max().unwrap_or(0);
        let position = live.max(build.position());
        build.aim(position);
        build.run_within(&mut transaction, &Silent).await?;
        for projection in &self.projections {
            for statement in statements::swap(*projection) {
                sqlx::query(statement).execute(&mut *transaction).await?;
            }
            sqlx::query(
                "update projections
                    set position = $2, generation = generation + 1, fold_hash = $3, failed_position = null,
                        failed_event_id = null, failed_traceparent = null, failed_reason = null,
                        failed_at = null, updated_at = clock_timestamp(),
                        recorded_at = (select recorded_at from events where position = $2)
                  where name = $1",
            )
            .bind(projection.name())
            .bind(position)
            .bind(fold_hash(*projection).as_slice())
            .execute(&mut *transaction)
            .await?;
            sqlx::query("delete from projection_builds where name = $1")
                .bind(projection.name())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(position)
    }
}

/// Takes a lock that a killed rebuild's session may hold for a moment more.
async fn take_lock(
    connection: &mut PgConnection,
    class: i32,
    projection: Projection,
    began: Instant,
) -> Result<(), RebuildError> {
    while !super::try_lock(connection, class, projection).await? {
        if began.elapsed() > PREDECESSOR {
            return Err(RebuildError::UnderWay(projection.name()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Folds the log anew into temporary tables and compares them with those that are read. Nothing is
/// changed.
///
/// # Errors
/// [`RebuildError`].
pub async fn verify(
    database: &Database,
    projections: &[Projection],
    watcher: &dyn Watcher,
) -> Result<Vec<Comparison>, RebuildError> {
    // Temporary tables come first in every search path.
    let options = in_schema(&database.options, "pg_temp").application_name("payments verify");
    let mut connection = PgConnection::connect_with(&options).await?;
    checkpoints::begin(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *transaction).await?;
    let mut comparisons = vec![];
    let members = projections.iter().map(|projection| Member::new(*projection, 0)).collect();
    let mut build = Build::new(database, members, false);
    let mut live = vec![];
    for projection in projections {
        let position = checkpoints::read(&mut transaction, *projection).await?.position;
        build.aim_one(*projection, position);
        live.push(position);
        sqlx::query(statements::temporary(*projection)).execute(&mut *transaction).await?;
    }
    watcher.phase("folding the log anew");
    build.run_within(&mut transaction, watcher).await?;
    for (projection, position) in projections.iter().zip(live) {
        watcher.phase(&format!("comparing {}", projection.name()));
        comparisons.push(compare::compare(&mut transaction, *projection, position).await?);
    }
    transaction.rollback().await?;
    Ok(comparisons)
}

/// Drops the tables that the last rebuild of a projection replaced. Returns whether there were any.
///
/// # Errors
/// [`RebuildError::Database`].
pub async fn drop_old(database: &Database, projection: Projection) -> Result<bool, RebuildError> {
    let mut connection = PgConnection::connect_with(&database.options).await?;
    let query = sqlx::query("select to_regclass($1) is not null");
    let table = format!("read_models_old.{}", projection.name());
    let kept: bool = query.bind(table).fetch_one(&mut connection).await?.try_get(0)?;
    sqlx::query(statements::drop_old(projection)).execute(&mut connection).await?;
    Ok(kept)
}

/// Position of the last event.
async fn head(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select position from event_log_head").fetch_one(connection).await
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}
