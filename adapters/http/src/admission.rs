//! How many requests are let in.
//!
//! Up to `most` requests are served at a time, one more is refused at once. That alone does not keep those quick that
//! are let in: when more is asked than this process can do, each of them waits for all the others, and `most` has to be
//! large enough for many clients who wait for a slow channel. So while requests are turned away *and* this process
//! is busy without a pause, only as many are let in as it ends within the target: by Little's law what is
//! let in then waits about that long. Where it is not busy it is others that are waited for, and to let fewer in would
//! help nobody.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// How often the limit is looked at again: often against the target, and long enough to count some.
const WINDOW: Duration = Duration::from_millis(200);

/// So many windows without a refusal end an overload.
const CALM: u32 = 5;

/// From this share of its time on, in per mille, a process is busy without a pause.
const BUSY: u128 = 800;

/// However slow it is, so many are let in.
const LEAST: usize = 32;

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    target: Duration,
    limit: AtomicUsize,
    inside: AtomicUsize,
    ended: AtomicU64,
    refused: AtomicU64,
    window: Mutex<Window>,
}

/// Since when it is counted, and what was counted until then.
#[derive(Debug)]
struct Window {
    began: Instant,
    busy: Duration,
    ended: u64,
    refused: u64,
    calm: u32,
}

/// A request that was let in, until it has ended.
#[derive(Debug)]
pub(crate) struct Admitted<'a>(&'a Admission);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Lets up to `most` requests in, and in an overload as many as end within `target`.
    pub(crate) fn new(most: usize, target: Duration) -> Self {
        let window = Window { began: Instant::now(), busy: Duration::ZERO, ended: 0, refused: 0, calm: CALM };
        Self {
            most,
            target,
            limit: AtomicUsize::new(most),
            inside: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            window: Mutex::new(window),
        }
    }

    /// Lets a request in, or does not.
    pub(crate) fn enter(&self) -> Option<Admitted<'_>> {
        self.look(Instant::now());
        let limit = self.limit.load(Ordering::Relaxed);
        let one_more = |inside| (inside < limit).then_some(inside + 1);
        let entered = self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if entered.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        entered.ok().map(|_| Admitted(self))
    }

    /// Sets the limit anew where a window is over; whoever comes first does it for all.
    fn look(&self, now: Instant) {
        let mut window = match self.window.try_lock() {
            Ok(window) => window,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        let passed = now.saturating_duration_since(window.began);
        if passed < WINDOW {
            return;
        }
        let (busy, workers) = busy();
        let (ended, refused) = (self.ended.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
        let is_busy = share(busy.saturating_sub(window.busy), passed.saturating_mul(workers)) >= BUSY;
        let crowded = refused > window.refused && is_busy;
        let calm = if crowded { 0 } else { window.calm.saturating_add(1) };
        let limit = if calm >= CALM {
            self.most
        } else {
            let pace = within_target(ended - window.ended, passed, self.target);
            // At once when an overload begins; then half way each time, since a window's count is uneven.
            let begins = window.calm >= CALM;
            let limit = if begins { pace } else { usize::midpoint(self.limit.load(Ordering::Relaxed), pace) };
            limit.clamp(LEAST.min(self.most), self.most)
        };
        self.limit.store(limit, Ordering::Relaxed);
        *window = Window { began: now, busy, ended, refused, calm };
    }
}

/// How many end within the target, at the pace of `ended` in `passed`.
fn within_target(ended: u64, passed: Duration, target: Duration) -> usize {
    let pace = u128::from(ended) * target.as_nanos() / passed.as_nanos().max(1);
    usize::try_from(pace).unwrap_or(usize::MAX)
}

/// How long all workers of this runtime were busy since it began, and how many there are.
fn busy() -> (Duration, u32) {
    let Ok(runtime) = Handle::try_current() else { return (Duration::ZERO, 1) };
    let (metrics, workers) = (runtime.metrics(), runtime.metrics().num_workers());
    let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker)).sum();
    (busy, u32::try_from(workers).unwrap_or(1))
}

fn share(of: Duration, all: Duration) -> u128 {
    of.as_nanos() * 1_000 / all.as_nanos().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_most_are_inside_and_each_leaves_its_place() {
        let admission = Admission::new(2, Duration::from_secs(1));
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        assert!(admission.enter().is_none());
        drop(first);
        assert!(admission.enter().is_some());
        assert!(Admission::new(0, Duration::from_secs(1)).enter().is_none());
    }

    #[test]
    fn the_pace_is_what_ends_within_the_target() {
        // 1,000 a second.
        let of_target =
            |target| within_target(200, Duration::from_millis(200), Duration::from_millis(target));
        assert_eq!((of_target(250), of_target(100), of_target(0)), (250, 100, 0));
        assert_eq!(within_target(0, Duration::ZERO, Duration::from_secs(1)), 0);
    }

    /// Keeps a worker busy, as requests do that are worked on.
    async fn works_for(time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let pause = Instant::now() + Duration::from_millis(1);
            while Instant::now() < pause {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_busy_process_lets_fewer_in_while_it_refuses_and_then_all_again() {
        let admission = Admission::new(400, Duration::from_millis(100));
        let crowd: Vec<_> = (0..400).map(|_| admission.enter().unwrap()).collect();
        assert!(admission.enter().is_none());
        for _ in 0..6 {
            works_for(WINDOW).await;
            assert!(admission.enter().is_none());
        }
        // Nothing has ended: as few are let in as there ever are.
        assert!(admission.limit.load(Ordering::Relaxed) < 2 * LEAST);
        drop(crowd);
        for _ in 0..=CALM {
            works_for(WINDOW).await;
            assert!(admission.enter().is_some());
        }
        assert_eq!(admission.limit.load(Ordering::Relaxed), 400);
    }

    #[tokio::test]
    async fn a_process_that_waits_for_others_lets_in_as_many_as_ever() {
        let admission = Admission::new(40, Duration::from_millis(100));
        let _crowd: Vec<_> = (0..40).map(|_| admission.enter().unwrap()).collect();
        for _ in 0..4 {
            assert!(admission.enter().is_none());
            tokio::time::sleep(WINDOW).await;
        }
        assert!(admission.enter().is_none());
        assert_eq!(admission.limit.load(Ordering::Relaxed), 40);
    }
}
