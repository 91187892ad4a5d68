//! Keeps the read models up with the log.
//!
//! ```text
//! log ── stretch ── decode ── fold (pure, per read model) ── rows + checkpoint: one transaction
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | `checkpoints` | how far each projection has come |
//! | `tables` | how rows are loaded and written |
//! | `progress` | telling readers in this process |
//! | `told` | what traces say of it |
//! | [`rebuild`] | building a read model anew, and comparing it with the log |
//!
//! Start at [`Projector::run`].
//!
//! **Invariants:** a projection's rows and its checkpoint change in one transaction, so each event
//! counts once whatever is killed. One process works per projection, the holder of its advisory lock;
//! the checkpoint's row, locked in each transaction, decides where two think that they are it.
//! Projections at the same position read the log together; one that an event stops falls behind alone.

mod checkpoints;
mod progress;
pub mod rebuild;
mod tables;
mod told;

use std::time::{Duration, Instant};

use commands::pace::Pace;
use projections::ports::Projection;
use projections::{Folded, Stopped};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::database::Database;
use crate::log::stretch::{first_missing, stretch};

use self::checkpoints::{Advance, Checkpoint};
pub use self::progress::Progress;
use self::rebuild::Rebuild;
use self::tables::Following;
pub(crate) use self::tables::{balance, entry, fold_hash, payment};

/// Most events that one transaction folds.
const MOST_EVENTS: i64 = 2_000;
/// Rows that each projection keeps in memory between transactions.
const KEPT_ROWS: usize = 50_000;
/// How soon a projector looks for what other processes have appended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a stopped projection tries its event again, and a stand-by asks for the lock.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// First half of the advisory locks: "projector of a payment engine". The second is the projection.
const LOCK_CLASS: i32 = 0x7061_7902;

/// Folds the log into the read models.
#[derive(Debug)]
pub struct Projector {
    database: Database,
    appended: Option<watch::Receiver<i64>>,
    progress: Progress,
}

/// A projection that this process works on.
struct Member {
    projection: Projection,
    following: Box<dyn Following>,
    checkpoint: Checkpoint,
    /// Not before then, when an event has stopped it.
    retry_at: Option<Instant>,
}

/// Why the work on a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A rebuild has put other rows in place, or another projector has been at work.
    #[error("{0} was moved by another process")]
    Moved(&'static str),
}

/// Projections that this process works on, and those whose rows it builds anew first.
#[derive(Default)]
struct Work {
    members: Vec<Member>,
    rebuilding: Vec<Projection>,
    rebuilds: JoinSet<(Projection, Result<rebuild::Rebuilt, rebuild::RebuildError>)>,
}

impl Projector {
    /// A projector of a database.
    #[must_use]
    pub fn new(database: &Database, progress: Progress) -> Self {
        Self { database: database.clone(), appended: None, progress }
    }

    /// The same, told at once of what this process appends.
    #[must_use]
    pub fn told_of(mut self, appended: watch::Receiver<i64>) -> Self {
        self.appended = Some(appended);
        self
    }

