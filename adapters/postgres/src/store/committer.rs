//! Group commit: one task takes what has been submitted and makes it durable, batch by batch.
//!
//! While a batch is on its way to the disk the next one gathers; with nothing in flight an append
//! leaves at once. There is no timer.
//!
//! **Invariants:** batches are sent one after the other, in the order of submission. An append is
//! resolved only when its outcome is known. When one fails, its slots are poisoned first, so that
//! every append behind it that was decided on them fails as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::meters;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, watch};

use super::append::{AppendError, Appended, Queued};
use super::connection::{FencedConnection, within};
use super::snapshots::SnapshotWriter;
use super::statement::{self, Landed};

/// Limits of the committer.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitterSettings {
    /// A batch is sent when it has so many events, or when nothing else waits.
    pub(super) batch_events: usize,
    /// After so long without an answer the connection counts as lost.
    pub(super) batch_timeout: Duration,
}

/// Pause between attempts to learn what became of a batch.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

/// What the committer tells the rest of the process.
#[derive(Debug)]
pub(super) struct Signals {
    /// Number of the last submission that is resolved.
    pub(super) resolved: watch::Sender<u64>,
    /// Position of the last event that this process knows to be durable.
    pub(super) position: watch::Sender<i64>,
    /// Whether batches get through.
    pub(super) available: watch::Sender<bool>,
}

pub(super) struct Committer {
    queue: mpsc::UnboundedReceiver<Queued>,
    connection: FencedConnection,
    settings: CommitterSettings,
    signals: Arc<Signals>,
    snapshots: SnapshotWriter,
}

enum Written {
    Landed(Landed),
    /// A unique key of the log was hit; nothing of the batch is in the log.
    Outrun,
    /// The database refused or cannot be reached; nothing of the batch is in the log.
    Unavailable,
    /// There is something in the batch that the database never takes; nothing of it is in the log.
    Unacceptable(String),
}

impl Committer {
    pub(super) fn new(
        queue: mpsc::UnboundedReceiver<Queued>,
        options: PgConnectOptions,
        settings: CommitterSettings,
        signals: Arc<Signals>,
        snapshots: SnapshotWriter,
    ) -> Self {
        Self { queue, connection: FencedConnection::new(options), settings, signals, snapshots }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            // Whoever is ready to run may submit first: under load that fills the batch, and with
            // nothing else to run it takes no time.
            tokio::task::yield_now().await;
            let mut events = first.append.events.len();
            let mut batch = vec![first];
            while events < self.settings.batch_events {
                let Ok(next) = self.queue.try_recv() else { break };
                events += next.append.events.len();
                batch.push(next);
            }
            let last = batch.last().map_or(0, |queued| queued.number);
            self.commit(batch).await;
            self.signals.resolved.send_replace(last);
        }
    }

    async fn commit(&mut self, batch: Vec<Queued>) {
        let mut batch = fail_poisoned(batch);
        while !batch.is_empty() {
            match self.write(&batch).await {
                Written::Landed(landed) => return self.resolve(batch, landed),
                Written::Unavailable => return fail_all(batch, &AppendError::Unavailable),
                Written::Unacceptable(_) => return self.commit_one_by_one(batch).await,
                Written::Outrun => match self.weed(batch).await {
                    Weeded::Some(rest) => batch = rest,
                    Weeded::None(batch) => return self.commit_one_by_one(batch).await,
                },
            }
        }
    }

    /// For a batch that conflicts with itself (an aggregate or a key that is in it twice), or in which
    /// one append keeps the others from being taken.
    async fn commit_one_by_one(&mut self, batch: Vec<Queued>) {
        for queued in batch {
            for queued in fail_poisoned(vec![queued]) {
                let one = vec![queued];
                match self.write(&one).await {
                    Written::Landed(landed) => self.resolve(one, landed),
                    Written::Unavailable => fail_all(one, &AppendError::Unavailable),
                    Written::Unacceptable(reason) => fail_all(one, &AppendError::Unacceptable(reason)),
                    Written::Outrun => match self.weed(one).await {
                        Weeded::Some(rest) | Weeded::None(rest) => {
                            fail_all(rest, &AppendError::Conflict { on: vec![] });
                        }
                    },
                }
            }
        }
    }

    fn resolve(&self, batch: Vec<Queued>, landed: Landed) {
        let mut position = landed.base;
        for Queued { append, .. } in batch {
            let appended = Appended { first_position: position + 1, recorded_at: landed.recorded_at };
            position += i64::try_from(append.events.len()).unwrap_or(0);
            for snapshot in append.snapshots {
                self.snapshots.offer(snapshot);
            }
            // The submitter may have gone away; what it asked for is durable all the same.
            let _ = append.outcome.send(Ok(appended));
        }
        self.signals.position.send_if_modified(|known| {
            let newer = position > *known;
            *known = position.max(*known);
            newer
        });
    }

    /// Sends a batch and finds out what became of it, however long that takes.
    async fn write(&mut self, batch: &[Queued]) -> Written {
        loop {
            let sent = match self.connection.get().await {
                Err(error) => Sent::Never(error),
                Ok(connection) => {
                    let began = Instant::now();
                    let sending = statement::append(connection, batch);
                    let sent = within(self.settings.batch_timeout, sending)
                        .await
                        .map_or_else(Sent::of, Sent::Landed);
                    measure(batch, &sent, began.elapsed());
                    sent
                }
            };
            match sent {
                Sent::Landed(landed) => {
                    self.announce(true);
                    return Written::Landed(landed);
                }
                Sent::Outrun => return Written::Outrun,
                Sent::Unacceptable(error) => {
                    tracing::error!(%error, events = batch.len(), "the database does not take an append");
                    return Written::Unacceptable(error.to_string());
                }
                Sent::Refused(error) => {
                    tracing::error!(%error, events = batch.len(), "the database refused a batch");
                    // A server that refuses may have become read-only or have lost its plans; a new
                    // session finds the one that takes writes.
                    self.connection.lose();
                    self.announce(false);
                    return Written::Unavailable;
                }
                Sent::Never(error) => {
                    tracing::warn!(%error, "cannot reach the database to commit");
                    self.announce(false);
                    return Written::Unavailable;
                }
                Sent::Unknown(error) => {
                    tracing::warn!(%error, "connection lost during a commit, asking the log for its outcome");
                    self.connection.lose();
                    self.announce(false);
                    if let Some(landed) = self.find(batch).await {
                        tracing::info!("the batch had been committed");
                        self.announce(true);
                        return Written::Landed(landed);
                    }
                    tracing::info!("the batch had not been committed, sending it again");
                }
            }
        }
    }

    /// Asks the log for a batch, again and again until it answers.
    async fn find(&mut self, batch: &[Queued]) -> Option<Landed> {
        let limit = self.settings.batch_timeout;
        loop {
            let found = match self.connection.get().await {
                Ok(connection) => within(limit, statement::find(connection, batch)).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(landed) => return landed,
                Err(error) => {
                    tracing::warn!(%error, "the outcome of a commit is still unknown");
                    self.connection.lose();
                    tokio::time::sleep(RESOLVE_PAUSE).await;
                }
            }
        }
    }

    /// Fails the appends that others have outrun, and whatever was decided on them.
    async fn weed(&mut self, batch: Vec<Queued>) -> Weeded {
        let limit = self.settings.batch_timeout;
        let found = match self.connection.get().await {
            Ok(connection) => {
                let asking = async {
                    let claimed = statement::claimed(connection, &batch).await?;
                    Ok((claimed, statement::outrun(connection, &batch).await?))
                };
                within(limit, asking).await
            }
            Err(error) => Err(error),
        };
        let (claimed, mut outrun) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot read which appends conflict");
                self.connection.lose();
                fail_all(batch, &AppendError::Unavailable);
                return Weeded::Some(vec![]);
            }
        };
        if claimed.is_empty() && outrun.is_empty() {
            return Weeded::None(batch);
        }
        let mut rest = vec![];
        for (index, queued) in batch.into_iter().enumerate() {
            if claimed.contains(&index) {
                fail(queued, AppendError::KeyTaken);
            } else if let Some(on) = outrun.remove(&index) {
                fail(queued, AppendError::Conflict { on });
            } else {
                rest.extend(fail_poisoned(vec![queued]));
            }
        }
        Weeded::Some(rest)
    }

    fn announce(&self, available: bool) {
        self.signals.available.send_if_modified(|known| std::mem::replace(known, available) != available);
    }
}

