//! A unit of work on locked slots: every command runs through `CqrsFramework`, on a store that only
//! stages its events; the unit is then submitted as one append.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use commands::idempotency::Answer;
use commands::ports::StoreError;
use commands::unit::{Refusal, States, Step, Unit};
use cqrs_es::{Aggregate, AggregateContext, AggregateError, CqrsFramework, EventEnvelope, EventStore};
use domain::versions::VersionedEvent;
use domain::{Account, AccountId, Payment};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::append::{Append, AppendError, Appended, NewEvent, Place};
use super::slot::{LockedSlot, Poison};
use super::snapshots::Snapshot;
use super::stored::StoredAggregate;
use super::{PostgresEventStore, event_id};

/// The locked aggregates of a unit, accounts before payments, each kind sorted by id: whoever needs
/// two of them takes them in the same order.
pub(super) struct UnitOfWork {
    accounts: Vec<Held<Account>>,
    payments: Vec<Held<Payment>>,
}

/// One locked aggregate and what the unit has decided on it so far.
struct Held<A: StoredAggregate> {
    id: A::Id,
    locked: LockedSlot<A>,
    working: Mutex<Working<A>>,
}

/// The state that the next command sees; absent while a command holds it, and after a refusal.
struct Working<A: Aggregate> {
    aggregate: Option<Arc<A>>,
    events: Vec<A::Event>,
}

/// A submitted unit.
pub(super) struct Submitted {
    pub(super) outcome: oneshot::Receiver<Result<Appended, AppendError>>,
    pub(super) states: States,
    pub(super) answer: Option<Answer>,
    pub(super) events: i64,
    pub(super) last_event_id: Option<Uuid>,
}

/// What the leading command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    /// There is something to append.
    New,
    /// It has already happened.
    Already,
}

impl UnitOfWork {
    /// Locks and loads the unit's aggregates. `current` re-reads them, after what is pending on them
    /// has become durable: a refusal may only be given on such a state.
    pub(super) async fn lock(
        store: &PostgresEventStore,
        unit: &Unit,
        current: bool,
        expect_new: bool,
    ) -> Result<Self, StoreError> {
        let mut account_ids: Vec<&AccountId> = unit.observed.iter().collect();
        let mut payment_ids = vec![];
        for step in &unit.steps {
            match step {
                Step::Account(id, _) => account_ids.push(id),
                Step::Payment(id, _) => payment_ids.push(id),
            }
        }
        let lead_is_account = matches!(unit.steps.first(), Some(Step::Account(..)));
        let lead = unit.steps.first().map(|step| match step {
            Step::Account(id, _) => id.as_str(),
            Step::Payment(id, _) => id.as_str(),
        });
        let new_of = |accounts: bool| lead.filter(|_| expect_new && accounts == lead_is_account);
        let accounts = lock_all(store, account_ids, current, new_of(true)).await?;
        let payments = lock_all(store, payment_ids, current, new_of(false)).await?;
        Ok(Self { accounts, payments })
    }

    /// Runs the unit's commands, the first one leading.
    pub(super) async fn decide(&self, unit: &Unit) -> Result<Decided, StoreError> {
        for (index, step) in unit.steps.iter().enumerate() {
            let before = self.events();
            match step {
                Step::Account(id, command) => {
                    let held = find(&self.accounts, id)?;
                    held.run(id.as_str(), command.clone()).await?;
                }
                Step::Payment(id, command) => {
                    let held = find(&self.payments, id)?;
                    held.run(id.as_str(), command.clone()).await?;
                }
            }
            if index == 0 && self.events() == before {
                return Ok(Decided::Already);
            }
        }
        Ok(Decided::New)
    }

    /// Submits what was decided and releases the locks.
    pub(super) fn submit(
        self,
        store: &PostgresEventStore,
        unit: &Unit,
        place: Place,
    ) -> Result<Submitted, StoreError> {
        let states = self.states()?;
        let answer = unit.answer.as_ref().map(|pending| (pending.write)(&states));
        let (sender, outcome) = oneshot::channel();
        let mut append = Append {
            events: vec![],
            context: unit.context.clone(),
            claim: unit.claim.clone(),
            answer: unit.answer.as_ref().map(|pending| pending.key.clone()).zip(answer.clone()),
            slots: vec![],
            snapshots: vec![],
            outcome: sender,
        };
        let mut payments = self.payments;
        let mut accounts = self.accounts;
        let staged = payments.iter_mut().try_for_each(|held| held.stage(&mut append));
        let staged = staged.and_then(|()| accounts.iter_mut().try_for_each(|held| held.stage(&mut append)));
        if let Err(error) = staged {
            // What was staged before is in its slot and will never be in the log.
            append.slots.iter().for_each(|slot| slot.poison());
            return Err(error);
        }
        let events = i64::try_from(append.events.len()).unwrap_or(i64::MAX);
        let last_event_id = append.events.last().map(|event| event.event_id);
        let number = store.queue.submit(append, place).ok_or(StoreError::Unavailable)?;
        payments.iter_mut().for_each(|held| held.locked.state.submission = number);
        accounts.iter_mut().for_each(|held| held.locked.state.submission = number);
        Ok(Submitted { outcome, states, answer, events, last_event_id })
    }

    /// The states that the unit leads to.
    pub(super) fn states(&self) -> Result<States, StoreError> {
        let mut states = States::default();
        for held in &self.accounts {
            states.accounts.push((held.id.clone(), held.aggregate()?));
        }
        for held in &self.payments {
            states.payments.push((held.id.clone(), held.aggregate()?));
        }
        Ok(states)
    }

