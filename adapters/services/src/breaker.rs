//! A circuit breaker: stops asking a service that does not answer, and tries again after a while.
//!
//! ```text
//! Closed ──failures in a row──► Open ──open_for is over──► HalfOpen ──the probe is answered──► Closed
//!                                ▲                             └──the probe fails──► Open
//! ```
//!
//! Start at [`Breaker::admit`]: each call asks for a [`Permit`] and tells it how the call went.
//! The rules are in `Circuit`, which reads no clock.
//!
//! **Invariants.** Half-open lets one call through at a time. A call that began before the last
//! change of state changes nothing: thousands of calls that time out together open the breaker
//! once, and a straggler of the outage does not count against the recovered service. The lock is
//! held for a comparison and a store, never while a log line is written.
//!
//! It is our own because `failsafe` 1.3 (of July 2024, the last one) lets every call through
//! while half-open, has no answer for a call that is given up, and brings `parking_lot` and an old `rand`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commands::meters;

/// How a closed breaker is measured.
const CLOSED: u64 = 0;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures_to_open: u32,
    /// How long it refuses every call before it tries one.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    /// 20 failures, 1 s.
    fn default() -> Self {
        Self { failures_to_open: 20, open_for: Duration::from_secs(1) }
    }
}

/// What a breaker does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets it through.
    Closed,
    /// Refuses it.
    Open,
    /// Has waited long enough: it lets one call through, the probe, and refuses the others until
    /// that one is over.
    HalfOpen,
}

impl BreakerState {
    /// The name used in logs, on spans and as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker of one service.
#[derive(Debug)]
pub struct Breaker {
    service: &'static str,
    settings: BreakerSettings,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    /// A closed breaker; `service` names it in logs.
    #[must_use]
    pub fn new(service: &'static str, settings: BreakerSettings) -> Self {
        let circuit = Circuit { phase: Phase::Closed { failures: 0 }, period: 0 };
        meters::breaker(service, CLOSED);
        Self { service, settings, circuit: Mutex::new(circuit) }
    }

    /// Lets a call through, or not (`None`): then the call is not to be made.
    #[must_use]
    pub fn admit(&self) -> Option<Permit<'_>> {
        let period = self.change(|circuit| circuit.admit(Instant::now()))?;
        Some(Permit { breaker: self, period, outcome: Outcome::GivenUp })
    }