enum Weeded {
    /// Conflicts were found and failed; these are left.
    Some(Vec<Queued>),
    /// No conflict with the log was found.
    None(Vec<Queued>),
}

enum Sent {
    Landed(Landed),
    Outrun,
    Unacceptable(sqlx::Error),
    Refused(sqlx::Error),
    Never(sqlx::Error),
    Unknown(sqlx::Error),
}

impl Sent {
    /// Only an error that the server reports for the statement itself says that nothing was
    /// committed. Anything that ends the session may have come after the commit.
    fn of(error: sqlx::Error) -> Self {
        use sqlx::postgres::{PgDatabaseError, PgSeverity};
        let Some(database) = error.as_database_error() else { return Self::Unknown(error) };
        if database.is_unique_violation() {
            return Self::Outrun;
        }
        let session_goes_on = database
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|postgres| matches!(postgres.severity(), PgSeverity::Error));
        // Class 22 is about the data, 23 about what it may be: another session would say the same.
        let about_the_data =
            database.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"));
        match (session_goes_on, about_the_data) {
            (true, true) => Self::Unacceptable(error),
            (true, false) => Self::Refused(error),
            (false, _) => Self::Unknown(error),
        }
    }
}

fn measure(batch: &[Queued], sent: &Sent, took: Duration) {
    let landed = matches!(sent, Sent::Landed(_));
    if landed {
        meters::appended(batch.iter().map(|queued| queued.append.events.len()).sum(), took);
    }
    meters::database_asked("append", !landed, took);
}

/// Fails what was decided on a slot that is wrong, and keeps the rest in order.
fn fail_poisoned(batch: Vec<Queued>) -> Vec<Queued> {
    let mut rest = Vec::with_capacity(batch.len());
    for queued in batch {
        if queued.append.slots.iter().any(|slot| slot.is_poisoned()) {
            fail(queued, AppendError::Conflict { on: vec![] });
        } else {
            rest.push(queued);
        }
    }
    rest
}

fn fail_all(batch: Vec<Queued>, error: &AppendError) {
    for queued in batch {
        fail(queued, error.clone());
    }
}

fn fail(queued: Queued, error: AppendError) {
    for slot in &queued.append.slots {
        slot.poison();
    }
    // The submitter may have gone away; nothing of its append is in the log.
    let _ = queued.append.outcome.send(Err(error));
}
