//! What every read model is: rows by key, each a fold of the events that concern it.
//!
//! Start at [`ReadModel`]; [`fold`] takes a stretch of the log through one.
//!
//! **Invariants:** a fold reads nothing but its row and the event, so the projector, a rebuild and a
//! comparison with the log come to the same rows. An event that cannot be folded changes nothing, and
//! nothing behind it is folded: money is never skipped.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use chrono::{DateTime, Utc};
use domain::{AccountEvent, AccountId, Currency, Money, PaymentEvent, PaymentId};
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// An event of the log, read for folding.
#[derive(Debug, Clone)]
pub struct LogEvent {
    /// Where in the log it is.
    pub position: i64,
    /// Which event of its aggregate it is, from 1.
    pub sequence: i64,
    /// Its id.
    pub event_id: Uuid,
    /// When it became durable.
    pub recorded_at: DateTime<Utc>,
    /// What happened.
    pub fact: Fact,
}

/// What happened, and to what.
#[derive(Debug, Clone)]
pub enum Fact {
    /// To an account.
    Account(AccountId, AccountEvent),
    /// To a payment.
    Payment(PaymentId, PaymentEvent),
    /// This program cannot read it.
    Unreadable {
        /// What it happened to.
        kind: Kind,
        /// Why it cannot be read.
        reason: String,
    },
}

/// The kinds of aggregates in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accounts.
    Account,
    /// Payments.
    Payment,
    /// None that this program knows: every read model might miss it.
    Other,
}

/// Why an event cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The event cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Something happened to an account or a payment that never began.
    #[error("it happened to {0}, which never began")]
    NotBegun(String),
    /// An account or a payment began twice.
    #[error("{0} begins a second time")]
    BegunTwice(String),
    /// An amount is in another currency than its account or payment.
    #[error("an amount in {} where all are in {}", moved.code(), kept.code())]
    WrongCurrency {
        /// The currency of the account or payment.
        kept: Currency,
        /// The currency of the amount.
        moved: Currency,
    },
    /// An amount is below zero: the name of an event says the direction, its amount never does.
    #[error("an amount below zero")]
    Negative,
    /// A sum does not fit.
    #[error("the balance overflows")]
    Overflow,
}

/// An amount must be one that an account or a payment in a currency can have decided.
pub(crate) fn must_fit(kept: Currency, amount: Money) -> Result<(), FoldError> {
    if amount.currency != kept {
        return Err(FoldError::WrongCurrency { kept, moved: amount.currency });
    }
    if amount.minor < 0 { Err(FoldError::Negative) } else { Ok(()) }
}

/// Rows that are folds of the log.
pub trait ReadModel: Send + Sync + 'static {
    /// The model's name, also that of its table.
    const NAME: &'static str;
    /// Source of the fold: rows that another fold has made are built anew.
    const FOLD_SOURCE: &'static str;
    /// Which aggregate's events it reads.
    const READS: Kind;

    /// What a row is found by.
    type Key: Clone + Debug + Eq + Hash + Ord + Send + Sync;
    /// What is kept for each key between events.
    type State: Clone + Debug + Send + Sync;
    /// What is only ever added, a line for an event.
    type Line: Debug + Send + Sync;

    /// The key of the row that an event concerns, `None` when it concerns none.
    fn key(fact: &Fact) -> Option<Self::Key>;

    /// Folds an event into the state of its key.
    ///
    /// # Errors
    /// [`FoldError`] says what is wrong; the state is unchanged then.
    fn apply(state: &mut Option<Self::State>, event: &LogEvent) -> Result<Option<Self::Line>, FoldError>;
}

/// Where and why a fold stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The event that could not be folded.
    pub position: i64,
    /// Its id.
    pub event_id: Uuid,
    /// Why it could not be folded.
    pub reason: FoldError,
}

/// Rows under construction: states by key, and what has changed since they were last written.
#[derive(Debug)]
pub struct Rows<M: ReadModel> {
    states: HashMap<M::Key, Option<M::State>>,
    changed: HashSet<M::Key>,
    lines: Vec<M::Line>,
}

impl<M: ReadModel> Default for Rows<M> {
    fn default() -> Self {
        Self { states: HashMap::new(), changed: HashSet::new(), lines: vec![] }
    }
}

impl<M: ReadModel> Rows<M> {
    /// Keys of these events whose states are not in memory and may be elsewhere.
    #[must_use]
    pub fn missing(&self, events: &[LogEvent]) -> Vec<M::Key> {
        let mut new = HashSet::new();
        let mut missing = HashSet::new();
        for event in events {
            let Some(key) = M::key(&event.fact) else { continue };
            if event.sequence == 1 {
                // Nothing can have been kept of what only begins here.
                new.insert(key);
            } else if !new.contains(&key) && !self.states.contains_key(&key) {
                missing.insert(key);
            }
        }
        missing.into_iter().collect()
    }

    /// Takes states that were kept elsewhere.
    pub fn remember(&mut self, kept: impl IntoIterator<Item = (M::Key, M::State)>) {
        self.states.extend(kept.into_iter().map(|(key, state)| (key, Some(state))));
    }

    /// Folds events in their order; stops at the first that cannot be folded.
    pub fn fold(&mut self, events: &[LogEvent]) -> Option<Stopped> {
        for event in events {
            if let Err(reason) = self.fold_one(event) {
                return Some(Stopped { position: event.position, event_id: event.event_id, reason });
            }
        }
        None
    }

    fn fold_one(&mut self, event: &LogEvent) -> Result<(), FoldError> {
        if let Fact::Unreadable { kind, reason } = &event.fact
            && (*kind == M::READS || *kind == Kind::Other)
        {
            return Err(FoldError::Unreadable(reason.clone()));
        }
        let Some(key) = M::key(&event.fact) else { return Ok(()) };
        let line = match self.states.get_mut(&key) {
            Some(state) => M::apply(state, event)?,
            None => {
                // Remembered only when it is folded: a row that was not there may be when it is tried again.
                let mut state = None;
                let line = M::apply(&mut state, event)?;
                self.states.insert(key.clone(), state);
                line
            }
        };
        self.lines.extend(line);
        self.changed.insert(key);
        Ok(())
    }

    /// The states that have changed since they were last written, in the order of their keys, so that
    /// two writers would lock rows in one order.
    #[must_use]
    pub fn changed(&self) -> Vec<(&M::Key, &M::State)> {
        let mut changed: Vec<_> =
            self.changed.iter().filter_map(|key| Some((key, self.states.get(key)?.as_ref()?))).collect();
        changed.sort_unstable_by_key(|(key, _)| *key);
        changed
    }

    /// The lines that were added since they were last written.
    #[must_use]
    pub fn lines(&self) -> &[M::Line] {
        &self.lines
    }

    /// What has changed is written. Keeps at most so many states in memory.
    pub fn written(&mut self, keep: usize) {
        self.changed.clear();
        self.lines.clear();
        // Beginning anew is simpler than knowing which row is the oldest, and as cheap: those in use
        // come back with one query.
        if self.states.len() > keep {
            self.states.clear();
        }
    }
}
