//! Our `cqrs_es::EventStore` for commands to one aggregate, for whoever uses `CqrsFramework` alone.
//!
//! `load_aggregate` locks the aggregate's slot and hands the lock out inside the context; `commit`
//! takes the context by value, submits while the lock is held, releases it and waits for durability.

use std::collections::HashMap;
use std::sync::Arc;

use commands::context::{CommandContext, TraceContext};
use commands::ports::StoreError;
use cqrs_es::{AggregateContext, AggregateError, CqrsFramework, EventEnvelope, EventStore};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::append::{Append, AppendError};
use super::slot::{LockedSlot, Poison};
use super::snapshots::Snapshot;
use super::stored::StoredAggregate;
use super::unit_of_work::{envelopes, new_event};
use super::{Keeps, PostgresEventStore, event_id};

/// Trace context of a command that came without one.
const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// The store as `cqrs_es` sees it, for one type of aggregate.
#[derive(Clone)]
pub struct AggregateStore {
    store: PostgresEventStore,
    /// Whether each command is decided on durable and current state, as a refusal must be.
    current: bool,
}

impl AggregateStore {
    /// A view of the store; it shares its cache and its committer.
    #[must_use]
    pub fn new(store: PostgresEventStore) -> Self {
        Self { store, current: false }
    }
}

/// Runs one command through a framework on an [`AggregateStore`] under the rules of the store: a
/// refusal is given only on durable and current state, and a conflict is tried again.
///
/// # Errors
/// The refusal, or why the store could not.
pub async fn execute<A: StoredAggregate>(
    framework: &CqrsFramework<A, AggregateStore>,
    store: &PostgresEventStore,
    id: &str,
    command: A::Command,
) -> Result<(), AggregateError<A::Error>>
where
    PostgresEventStore: Keeps<A>,
    A::Command: Clone,
{
    // Without the caller's queries, of which there are none: whatever follows events reads the log.
    let careful = CqrsFramework::new(AggregateStore { store: store.clone(), current: true }, vec![], ());
    let mut framework = framework;
    let mut current = false;
    let give_up = store.give_up();
    for attempt in 0.. {
        if Instant::now() >= give_up {
            break;
        }
        match framework.execute(id, command.clone()).await {
            Err(AggregateError::UserError(_)) if !current => (framework, current) = (&careful, true),
            Err(AggregateError::AggregateConflict) => super::pause(attempt).await,
            other => return other,
        }
    }
    Err(AggregateError::AggregateConflict)
}

/// A locked aggregate on which the framework decides.
pub struct LockedAggregate<A> {
    locked: LockedSlot<A>,
    working: Arc<A>,
}

impl<A: StoredAggregate> AggregateContext<A> for LockedAggregate<A> {
    fn aggregate(&mut self) -> &mut A {
        Arc::make_mut(&mut self.working)
    }
}

impl<A: StoredAggregate> EventStore<A> for AggregateStore
where
    PostgresEventStore: Keeps<A>,
{
    type AC = LockedAggregate<A>;

    async fn load_events(&self, id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.store.events::<A>(id).await.map_err(unexpected)
    }

    async fn load_aggregate(&self, id: &str) -> Result<Self::AC, AggregateError<A::Error>> {
        let locked = if self.current {
            self.store.lock_current::<A>(id).await.map(|(locked, _)| locked)
        } else {
            self.store.lock_loaded::<A>(id, false).await
        };
        let locked = locked.map_err(unexpected)?;
        let working = Arc::clone(&locked.state.aggregate);
        Ok(LockedAggregate { locked, working })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let LockedAggregate { locked, working } = context;
        let LockedSlot { slot, mut state } = locked;
        if events.is_empty() {
            // It has already happened: true only of a state that is durable and current.
            self.store.queue.resolved(state.submission).await;
            let before = state.sequence;
            self.store.loader.refresh::<A>(&slot.id, &mut state).await.map_err(unexpected)?;
            let outdated = slot.is_poisoned() || state.sequence != before;
            return if outdated { Err(AggregateError::AggregateConflict) } else { Ok(vec![]) };
        }
        let place = self.store.queue.try_reserve().ok_or_else(|| unexpected(StoreError::Unavailable))?;
        let before = state.sequence;
        let (outcome, appended) = oneshot::channel();
        let mut new_events = Vec::with_capacity(events.len());
        for (sequence, event) in (before + 1..).zip(&events) {
            new_events.push(new_event::<A>(&slot.id, sequence, event_id(), event).map_err(unexpected)?);
        }
        state.sequence += i64::try_from(events.len()).unwrap_or(i64::MAX);
        state.aggregate = working;
        let append = Append {
            events: new_events,
            context: context_of(&metadata, &slot.id),
            claim: None,
            answer: None,
            snapshots: Snapshot::due(&slot.id, before, state.sequence, &*state.aggregate)
                .into_iter()
                .collect(),
            slots: vec![Arc::clone(&slot) as Arc<dyn Poison>],
            outcome,
        };
        let number = self.store.queue.submit(append, place);
        state.submission = number.ok_or_else(|| unexpected(StoreError::Unavailable))?;
        drop(state);
        match appended.await {
            Ok(Ok(_)) => Ok(envelopes(&slot.id, before, &events, &metadata)),
            Ok(Err(AppendError::Conflict { .. } | AppendError::KeyTaken)) => {
                Err(AggregateError::AggregateConflict)
            }
            Ok(Err(AppendError::Unavailable)) => Err(unexpected(StoreError::Unavailable)),
            Ok(Err(AppendError::Unacceptable(reason))) => Err(unexpected(StoreError::Damaged(reason))),
            Err(_) => Err(unexpected(StoreError::OutcomeUnknown)),
        }
    }
}

fn context_of(metadata: &HashMap<String, String>, id: &str) -> CommandContext {
    let of = |name: &str, default: &str| Arc::from(metadata.get(name).map_or(default, String::as_str));
    CommandContext {
        correlation_id: of("correlation_id", id),
        causation_id: of("causation_id", "command"),
        actor: of("actor", "engine"),
        trace: Arc::new(TraceContext {
            traceparent: metadata.get("traceparent").map_or(NO_TRACE, String::as_str).to_owned(),
            tracestate: metadata.get("tracestate").cloned(),
            baggage: metadata.get("baggage").cloned(),
        }),
    }
}

fn unexpected<E: std::error::Error>(error: StoreError) -> AggregateError<E> {
    match error {
        StoreError::Unavailable | StoreError::OutcomeUnknown => {
            AggregateError::DatabaseConnectionError(Box::new(error))
        }
        other => AggregateError::UnexpectedError(Box::new(other)),
    }
}
