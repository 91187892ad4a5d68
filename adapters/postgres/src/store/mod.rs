//! The event store: every acknowledged event is on disk, at thousands of commands a second.
//!
//! ```text
//! execute ── lock slots ── decide (CqrsFramework) ── submit ── release ── wait ── answered
//!              │ cache              pure               │ FIFO
//!              └ load: postgres-es, snapshots          └► committer: one statement a batch
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | `slot` | the cache of aggregate states, and what makes one of them wrong |
//! | `unit_of_work` | commands to several aggregates as one append |
//! | `framework` | the same store for `CqrsFramework` alone |
//! | `append`, `committer`, `statement`, `connection` | from submission to disk |
//! | `load`, `lookup`, `batched`, `snapshots` | from disk to state |
//!
//! Start at [`PostgresEventStore`]'s `execute`.
//!
//! **Invariants:** nothing is answered before it is durable, refusals included; the unique key
//! (aggregate type, aggregate id, sequence) decides every race, so that any number of processes may
//! run on one database without leases.

mod append;
mod batched;
mod committer;
mod connection;
pub mod framework;
mod load;
mod lookup;
#[cfg(test)]
mod newer_release;
mod slot;
mod snapshots;
mod statement;
mod stored;
mod unit_of_work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use commands::idempotency::IdempotencyKey;
use commands::meters;
use commands::ports::{EventStore, LookUp, StoreError, Stored};
use commands::unit::{Receipt, Step, Unit};
use cqrs_es::EventEnvelope;
use domain::{Account, AccountId, Payment, PaymentId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;
use uuid::Uuid;

pub(crate) use self::lookup::key_record;
pub use domain::versions::DecodeError;
pub use statement::APPEND;
pub use stored::{StoredAggregate, decode};

use self::append::{AppendError, AppendQueue};
use self::batched::Batched;
use self::committer::{Committer, CommitterSettings, Signals};
use self::load::{Loader, ReadAt};
use self::lookup::{KeyQuestion, ReadKeys};
use self::slot::{LockedSlot, SlotCache};
use self::unit_of_work::{Decided, UnitOfWork};
use crate::database::Database;

/// Limits of the store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Accounts kept in memory; about 1 KiB each, more with many holds.
    pub cached_accounts: usize,
    /// Payments kept in memory; about 2 KiB each.
    pub cached_payments: usize,
    /// Most events in one statement.
    pub batch_events: usize,
    /// Appends that may wait for the committer; who comes later waits outside.
    pub queue: usize,
    /// How long a command waits for its answer.
    pub timeout: Duration,
    /// After so long without an answer the committer's connection counts as lost.
    pub batch_timeout: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            cached_accounts: 200_000,
            cached_payments: 50_000,
            batch_events: 1_000,
            queue: 20_000,
            timeout: Duration::from_secs(2),
            batch_timeout: Duration::from_secs(10),
        }
    }
}

/// The event store on PostgreSQL. Clones share everything.
#[derive(Clone)]
pub struct PostgresEventStore {
    accounts: Arc<SlotCache<Account>>,
    payments: Arc<SlotCache<Payment>>,
    queue: Arc<AppendQueue>,
    loader: Arc<Loader>,
    keys: Arc<Batched<ReadKeys>>,
    signals: Arc<Signals>,
    settings: StoreSettings,
    // Ends the store's tasks with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

/// Which cache an aggregate lives in.
pub trait Keeps<A: StoredAggregate> {
    #[doc(hidden)]
    #[expect(
        private_interfaces,
        reason = "the trait only chooses a cache; it is not for implementing elsewhere"
    )]
    fn cache(&self) -> &SlotCache<A>;
}

impl Keeps<Account> for PostgresEventStore {
    #[expect(private_interfaces, reason = "see the trait")]
    fn cache(&self) -> &SlotCache<Account> {
        &self.accounts
    }
}

impl Keeps<Payment> for PostgresEventStore {
    #[expect(private_interfaces, reason = "see the trait")]
    fn cache(&self) -> &SlotCache<Payment> {
        &self.payments
    }
}

