//! The channel's record: what became of each idempotency key, and how often it was charged.
//!
//! Start at [`Record::pay`]. The record is sharded by key, so that growing moves a small part of
//! it only; a lock is held for a look-up and one small write to the journal. Every key is kept
//! for as long as the process lives: the record is what tests compare the engine against.
//!
//! **Invariant:** the journal has a change before the shard has it, and the shard has it before
//! any answer leaves.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

mod changes;

use super::SandboxError;
use super::behaviour::transaction_id;
use super::change::Change;
use super::charge::{Fate, Inquiry, Order, Payment, State};
use super::journal::{Journal, JournalError, JournalLine};

/// How many inquiries say processing before the charge is made.
const INQUIRIES_WHILE_PROCESSING: u8 = 2;

/// Why a charge request is refused.
#[derive(Debug)]
pub(super) enum PayError {
    /// The key was used with another value of this field.
    OtherBody(&'static str),
    Journal(JournalError),
}

impl From<JournalError> for PayError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// One idempotency key.
struct Entry {
    payment_id: Box<str>,
    amount: Box<str>,
    currency: Box<str>,
    payment_method: Box<str>,
    state: State,
    /// How often money moved: counted where it moves, so that a second time would show.
    charged_times: u32,
    requests: u32,
    inquiries: u8,
    /// What the charge becomes when it is made.
    made: State,
    changes: Vec<Change>,
}

impl Entry {
    fn new(order: &Order<'_>) -> Self {
        Self {
            payment_id: order.payment_id.as_ref().into(),
            amount: order.amount.as_ref().into(),
            currency: order.currency.as_ref().into(),
            payment_method: order.payment_method.as_ref().into(),
            state: State::NotCharged,
            charged_times: 0,
            requests: 1,
            inquiries: 0,
            made: order.made(),
            changes: vec![],
        }
    }

    /// Moves on to `state`, in the journal first. Entering `Succeeded` is what moves money; what is
    /// guaranteed only is `Authorized` instead.
    fn enter(&mut self, key: &str, state: State, journal: &Journal) -> Result<(), JournalError> {
        let state = if state == State::Succeeded { self.made } else { state };
        let moved = state == State::Succeeded;
        self.journal(key, state, moved, None, journal)?;
        self.state = state;
        self.charged_times += u32::from(moved);
        Ok(())
    }

    fn journal(
        &self,
        key: &str,
        state: State,
        moved: bool,
        change: Option<&Change>,
        journal: &Journal,
    ) -> Result<(), JournalError> {
        journal.append(&JournalLine {
            idempotency_key: key.into(),
            payment_id: self.payment_id.as_ref().into(),
            amount: self.amount.as_ref().into(),
            currency: self.currency.as_ref().into(),
            payment_method: self.payment_method.as_ref().into(),
            state,
            made: self.made,
            moved,
            requests: self.requests,
            change: change.cloned(),
        })
    }

    fn difference(&self, order: &Order<'_>) -> Option<&'static str> {
        [
            ("payment_id", &self.payment_id, &order.payment_id),
            ("amount", &self.amount, &order.amount),
            ("currency", &self.currency, &order.currency),
            ("payment_method", &self.payment_method, &order.payment_method),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours.as_ref() != theirs.as_ref())
        .map(|(field, ..)| field)
    }
}

type Shard = HashMap<Box<str>, Entry>;

/// Every key that was ever used, in memory and in the journal.
pub(super) struct Record {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    journal: Journal,
}

impl Record {
    pub(super) const SHARDS: usize = 64;

    /// An empty record, or the one that the journal in `folder` tells of.
    pub(super) fn open(folder: Option<PathBuf>) -> Result<Self, SandboxError> {
        let shards = (0..Self::SHARDS).map(|_| Mutex::default()).collect();
        let mut record = Self { shards, hasher: RandomState::new(), journal: Journal::none() };
        if let Some(folder) = folder {
            record.journal = Journal::open(&folder, |line| record.read_back(line))?;
        }
        Ok(record)
    }

    fn read_back(&self, line: JournalLine<'_>) {
        let mut shard = self.shard(&line.idempotency_key);
        let entry = shard.entry(line.idempotency_key.as_ref().into()).or_insert_with(|| Entry {
            payment_id: line.payment_id.into(),
            amount: line.amount.into(),
            currency: line.currency.into(),
            payment_method: line.payment_method.into(),
            state: line.state,
            charged_times: 0,
            requests: 0,
            inquiries: 0,
            made: line.made,
            changes: vec![],
        });
        entry.state = line.state;
        entry.requests = line.requests;
        entry.charged_times += u32::from(line.moved);
        if let Some(change) = line.change {
            entry.changes.retain(|known| known.kind != change.kind || known.id != change.id);
            entry.changes.push(change);
        }
    }