    /// Works until it is dropped. Whatever goes wrong is logged, and tried again.
    pub async fn run(self) {
        loop {
            match self.work().await {
                Ok(never) => match never {},
                Err(Broken::Moved(name)) => {
                    tracing::info!(projection = name, "moved by another process; going on from there");
                }
                Err(error) => {
                    tracing::warn!(%error, "the projector lost its work and begins again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    async fn work(&self) -> Result<std::convert::Infallible, Broken> {
        let mut connection = PgConnection::connect_with(&live(&self.database.options)).await?;
        checkpoints::begin(&mut connection).await?;
        let mut work = Work::default();
        let mut ask_again = Instant::now();
        let (mut pace, mut last_began) = (Pace::default(), Instant::now());
        loop {
            if work.members.len() < Projection::ALL.len() && Instant::now() >= ask_again {
                self.take_over(&mut connection, &mut work).await?;
                ask_again = Instant::now() + TRY_AGAIN;
            }
            let began = Instant::now();
            let mut most = 0;
            // A stretch for each position, the furthest first: one that is far behind catches up
            // between the others' turns.
            for position in positions(&work.members) {
                most = most.max(self.step(&mut connection, &mut work.members, position).await?);
            }
            match most {
                0 => self.wait(&work.members).await,
                MOST_EVENTS => {}
                events => {
                    // A payment's events come together the more often, and its row is written once.
                    let pause = pace.after(usize::try_from(events).unwrap_or(0), began - last_began);
                    tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
                }
            }
            last_began = began;
        }
    }

    /// Takes the projections that nobody works on.
    async fn take_over(&self, connection: &mut PgConnection, work: &mut Work) -> Result<(), Broken> {
        while let Some(ended) = work.rebuilds.try_join_next() {
            let (projection, rebuilt) =
                ended.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
            work.rebuilding.retain(|rebuilding| *rebuilding != projection);
            match rebuilt {
                Ok(rebuilt) => tracing::info!(projection = projection.name(), rebuilt.position, "built anew"),
                Err(error) => tracing::error!(projection = projection.name(), %error, "not built anew"),
            }
        }
        for projection in Projection::ALL {
            let at_work = work.members.iter().any(|member| member.projection == projection);
            if at_work || work.rebuilding.contains(&projection) {
                continue;
            }
            if !try_lock(connection, LOCK_CLASS, projection).await? {
                continue;
            }
            let checkpoint = checkpoints::read(connection, projection).await?;
            let name = projection.name();
            if checkpoint.current {
                tracing::info!(projection = name, checkpoint.position, "projecting");
                let following = tables::following(projection);
                work.members.push(Member { projection, following, checkpoint, retry_at: None });
            } else {
                tracing::warn!(projection = name, "its rows were made by another fold: building it anew");
                let database = self.database.clone();
                work.rebuilding.push(projection);
                work.rebuilds.spawn(async move {
                    (projection, Rebuild::new(&database, &[projection]).run(&rebuild::Silent).await)
                });
            }
        }
        Ok(())
    }

    /// Takes those at a position a stretch further, at most to where the next ones are. Returns how many
    /// events it had.
    async fn step(
        &self,
        connection: &mut PgConnection,
        members: &mut [Member],
        position: i64,
    ) -> Result<i64, Broken> {
        let (now, began) = (Instant::now(), told::now());
        let mut ready: Vec<&mut Member> = members.iter_mut().filter(|member| member.is_ready(now)).collect();
        let others = ready.iter().map(|member| member.checkpoint.position);
        let through = others.filter(|other| *other > position).min().unwrap_or(i64::MAX);
        let mut events = stretch(connection, position, through.min(position + MOST_EVENTS)).await?;
        if events.is_empty() {
            return Ok(0);
        }
        // A log with a gap has been tampered with: what is behind the gap is not folded.
        let missing = first_missing(&events, position);
        events.retain(|event| missing.is_none_or(|missing| event.position < missing));
        let last = events.last().map_or(position, |event| event.position);
        ready.retain(|member| member.checkpoint.position == position);
        let read = now.elapsed();
        let mut advances = Vec::with_capacity(ready.len());
        for member in &mut ready {
            let stopped = fold(&mut *member.following, connection, &events).await?;
            let stopped = stopped.or(missing.map(Stopped::missing));
            advances.push(advance_to(member, &events, last, stopped));
        }
        let folded = now.elapsed();
        commit(connection, &mut ready, &advances).await?;
        tracing::debug!(
            events = events.len(),
            read_us = read.as_micros(),
            fold_us = (folded - read).as_micros(),
            commit_us = (now.elapsed() - folded).as_micros(),
            "projected"
        );
        let applied = advances.iter().map(|advance| advance.position).max().unwrap_or(position);
        let names = ready.iter().map(|member| member.projection.name()).collect();
        for (member, advance) in ready.into_iter().zip(&advances) {
            member.moved(advance);
            self.progress.reached(member.projection, advance.position);
        }
        told::applied(connection, names, (position, applied), began).await?;
        Ok(last - position)
    }

    /// Waits until there may be something to do.
    async fn wait(&self, members: &[Member]) {
        let highest = members.iter().map(|member| member.checkpoint.position).max();
        match (self.appended.clone(), highest) {
            (Some(mut appended), Some(highest)) => {
                // Late or without a sender: either way it is time to look.
                let _ = tokio::time::timeout(LOOK_AGAIN, appended.wait_for(|last| *last > highest)).await;
            }
            (None, Some(_)) => tokio::time::sleep(LOOK_AGAIN).await,
            (_, None) => tokio::time::sleep(TRY_AGAIN).await,
        }
    }
}

/// The positions at which projections are ready to go on, the highest first.
fn positions(members: &[Member]) -> Vec<i64> {
    let now = Instant::now();
    let ready = members.iter().filter(|member| member.is_ready(now));
    let mut positions: Vec<i64> = ready.map(|member| member.checkpoint.position).collect();
    positions.sort_unstable_by(|a, b| b.cmp(a));
    positions.dedup();
    positions
}

/// Takes an advisory lock of a projection until the connection ends. Returns whether nobody else has it.
async fn try_lock(
    connection: &mut PgConnection,
    class: i32,
    projection: Projection,
) -> Result<bool, sqlx::Error> {
    let number = (0_i32..).zip(Projection::ALL).find(|(_, found)| *found == projection);
    let query = sqlx::query_scalar("select pg_try_advisory_lock($1, $2)").bind(class);
    query.bind(number.map(|(number, _)| number)).fetch_one(connection).await
}

/// A connection that works on the tables that are read.
fn live(options: &PgConnectOptions) -> PgConnectOptions {
    in_schema(options, "read_models").application_name("payments projector")
}

/// A connection that finds the read models' tables in a schema.
fn in_schema(options: &PgConnectOptions, schema: &str) -> PgConnectOptions {
    options
        .clone()
        .options([("search_path", format!("{schema},public"))])
        // Rows are found by their keys, always: a plan that was made while a table was small would read
        // all of it for every batch once it has grown.
        .options([("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")])
        .log_statements(tracing::log::LevelFilter::Trace)
        // Thousands of rows in one statement are meant to take a while.
        .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(1))
}

/// Folds events, with the rows that they need; stops at the first that cannot be folded.
async fn fold(
    following: &mut dyn Following,
    connection: &mut PgConnection,
    mut events: &[projections::LogEvent],
) -> Result<Option<Stopped>, sqlx::Error> {
    loop {
        match following.fold(events) {
            Folded::All => return Ok(None),
            Folded::Stopped(stopped) => return Ok(Some(stopped)),
            Folded::Needs(index) => {
                events = events.get(index..).unwrap_or_default();
                following.load(connection, events).await?;
            }
        }
    }
}

fn advance_to(
    member: &Member,
    events: &[projections::LogEvent],
    last: i64,
    stopped: Option<Stopped>,
) -> Advance {
    let position = stopped.as_ref().map_or(last, |stopped| stopped.position - 1);
    let reached = events.iter().rev().find(|event| event.position == position);
    Advance {
        projection: member.projection,
        position,
        recorded_at: reached.map(|event| event.recorded_at),
        stopped_at: stopped.map(|stopped| (stopped.position, stopped.event_id, stopped.reason.to_string())),
    }
}

/// Rows and checkpoints in one transaction.
async fn commit(
    connection: &mut PgConnection,
    members: &mut [&mut Member],
    advances: &[Advance],
) -> Result<(), Broken> {
    let mut transaction = connection.begin().await?;
    let projections: Vec<Projection> = members.iter().map(|member| member.projection).collect();
    let locked = checkpoints::lock(&mut transaction, &projections).await?;
    for member in members.iter_mut() {
        let found = locked.iter().find(|(projection, ..)| *projection == member.projection);
        let expected = (member.projection, member.checkpoint.position, member.checkpoint.generation);
        if found != Some(&expected) {
            return Err(Broken::Moved(member.projection.name()));
        }
        member.following.take_changes(KEPT_ROWS).write(&mut transaction).await?;
    }
    checkpoints::advance(&mut transaction, advances).await?;
    transaction.commit().await?;
    Ok(())
}

impl Member {
    fn is_ready(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    fn moved(&mut self, advance: &Advance) {
        let was_failed = self.checkpoint.failed;
        self.checkpoint.position = advance.position;
        self.checkpoint.failed = advance.stopped_at.is_some();
        let projection = self.projection.name();
        match &advance.stopped_at {
            Some((position, event_id, reason)) => {
                self.retry_at = Some(Instant::now() + TRY_AGAIN);
                if !was_failed {
                    tracing::error!(
                        projection,
                        position,
                        %event_id,
                        reason,
                        "a projection stopped at an event that it cannot fold; others go on"
                    );
                }
            }
            None => {
                self.retry_at = None;
                if was_failed {
                    tracing::info!(projection, position = advance.position, "goes on");
                }
            }
        }
    }
}