impl PostgresEventStore {
    /// Starts a store on a database: its committer, its readers and its snapshot writer.
    #[must_use]
    pub fn start(database: &Database, settings: StoreSettings) -> Self {
        let pool = database.pool.clone();
        let signals = Arc::new(Signals {
            resolved: watch::Sender::new(0),
            position: watch::Sender::new(0),
            available: watch::Sender::new(true),
        });
        let (queue, receiver) = AppendQueue::new(settings.queue, signals.resolved.subscribe());
        let (snapshot_writer, snapshots) = snapshots::SnapshotWriter::new();
        let committer = Committer::new(
            receiver,
            database.options.clone(),
            CommitterSettings { batch_events: settings.batch_events, batch_timeout: settings.batch_timeout },
            Arc::clone(&signals),
            snapshot_writer.clone(),
        );
        let (keys, serve_keys) = Batched::new(database.options.clone());
        let (streams, serve_streams) = Batched::new(database.options.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(committer.run());
        tasks.spawn(serve_keys);
        tasks.spawn(serve_streams);
        tasks.spawn(snapshots::write_snapshots(pool.clone(), snapshots));
        Self {
            accounts: Arc::new(SlotCache::new(settings.cached_accounts)),
            payments: Arc::new(SlotCache::new(settings.cached_payments)),
            queue: Arc::new(queue),
            loader: Arc::new(Loader::new(pool, streams, snapshot_writer)),
            keys: Arc::new(keys),
            signals,
            settings,
            _tasks: Arc::new(tasks),
        }
    }

    /// Position of the last event that this process has made durable; wakes readers of the log.
    #[must_use]
    pub fn positions(&self) -> watch::Receiver<i64> {
        self.signals.position.subscribe()
    }

    /// Aggregates in memory now: accounts, payments.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        (self.accounts.len(), self.payments.len())
    }

    /// Until when a command that begins now may try again. Who lost a race has to read before the next
    /// attempt, and who won has not: against a busy process a number of attempts is soon used up. What
    /// is left of the command's time is for the last attempt's answer.
    fn give_up(&self) -> Instant {
        Instant::now() + self.settings.timeout * 3 / 4
    }

    async fn execute_within(&self, unit: Unit) -> Result<Receipt, StoreError> {
        let mut contended = vec![];
        let (mut current, mut expect_new) = (false, unit.expect_new);
        let give_up = self.give_up();
        for attempt in 0.. {
            if Instant::now() >= give_up {
                break;
            }
            let place = self.queue.reserve().await.ok_or(StoreError::Unavailable)?;
            let work = UnitOfWork::lock(self, &unit, current, expect_new).await?;
            let decided = work.decide(&unit).await;
            match decided {
                Ok(Decided::New) => {}
                // Nothing to append: true only of a state that is durable and current.
                _ if !current => {
                    (current, expect_new) = (true, false);
                    continue;
                }
                Ok(Decided::Already) => {
                    return Ok(Receipt {
                        appended: false,
                        position: None,
                        recorded_by: Arc::clone(&unit.context.trace),
                        last_event_id: None,
                        answer: None,
                        states: work.states()?,
                        contended,
                    });
                }
                Err(refusal) => return Err(refusal),
            }
            let submitted = work.submit(self, &unit, place)?;
            match submitted.outcome.await.map_err(|_| StoreError::OutcomeUnknown)? {
                Ok(appended) => {
                    let last = appended.first_position + submitted.events - 1;
                    let position = (submitted.events > 0).then_some(last);
                    tracing::trace!(position, recorded_at = %appended.recorded_at, "appended");
                    unit.steps.iter().filter_map(Step::account_operation).for_each(meters::account_operation);
                    return Ok(Receipt {
                        appended: true,
                        position,
                        recorded_by: Arc::clone(&unit.context.trace),
                        last_event_id: submitted.last_event_id.map(|id| id.to_string()),
                        answer: submitted
                            .answer
                            .map(|answer| commands::idempotency::Answer { position, ..answer }),
                        states: submitted.states,
                        contended,
                    });
                }
                Err(AppendError::Conflict { on }) => {
                    meters::concurrent_modifications(on.len());
                    contended.extend(on);
                }
                Err(AppendError::KeyTaken) => return Err(StoreError::KeyTaken),
                Err(AppendError::Unavailable) => return Err(StoreError::Unavailable),
                Err(AppendError::Unacceptable(reason)) => return Err(StoreError::Damaged(reason)),
            }
            expect_new = false;
            pause(attempt).await;
        }
        Err(StoreError::Contended)
    }