    /// What it would do with the next call.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.lock().state(Instant::now())
    }

    /// Whether a call would be let through at this moment. It promises nothing: of two callers
    /// that are told yes by a half-open breaker, one is refused. It is for those who would rather
    /// turn work away before they begin it.
    #[must_use]
    pub fn would_admit(&self) -> bool {
        self.lock().would_admit(Instant::now())
    }

    /// Runs one step of the circuit and logs the change of state, if it made one.
    fn change<T>(&self, step: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.lock();
        let before = circuit.period;
        let result = step(&mut circuit);
        let (period, phase) = (circuit.period, circuit.phase);
        drop(circuit);
        if period != before {
            self.log(phase);
        }
        result
    }

    fn log(&self, phase: Phase) {
        let service = self.service;
        meters::breaker(service, phase.number());
        match phase {
            Phase::Closed { .. } => tracing::info!(service, "the breaker is closed: calls go through"),
            Phase::Open { wait, .. } => {
                let wait_ms = wait.as_millis();
                tracing::warn!(service, wait_ms, "the breaker is open: calls are refused");
            }
            Phase::Probing => tracing::info!(service, "the breaker is half open: one call goes through"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        // Each step ends with plain stores: a panic cannot leave a circuit half changed.
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make one call. Dropped without a word (the caller went away) it says nothing about
/// the service; a probe that is dropped so makes room for the next one.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets nothing be learnt from the call"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    period: u64,
    outcome: Outcome,
}

impl Permit<'_> {
    /// The service answered, whatever it said.
    pub fn answered(mut self) {
        self.outcome = Outcome::Answered;
    }

    /// The service did not answer, or answered that it cannot.
    pub fn failed(mut self) {
        self.outcome = Outcome::Failed;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let settings = self.breaker.settings;
        self.breaker.change(|circuit| circuit.settle(self.period, self.outcome, settings, Instant::now()));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed,
    GivenUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// With the failures since the last answer.
    Closed { failures: u32 },
    /// Refuses calls until `wait` has passed since `since`.
    Open { since: Instant, wait: Duration },
    /// The probe is out.
    Probing,
}

impl Phase {
    /// How it is measured.
    const fn number(self) -> u64 {
        match self {
            Self::Closed { .. } => CLOSED,
            Self::Probing => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// The rules.
#[derive(Debug)]
struct Circuit {
    phase: Phase,
    /// Counts the changes of phase. A call belongs to the period in which it began.
    period: u64,
}

impl Circuit {
    /// The period of a call that is let through.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if !self.would_admit(now) {
            return None;
        }
        if let Phase::Open { .. } = self.phase {
            self.enter(Phase::Probing);
        }
        Some(self.period)
    }

    fn would_admit(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { since, wait } => now.saturating_duration_since(since) >= wait,
            Phase::Probing => false,
        }
    }

    fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } if !self.would_admit(now) => BreakerState::Open,
            Phase::Open { .. } | Phase::Probing => BreakerState::HalfOpen,
        }
    }

    fn settle(&mut self, period: u64, outcome: Outcome, settings: BreakerSettings, now: Instant) {
        if period != self.period {
            return;
        }
        let open = Phase::Open { since: now, wait: settings.open_for };
        match (self.phase, outcome) {
            (Phase::Closed { .. }, Outcome::Answered) => self.phase = Phase::Closed { failures: 0 },
            (Phase::Closed { failures }, Outcome::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= settings.failures_to_open {
                    self.enter(open);
                } else {
                    self.phase = Phase::Closed { failures };
                }
            }
            (Phase::Probing, Outcome::Answered) => self.enter(Phase::Closed { failures: 0 }),
            (Phase::Probing, Outcome::Failed) => self.enter(open),
            // Nothing was learnt, and the wait is over already: the next call is the probe.
            (Phase::Probing, Outcome::GivenUp) => {
                self.enter(Phase::Open { since: now, wait: Duration::ZERO });
            }
            // No call begins in an open period, so none ends there.
            (Phase::Closed { .. }, Outcome::GivenUp) | (Phase::Open { .. }, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures_to_open: 3, open_for: Duration::from_secs(1) };

    /// A circuit and the time it is told.
    struct Given {
        circuit: Circuit,
        now: Instant,
    }

    fn closed() -> Given {
        let circuit = Circuit { phase: Phase::Closed { failures: 0 }, period: 0 };
        Given { circuit, now: Instant::now() }
    }

    fn open() -> Given {
        let mut given = closed();
        (0..3).for_each(|_| given.call(Outcome::Failed));
        given
    }

    impl Given {
        fn admit(&mut self) -> Option<u64> {
            self.circuit.admit(self.now)
        }

        fn settle(&mut self, period: u64, outcome: Outcome) {
            self.circuit.settle(period, outcome, SETTINGS, self.now);
        }

        fn call(&mut self, outcome: Outcome) {
            let period = self.admit().unwrap();
            self.settle(period, outcome);
        }

        fn state(&self) -> BreakerState {
            self.circuit.state(self.now)
        }

        fn after(mut self, wait: Duration) -> Self {
            self.now += wait;
            self
        }
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut given = closed();
        given.call(Outcome::Failed);
        given.call(Outcome::Failed);
        given.call(Outcome::Answered);
        given.call(Outcome::Failed);
        given.call(Outcome::Failed);
        assert_eq!(given.state(), BreakerState::Closed);
        given.call(Outcome::Failed);
        assert_eq!(given.state(), BreakerState::Open);
        assert_eq!(given.admit(), None);
    }

    #[test]
    fn it_refuses_until_its_time_is_over_and_then_lets_one_probe_through() {
        let mut given = open().after(Duration::from_millis(999));
        assert_eq!((given.state(), given.admit()), (BreakerState::Open, None));
        let mut given = given.after(Duration::from_millis(1));
        assert_eq!(given.state(), BreakerState::HalfOpen);
        assert!(given.circuit.would_admit(given.now));
        let probe = given.admit().unwrap();
        assert_eq!((given.state(), given.admit()), (BreakerState::HalfOpen, None));
        assert!(!given.circuit.would_admit(given.now));
        given.settle(probe, Outcome::Answered);
        assert_eq!(given.state(), BreakerState::Closed);
        given.call(Outcome::Failed);
        assert_eq!(given.state(), BreakerState::Closed, "it counts from nothing again");
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_the_whole_time_again() {
        let mut given = open().after(Duration::from_secs(5));
        given.call(Outcome::Failed);
        let given = given.after(Duration::from_millis(999));
        assert_eq!(given.state(), BreakerState::Open);
        assert_eq!(given.after(Duration::from_millis(1)).state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let mut given = open().after(Duration::from_secs(1));
        given.call(Outcome::GivenUp);
        assert_eq!(given.state(), BreakerState::HalfOpen);
        given.call(Outcome::Answered);
        assert_eq!(given.state(), BreakerState::Closed);
    }

    #[test]
    fn a_call_from_before_the_last_change_changes_nothing() {
        let mut given = closed();
        let stragglers: Vec<u64> = (0..4).map(|_| given.admit().unwrap()).collect();
        (0..3).for_each(|_| given.call(Outcome::Failed));
        given.settle(stragglers[0], Outcome::Answered);
        assert_eq!(given.state(), BreakerState::Open);
        let mut given = given.after(Duration::from_secs(1));
        given.call(Outcome::Answered);
        stragglers[1..].iter().for_each(|straggler| given.settle(*straggler, Outcome::Failed));
        assert_eq!(given.state(), BreakerState::Closed);
    }

    #[test]
    fn a_permit_that_is_dropped_says_nothing() {
        let breaker = Breaker::new("risk", BreakerSettings { failures_to_open: 1, ..SETTINGS });
        drop(breaker.admit().unwrap());
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.admit().unwrap().failed();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_none() && !breaker.would_admit());
    }
}