    /// A charge request: the first one with its key meets `fate`, a repeat finds what became of it.
    pub(super) fn pay(
        &self,
        key: &str,
        order: &Order<'_>,
        fate: impl FnOnce() -> Fate,
    ) -> Result<Payment, PayError> {
        let mut shard = self.shard(key);
        let Some(entry) = shard.get_mut(key) else {
            let (state, payment) = fate().begin();
            let mut entry = Entry::new(order);
            entry.enter(key, state, &self.journal)?;
            shard.insert(key.into(), entry);
            return Ok(payment);
        };
        entry.requests = entry.requests.saturating_add(1);
        if let Some(field) = entry.difference(order) {
            return Err(PayError::OtherBody(field));
        }
        Ok(match entry.state {
            State::Succeeded | State::Authorized | State::Voided => Payment::Succeeded,
            State::Declined(reason) => Payment::Declined(reason),
            State::Processing => Payment::Processing,
            State::NeverKnown => Payment::Silence,
            State::NotCharged => {
                entry.enter(key, State::Succeeded, &self.journal)?;
                Payment::Succeeded
            }
        })
    }

    /// What became of a key; a charge that is processing is made by the third inquiry.
    pub(super) fn inquire(&self, key: &str) -> Result<Inquiry, JournalError> {
        let mut shard = self.shard(key);
        let Some(entry) = shard.get_mut(key) else {
            return Ok(Inquiry::NotFound);
        };
        Ok(match entry.state {
            State::Succeeded | State::Authorized | State::Voided => Inquiry::Succeeded,
            State::Declined(reason) => Inquiry::Declined(reason),
            State::NotCharged => Inquiry::NotFound,
            State::NeverKnown => Inquiry::Unavailable,
            State::Processing if entry.inquiries < INQUIRIES_WHILE_PROCESSING => {
                entry.inquiries += 1;
                Inquiry::Processing
            }
            State::Processing => {
                entry.enter(key, State::Succeeded, &self.journal)?;
                Inquiry::Succeeded
            }
        })
    }

    /// Appends the keys of one shard to `out`, as NDJSON.
    pub(super) fn write_shard(&self, shard: usize, out: &mut Vec<u8>) {
        let Some(shard) = self.shards.get(shard) else { return };
        for (key, entry) in lock(shard).iter() {
            let line = RecordLine::new(key, entry);
            if let Err(error) = serde_json::to_writer(&mut *out, &line) {
                // Text and numbers into memory: nothing here can fail.
                tracing::error!(%error, "a line of the record could not be written");
            }
            out.push(b'\n');
        }
    }

    /// Takes no further charge, so that another sandbox may have the journal.
    pub(super) fn close(&self) {
        self.journal.close();
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        // The remainder is below the number of shards, so it fits whatever a usize is.
        let index = self.hasher.hash_one(key) % Self::SHARDS as u64;
        lock(&self.shards[usize::try_from(index).unwrap_or_default()])
    }
}

/// A panic under the lock cannot leave an entry half changed: `enter` changes it at its end.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line of `GET /v1/charges`.
#[derive(Serialize)]
struct RecordLine<'a> {
    idempotency_key: &'a str,
    payment_id: &'a str,
    amount: &'a str,
    currency: &'a str,
    /// `succeeded`, `declined`, `processing`, `not_charged` or `never_known`.
    status: &'static str,
    transaction_id: Option<String>,
    charged_times: u32,
    requests: u32,
    /// How much was taken, `None` where nothing was (yet).
    captured: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Change]>::is_empty")]
    changes: &'a [Change],
}

impl<'a> RecordLine<'a> {
    fn new(key: &'a str, entry: &'a Entry) -> Self {
        Self {
            idempotency_key: key,
            payment_id: &entry.payment_id,
            amount: &entry.amount,
            currency: &entry.currency,
            status: entry.state.as_str(),
            transaction_id: (entry.charged_times > 0).then(|| transaction_id(key)),
            charged_times: entry.charged_times,
            requests: entry.requests,
            captured: (entry.charged_times > 0).then(|| entry.captured()),
            changes: &entry.changes,
        }
    }
}
