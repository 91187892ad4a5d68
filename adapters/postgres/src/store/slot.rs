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

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, UnitWeighter};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::stored::StoredAggregate;

/// State of one aggregate, ahead of what is durable by what has been submitted.
#[derive(Debug, Default)]
pub(super) struct SlotState<A> {
    /// Whether the stream has been read; until then the rest means nothing.
    pub(super) loaded: bool,
    /// Shared with whoever was told of it; a change makes a copy while anybody still looks.
    pub(super) aggregate: Arc<A>,
    /// Sequence of the last event in `aggregate`, 0 without events.
    pub(super) sequence: i64,
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

impl<A: Send + Sync> Poison for Slot<A> {
    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }
}

/// Part of the cache that is kept for slots that were used more than once. The rest is for new ones: a
/// payment must outlast its two units of work among thousands of others.
const USED_AGAIN: f64 = 0.8;

/// Slots by aggregate id. One that nobody uses makes room, those that were used once before those
/// that were used again.
pub(super) struct SlotCache<A: StoredAggregate> {
    slots: Cache<Arc<str>, Arc<Slot<A>>, UnitWeighter, DefaultHashBuilder, KeepInUse>,
}

/// Keeps a slot that a command or an append holds: were it dropped, the next command would read a
/// state from the log that is about to be outdated, and lose its race against it.
#[derive(Debug, Clone, Copy)]
struct KeepInUse;

impl<A> Lifecycle<Arc<str>, Arc<Slot<A>>> for KeepInUse {
    type RequestState = ();

    fn is_pinned(&self, _: &Arc<str>, slot: &Arc<Slot<A>>) -> bool {
        Arc::strong_count(slot) > 1
    }
}

impl<A: StoredAggregate> SlotCache<A> {
    pub(super) fn new(capacity: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(capacity)
            .weight_capacity(u64::try_from(capacity).unwrap_or(u64::MAX))
            .hot_allocation(USED_AGAIN)
            .build()
            .expect("both capacities are given");
        Self { slots: Cache::with_options(options, UnitWeighter, DefaultHashBuilder::default(), KeepInUse) }
    }

    /// Locks the slot of an aggregate, poisoned ones aside.
    pub(super) async fn lock(&self, id: &str) -> LockedSlot<A> {
        loop {
            let slot = self.slot(id);
            let state = Arc::clone(&slot.state).lock_owned().await;
            if !slot.is_poisoned() {
                return LockedSlot { slot, state };
            }
            self.slots.remove_if(id, |cached| Arc::ptr_eq(cached, &slot));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, id: &str) -> Arc<Slot<A>> {
        if let Some(slot) = self.slots.get(id) {
            return slot;
        }
        let id: Arc<str> = Arc::from(id);
        let made = self.slots.get_or_insert_with(&id, || {
            Ok::<_, std::convert::Infallible>(Arc::new(Slot {
                id: Arc::clone(&id),
                poisoned: AtomicBool::new(false),
                state: Arc::new(Mutex::new(SlotState::default())),
            }))
        });
        match made {
            Ok(slot) => slot,
            Err(never) => match never {},
        }
    }
}

/// A slot whose lock is held.
#[derive(Debug)]
pub(super) struct LockedSlot<A> {
    pub(super) slot: Arc<Slot<A>>,
    pub(super) state: OwnedMutexGuard<SlotState<A>>,
}
