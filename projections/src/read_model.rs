//! What every read model is: rows by key, each a fold of the events that concern it.
//!
//! Start at [`ReadModel`]; [`Rows::fold`] takes a stretch of the log through one.
//!
//! **Invariants:** a fold reads nothing but its row and the event, so the projector, a rebuild and a
//! comparison with the log come to the same rows. An event that cannot be folded changes nothing, and
//! nothing behind it is folded: money is never skipped.

use std::collections::hash_map::Entry;
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
    /// There is no event where there must be one.
    #[error("the event is missing from the log; find out more with: payments events verify")]
    Missing,
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

impl Stopped {
    /// The log has no event at a position that it must have.
    #[must_use]
    pub const fn missing(position: i64) -> Self {
        Self { position, event_id: Uuid::nil(), reason: FoldError::Missing }
    }
}

/// How far [`Rows::fold`] came.
#[derive(Debug, PartialEq, Eq)]
pub enum Folded {
    /// To the end.
    All,
    /// To the event at this index, whose state is not in memory and may be elsewhere: tell it by
    /// [`Rows::remember`] and go on from there.
    Needs(usize),
    /// To an event that cannot be folded.
    Stopped(Stopped),
}

/// Rows under construction: states by key, and what has changed since it was last taken.
#[derive(Debug)]
pub struct Rows<M: ReadModel> {
    /// `None` for a key that is known to have no state.
    states: HashMap<M::Key, Option<Kept<M::State>>>,
    changed: Vec<M::Key>,
    lines: Vec<M::Line>,
}

#[derive(Debug)]
struct Kept<S> {
    state: S,
    /// Whether there is a row of it elsewhere.
    stored: bool,
    /// Whether it is among the changed.
    changed: bool,
}

/// What has changed, to be written.
#[derive(Debug)]
pub struct Changes<M: ReadModel> {
    /// States that have no row yet, in the order of their keys.
    pub new: Vec<(M::Key, M::State)>,
    /// States whose rows are to be replaced, in the order of their keys, so that two writers would
    /// lock rows in one order.
    pub changed: Vec<(M::Key, M::State)>,
    /// Lines to add, in the order of the log.
    pub lines: Vec<M::Line>,
}

impl<M: ReadModel> Default for Rows<M> {
    fn default() -> Self {
        Self { states: HashMap::new(), changed: vec![], lines: vec![] }
    }
}

impl<M: ReadModel> Rows<M> {
    /// Folds events in their order.
    pub fn fold(&mut self, events: &[LogEvent]) -> Folded {
        for (index, event) in events.iter().enumerate() {
            match self.fold_one(event) {
                Ok(true) => {}
                Ok(false) => return Folded::Needs(index),
                Err(reason) => {
                    let (position, event_id) = (event.position, event.event_id);
                    return Folded::Stopped(Stopped { position, event_id, reason });
                }
            }
        }
        Folded::All
    }

    /// Whether it was folded; if not, its state is needed.
    fn fold_one(&mut self, event: &LogEvent) -> Result<bool, FoldError> {
        if let Fact::Unreadable { kind, reason } = &event.fact
            && (*kind == M::READS || *kind == Kind::Other)
        {
            return Err(FoldError::Unreadable(reason.clone()));
        }
        let Some(key) = M::key(&event.fact) else { return Ok(true) };
        let kept = match self.states.entry(key.clone()) {
            Entry::Occupied(kept) => kept.into_mut(),
            // Nothing can have been kept of what only begins here.
            Entry::Vacant(vacant) if event.sequence == 1 => vacant.insert(None),
            Entry::Vacant(_) => return Ok(false),
        };
        let (mut state, stored, changed) = match kept.take() {
            Some(kept) => (Some(kept.state), kept.stored, kept.changed),
            None => (None, false, false),
        };
        let folded = M::apply(&mut state, event);
        let is_changed = changed || folded.is_ok();
        *kept = state.map(|state| Kept { state, stored, changed: is_changed });
        let nothing = kept.is_none();
        let line = folded.inspect_err(|_| {
            // A row that was not there may be when the event is tried again.
            if nothing {
                self.states.remove(&key);
            }
        })?;
        self.lines.extend(line);
        if !changed {
            self.changed.push(key);
        }
        Ok(true)
    }

    /// Keys of these events whose states are not in memory and may be elsewhere.
    #[must_use]
    pub fn missing(&self, events: &[LogEvent]) -> Vec<M::Key> {
        let (mut new, mut missing) = (HashSet::new(), HashSet::new());
        for event in events {
            let Some(key) = M::key(&event.fact) else { continue };
            if event.sequence == 1 {
                new.insert(key);
            } else if !new.contains(&key) && !self.states.contains_key(&key) {
                missing.insert(key);
            }
        }
        missing.into_iter().collect()
    }

    /// Takes the states of these keys that were kept elsewhere; those that are not among them have none.
    pub fn remember(&mut self, keys: Vec<M::Key>, kept: impl IntoIterator<Item = (M::Key, M::State)>) {
        self.states.extend(keys.into_iter().map(|key| (key, None)));
        let kept = kept.into_iter();
        let kept = kept.map(|(key, state)| (key, Some(Kept { state, stored: true, changed: false })));
        self.states.extend(kept);
    }

    /// Takes what has changed, to be written before anything is looked for elsewhere again. Keeps at
    /// most so many states in memory.
    pub fn take_changes(&mut self, keep: usize) -> Changes<M> {
        let lines = std::mem::take(&mut self.lines);
        let mut changes = Changes::<M> { new: vec![], changed: vec![], lines };
        // Beginning anew is simpler than knowing which row is the oldest, and as cheap: those in use
        // come back with one query.
        let forget = self.states.len() > keep;
        for key in self.changed.drain(..) {
            let Some(Some(kept)) = self.states.get_mut(&key) else { continue };
            let rows = if kept.stored { &mut changes.changed } else { &mut changes.new };
            if forget {
                let taken = self.states.remove(&key).flatten();
                rows.extend(taken.map(|kept| (key, kept.state)));
            } else {
                rows.push((key, kept.state.clone()));
                (kept.stored, kept.changed) = (true, false);
            }
        }
        changes.new.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes.changed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if forget {
            self.states.clear();
        }
        changes
    }
}

impl<M: ReadModel> Changes<M> {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.lines.is_empty()
    }
}