    fn events(&self) -> usize {
        let accounts: usize = self.accounts.iter().map(Held::events).sum();
        let payments: usize = self.payments.iter().map(Held::events).sum();
        accounts + payments
    }
}

async fn lock_all<A: StoredAggregate>(
    store: &PostgresEventStore,
    mut ids: Vec<&A::Id>,
    current: bool,
    expect_new: Option<&str>,
) -> Result<Vec<Held<A>>, StoreError>
where
    PostgresEventStore: super::Keeps<A>,
{
    ids.sort_unstable();
    ids.dedup();
    let mut held = Vec::with_capacity(ids.len());
    for id in ids {
        let text: &str = id.borrow();
        let locked = if current {
            store.lock_current::<A>(text).await?.0
        } else {
            store.lock_loaded::<A>(text, expect_new == Some(text)).await?
        };
        let working = Working { aggregate: Some(Arc::clone(&locked.state.aggregate)), events: vec![] };
        held.push(Held { id: id.clone(), locked, working: Mutex::new(working) });
    }
    Ok(held)
}

fn find<'a, A: StoredAggregate>(held: &'a [Held<A>], id: &A::Id) -> Result<&'a Held<A>, StoreError> {
    held.iter().find(|held| held.id == *id).ok_or_else(|| {
        let id: &str = id.borrow();
        StoreError::Damaged(format!("{} {id} is not locked by its unit", A::TYPE))
    })
}

impl<A: StoredAggregate> Held<A> {
    fn working(&self) -> std::sync::MutexGuard<'_, Working<A>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> usize {
        self.working().events.len()
    }
}

impl<A: StoredAggregate> Held<A>
where
    Refusal: From<A::Error>,
{
    async fn run(&self, id: &str, command: A::Command) -> Result<(), StoreError> {
        let framework = CqrsFramework::new(StagedStore { working: &self.working }, vec![], ());
        framework.execute(id, command).await.map_err(|error| match error {
            AggregateError::UserError(refusal) => StoreError::Refused(Refusal::from(refusal)),
            other => StoreError::Damaged(other.to_string()),
        })
    }
}

impl<A: StoredAggregate> Held<A> {
    fn aggregate(&self) -> Result<Arc<A>, StoreError> {
        self.working().aggregate.clone().ok_or_else(|| missing::<A>())
    }

    /// Puts the unit's events into the append and the new state into the slot.
    fn stage(&mut self, append: &mut Append) -> Result<(), StoreError> {
        let working = self.working.get_mut().unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::take(&mut working.events);
        let slot = &self.locked.slot;
        // Also where nothing happens: the unit was decided on this state, and its answer tells of it.
        append.slots.push(Arc::clone(slot) as Arc<dyn Poison>);
        if events.is_empty() {
            return Ok(());
        }
        let aggregate = working.aggregate.take().ok_or_else(|| missing::<A>())?;
        let state = &mut *self.locked.state;
        let before = state.sequence;
        for event in events {
            state.sequence += 1;
            append.events.push(new_event::<A>(&slot.id, state.sequence, event_id(), &event)?);
        }
        state.aggregate = aggregate;
        append.snapshots.extend(Snapshot::due(&slot.id, before, state.sequence, &*state.aggregate));
        Ok(())
    }
}

/// An event as the log keeps it.
pub(super) fn new_event<A: StoredAggregate>(
    id: &Arc<str>,
    sequence: i64,
    event_id: Uuid,
    event: &A::Event,
) -> Result<NewEvent, StoreError> {
    Ok(NewEvent {
        event_id,
        aggregate_type: A::TYPE,
        aggregate_id: Arc::clone(id),
        sequence,
        event_type: event.event_name(),
        event_version: event.written_version(),
        payload: serde_json::to_string(event).map_err(|error| StoreError::Damaged(error.to_string()))?,
    })
}

fn missing<A: Aggregate>() -> StoreError {
    StoreError::Damaged(format!("a refused {} was used", A::TYPE))
}

/// A `cqrs_es` store over one locked aggregate: loading takes the working state, committing puts it
/// back with its events. Durability is the unit's.
struct StagedStore<'a, A: Aggregate> {
    working: &'a Mutex<Working<A>>,
}

struct StagedContext<A>(Arc<A>);

impl<A: Aggregate + Clone> AggregateContext<A> for StagedContext<A> {
    fn aggregate(&mut self) -> &mut A {
        Arc::make_mut(&mut self.0)
    }
}

impl<A: StoredAggregate> EventStore<A> for StagedStore<'_, A> {
    type AC = StagedContext<A>;

    /// The events that the unit has staged.
    async fn load_events(&self, id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(envelopes(id, 0, &working.events, &HashMap::new()))
    }

    async fn load_aggregate(&self, _: &str) -> Result<Self::AC, AggregateError<A::Error>> {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        match working.aggregate.take() {
            Some(aggregate) => Ok(StagedContext(aggregate)),
            None => Err(AggregateError::UnexpectedError("a refused aggregate was used".into())),
        }
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        working.aggregate = Some(context.0);
        working.events.extend(events);
        // Queries never hang off the framework: projections and Kafka read the log.
        Ok(vec![])
    }
}

/// Events in the framework's wrapping.
pub(super) fn envelopes<A: Aggregate>(
    id: &str,
    before: i64,
    events: &[A::Event],
    metadata: &HashMap<String, String>,
) -> Vec<EventEnvelope<A>> {
    let first = usize::try_from(before).unwrap_or(0) + 1;
    (first..)
        .zip(events)
        .map(|(sequence, payload)| EventEnvelope {
            aggregate_id: id.to_owned(),
            sequence,
            payload: payload.clone(),
            metadata: metadata.clone(),
        })
        .collect()
}
