//! What the committer is given: appends in one queue, each with the slots that it was decided on.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use commands::context::CommandContext;
use commands::idempotency::{Answer, Claim, IdempotencyKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use super::slot::Poison;
use super::snapshots::Snapshot;
use crate::hash_chain::{Content, Hash};

/// An event that is not durable yet.
#[derive(Debug)]
pub(super) struct NewEvent {
    pub(super) event_id: Uuid,
    pub(super) aggregate_type: &'static str,
    pub(super) aggregate_id: Arc<str>,
    pub(super) sequence: i64,
    pub(super) event_type: &'static str,
    pub(super) event_version: &'static str,
    pub(super) payload: String,
}

impl NewEvent {
    fn content<'a>(&'a self, context: &'a CommandContext) -> Content<'a> {
        Content {
            event_id: self.event_id,
            aggregate_type: self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: self.event_type,
            event_version: self.event_version,
            payload: &self.payload,
            correlation_id: &context.correlation_id,
            causation_id: &context.causation_id,
            actor: &context.actor,
            traceparent: &context.trace.traceparent,
            tracestate: context.trace.tracestate.as_deref(),
            baggage: context.trace.baggage.as_deref(),
        }
    }
}

/// Events and rows that become durable together or not at all.
pub(super) struct Append {
    pub(super) events: Vec<NewEvent>,
    pub(super) context: CommandContext,
    pub(super) claim: Option<Claim>,
    pub(super) answer: Option<(IdempotencyKey, Answer)>,
    /// The slots that it was decided on; they are wrong when it fails.
    pub(super) slots: Vec<Arc<dyn Poison>>,
    /// States worth keeping once it is durable.
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) outcome: oneshot::Sender<Result<Appended, AppendError>>,
}

/// Where an append landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appended {
    /// Position of its first event.
    pub(super) first_position: i64,
    pub(super) recorded_at: DateTime<Utc>,
}

/// Why an append did not become durable. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppendError {
    /// Another process appended first, to the aggregates named, or an earlier append failed.
    Conflict { on: Vec<String> },
    /// Another request holds its idempotency key.
    KeyTaken,
    /// The database did not take it now.
    Unavailable,
    /// The database will never take it, and why.
    Unacceptable(String),
}

/// An append with its place in the queue.
pub(super) struct Queued {
    pub(super) number: u64,
    pub(super) append: Append,
    /// What its events say, hashed by whoever submits: the committer is one for all.
    pub(super) hashes: Vec<Hash>,
    /// Its share of the queue's bound, given back when it is resolved.
    _permit: OwnedSemaphorePermit,
}

/// The queue before the committer: first in, first out, bounded.
#[derive(Debug)]
pub(super) struct AppendQueue {
    room: Arc<Semaphore>,
    entrance: Mutex<Entrance>,
    resolved: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Entrance {
    last: u64,
    sender: mpsc::UnboundedSender<Queued>,
}

/// A reserved place in the queue.
pub(super) struct Place(OwnedSemaphorePermit);

impl AppendQueue {
    pub(super) fn new(
        bound: usize,
        resolved: watch::Receiver<u64>,
    ) -> (Self, mpsc::UnboundedReceiver<Queued>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Self {
            room: Arc::new(Semaphore::new(bound)),
            entrance: Mutex::new(Entrance { last: 0, sender }),
            resolved,
        };
        (queue, receiver)
    }

    /// Waits for a place; taken before any slot is locked, so that a full queue holds nobody up.
    pub(super) async fn reserve(&self) -> Option<Place> {
        Arc::clone(&self.room).acquire_owned().await.ok().map(Place)
    }

    /// A place if there is one now, for whoever already holds a slot.
    pub(super) fn try_reserve(&self) -> Option<Place> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(Place)
    }

    /// Whether the committer is there; it goes only when it breaks off.
    pub(super) fn is_served(&self) -> bool {
        !self.entrance.lock().unwrap_or_else(PoisonError::into_inner).sender.is_closed()
    }

    /// Submits an append and returns its number. Call it while the slots' locks are held: the order
    /// of the queue is then the order in which they were decided.
    pub(super) fn submit(&self, append: Append, place: Place) -> Option<u64> {
        let hashes = append.events.iter().map(|event| event.content(&append.context).hash()).collect();
        let mut entrance = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
        let number = entrance.last + 1;
        if let Err(refused) = entrance.sender.send(Queued { number, append, hashes, _permit: place.0 }) {
            // Their states are ahead of what will ever be durable.
            refused.0.append.slots.iter().for_each(|slot| slot.poison());
            return None;
        }
        entrance.last = number;
        Some(number)
    }

    /// Waits until a submission is durable or has failed.
    pub(super) async fn resolved(&self, number: u64) -> Option<()> {
        if *self.resolved.borrow() >= number {
            return Some(());
        }
        let mut resolved = self.resolved.clone();
        resolved.wait_for(|last| *last >= number).await.ok().map(|_| ())
    }
}
