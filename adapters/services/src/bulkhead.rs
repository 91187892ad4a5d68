//! A bulkhead: how many calls of one service may be under way, so that a slow one takes up a part of this
//! process and not all of it.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The places of one service. Who finds none is refused at once: a queue would only make everybody late.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    places: Semaphore,
}

impl Bulkhead {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)) }
    }

    /// A place, until it is dropped.
    pub(crate) fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Whether there is a place now.
    pub(crate) fn has_place(&self) -> bool {
        self.places.available_permits() > 0
    }
}
