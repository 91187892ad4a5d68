//! The cache of aggregate states: one slot for each aggregate that is in use.
//!
//! A command locks its slot, decides on the state in it, submits its events while it still holds the
//! lock, and releases it before they are durable; the next command decides on top of them. That is
//! how one hot account puts hundreds of commands into one commit.
//!
//! **Invariant:** a slot whose submitted events did not become durable is *poisoned* for ever and
//! leaves the cache. Whatever was decided on it fails with it, in the committer; whoever still waits
//! for its lock takes a new slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::stored::StoredAggregate;

/// State of one aggregate, ahead of what is durable by what has been submitted.
#[derive(Debug, Default)]
pub(super) struct SlotState<A> {
    /// Whether the stream has been read; until then the rest means nothing.
    pub(super) loaded: bool,
    pub(super) aggregate: A,
    /// Sequence of the last event in `aggregate`, 0 without events.
    pub(super) sequence: i64,
    pub(super) last_event_id: Option<Uuid>,
    /// Number of the last submission that holds events of this slot, 0 for none.
    pub(super) submission: u64,
}

/// One aggregate in use.
#[derive(Debug)]
pub(super) struct Slot<A> {
    pub(super) id: Arc<str>,
    poisoned: AtomicBool,
    state: Arc<Mutex<SlotState<A>>>,
}

/// What the committer may do to a slot, whatever the aggregate.
pub(super) trait Poison: Send + Sync {
    fn is_poisoned(&self) -> bool;
    /// Marks the slot as wrong: its events did not become durable.
    fn poison(&self);
}

impl<A: Send> Poison for Slot<A> {
    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }
}

/// Slots by aggregate id, the least recently used dropped first. A slot that is dropped while in use
/// costs a conflict and a retry, never correctness: the unique key of the log decides.
pub(super) struct SlotCache<A> {
    slots: Cache<Arc<str>, Arc<Slot<A>>>,
}

impl<A: StoredAggregate> SlotCache<A> {
    pub(super) fn new(capacity: u64) -> Self {
        let slots = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru()).build();
        Self { slots }
    }

    /// Locks the slot of an aggregate, poisoned ones aside.
    pub(super) async fn lock(&self, id: &str) -> LockedSlot<A> {
        loop {
            let slot = self.slot(id);
            let state = Arc::clone(&slot.state).lock_owned().await;
            if !slot.is_poisoned() {
                return LockedSlot { slot, state };
            }
            self.forget(&slot);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.slots.run_pending_tasks();
        self.slots.entry_count()
    }

    fn slot(&self, id: &str) -> Arc<Slot<A>> {
        if let Some(slot) = self.slots.get(id) {
            return slot;
        }
        let id: Arc<str> = Arc::from(id);
        self.slots.get_with(Arc::clone(&id), || {
            Arc::new(Slot {
                id,
                poisoned: AtomicBool::new(false),
                state: Arc::new(Mutex::new(SlotState::default())),
            })
        })
    }

    fn forget(&self, poisoned: &Arc<Slot<A>>) {
        use moka::ops::compute::Op;
        self.slots.entry(Arc::clone(&poisoned.id)).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), poisoned) => Op::Remove,
            _ => Op::Nop,
        });
    }
}

/// A slot whose lock is held.
#[derive(Debug)]
pub(super) struct LockedSlot<A> {
    pub(super) slot: Arc<Slot<A>>,
    pub(super) state: OwnedMutexGuard<SlotState<A>>,
}