    /// Locks an aggregate whose state has been read. `new` spares the read of one that has been seen
    /// not to exist; if that is wrong, the append conflicts and the next attempt reads.
    async fn lock_loaded<A: StoredAggregate>(&self, id: &str, new: bool) -> Result<LockedSlot<A>, StoreError>
    where
        Self: Keeps<A>,
    {
        let mut locked = self.cache().lock(id).await;
        if !locked.state.loaded {
            if new {
                locked.state.loaded = true;
            } else {
                *locked.state = self.loader.load(id).await?;
            }
        }
        Ok(locked)
    }

    /// Locks an aggregate whose state is durable and what the log says now.
    async fn lock_current<A: StoredAggregate>(
        &self,
        id: &str,
    ) -> Result<(LockedSlot<A>, Option<ReadAt>), StoreError>
    where
        Self: Keeps<A>,
    {
        loop {
            let mut locked = self.lock_loaded::<A>(id, false).await?;
            self.queue.resolved(locked.state.submission).await.ok_or(StoreError::Unavailable)?;
            if slot::Poison::is_poisoned(&*locked.slot) {
                continue;
            }
            let read_at = self.loader.refresh(id, &mut locked.state).await?;
            return Ok((locked, read_at));
        }
    }

    async fn stored<A: StoredAggregate>(&self, id: &str) -> Result<Stored<A>, StoreError>
    where
        Self: Keeps<A>,
    {
        let reading = tokio::time::timeout(self.settings.timeout, self.lock_current::<A>(id));
        let (locked, read_at) = reading.await.map_err(|_| StoreError::Unavailable)??;
        Ok(Stored {
            state: Arc::clone(&locked.state.aggregate),
            position: read_at.map(|read_at| read_at.position),
            recorded_at: read_at.map(|read_at| read_at.recorded_at),
            last_event_id: read_at.map(|read_at| read_at.event_id.to_string()),
        })
    }

    async fn events<A: StoredAggregate>(&self, id: &str) -> Result<Vec<EventEnvelope<A>>, StoreError> {
        self.loader.events(id).await
    }
}

#[async_trait]
impl EventStore for PostgresEventStore {
    async fn execute(&self, unit: Unit) -> Result<Receipt, StoreError> {
        let span = tracing::info_span!(
            "eventstore.append",
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "postgresql",
            error.type = Empty,
        );
        // Its events lead back to this span.
        let context = unit.context.within(&span);
        let executing = self.execute_within(Unit { context, ..unit }).instrument(span.clone());
        let executed = tokio::time::timeout(self.settings.timeout, executing).await;
        let late = executed.is_err().then_some("timeout");
        let executed = executed.unwrap_or(Err(StoreError::OutcomeUnknown));
        if let Some(kind) = late.or(executed.as_ref().err().and_then(failure)) {
            meters::failed("event_store");
            span.record("error.type", kind);
            span.record("otel.status_code", "ERROR");
        }
        executed
    }

    async fn account(&self, id: &AccountId) -> Result<Stored<Account>, StoreError> {
        self.stored(id.as_str()).await
    }

    async fn payment(&self, id: &PaymentId) -> Result<Stored<Payment>, StoreError> {
        self.stored(id.as_str()).await
    }

    fn is_running(&self) -> bool {
        self.queue.is_served() && self.keys.is_served() && self.loader.is_served()
    }

    async fn look_up(&self, key: &IdempotencyKey, payment: Option<&PaymentId>) -> Result<LookUp, StoreError> {
        let question =
            KeyQuestion { key: key.clone(), payment_id: payment.map(|payment| payment.as_str().to_owned()) };
        let asking = tokio::time::timeout(self.settings.timeout, self.keys.ask(question));
        asking.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

/// What kind of failure of the store an error is; a refusal is none.
const fn failure(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Refused(_) | StoreError::KeyTaken => None,
        StoreError::Unavailable => Some("unavailable"),
        StoreError::OutcomeUnknown => Some("outcome_unknown"),
        StoreError::Contended => Some("contended"),
        StoreError::Damaged(_) => Some("damaged"),
    }
}

/// A new event's id: ordered by time, so that its index grows at one end.
#[expect(clippy::disallowed_methods, reason = "an event is named when it is recorded, by the store")]
fn event_id() -> Uuid {
    Uuid::now_v7()
}

/// Waits a moment that grows with the attempt and differs between processes.
async fn pause(attempt: u32) {
    let spread = u64::from(event_id().as_bytes()[15]);
    let most = u64::from(attempt + 1).min(10) * 1_000;
    tokio::time::sleep(Duration::from_micros(most * spread / 255)).await;
}
