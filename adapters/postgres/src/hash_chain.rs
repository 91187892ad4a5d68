//! The hash chain over the log: proof that nobody has changed, removed or added an event behind the
//! engine's back.
//!
//! ```text
//! hash  = SHA-256 of what an event says                  made by the process that appends
//! chain = SHA-256 of (chain before, position before, time, the hashes of one append statement)
//! ```
//!
//! The chain is advanced by the append statement itself, once for all its events, and kept at the last
//! of them and at the log's head. Positions and the time are not in an event's own hash, because they
//! are known only when the statement has the head row's lock; they are in the chain.
//!
//! **What it does not prove:** whoever can rewrite the whole log can rewrite the chain. That is found
//! only by a hash that is kept elsewhere.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use commands::ports::RecordedEvent;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Where every chain begins.
pub const BEGINNING: Hash = [0; 32];

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_US: i64 = 946_684_800_000_000;

/// What an event says, as its hash covers it.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Its id.
    pub event_id: Uuid,
    /// `account` or `payment`.
    pub aggregate_type: &'a str,
    /// The aggregate that it happened to.
    pub aggregate_id: &'a str,
    /// Which event of its aggregate it is.
    pub sequence: i64,
    /// Its name.
    pub event_type: &'a str,
    /// Version of the payload's shape.
    pub event_version: &'a str,
    /// What happened, byte for byte.
    pub payload: &'a str,
    /// The business story that it belongs to.
    pub correlation_id: &'a str,
    /// What caused it.
    pub causation_id: &'a str,
    /// Who acted.
    pub actor: &'a str,
    /// The span that recorded it.
    pub traceparent: &'a str,
    /// Vendors' part of its trace context.
    pub tracestate: Option<&'a str>,
    /// W3C baggage of the request that caused it.
    pub baggage: Option<&'a str>,
}

impl Content<'_> {
    /// The event's hash. Each text goes in with its length, and one that may be absent with a mark,
    /// so that no two different events are hashed alike.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.event_id.as_bytes());
        hasher.update(self.sequence.to_be_bytes());
        for text in [
            self.aggregate_type,
            self.aggregate_id,
            self.event_type,
            self.event_version,
            self.payload,
            self.correlation_id,
            self.causation_id,
            self.actor,
            self.traceparent,
        ] {
            add(&mut hasher, text);
        }
        for text in [self.tracestate, self.baggage] {
            hasher.update([u8::from(text.is_some())]);
            add(&mut hasher, text.unwrap_or_default());
        }
        hasher.finalize().into()
    }
}

fn add(hasher: &mut Sha256, text: &str) {
    // No text is longer than 2^64 bytes.
    hasher.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(text);
}

/// The chain behind one append statement: the one before it, the position before its first event, its
/// time, and the hashes of its events in their order.
#[must_use]
pub fn link(before: &Hash, base: i64, recorded_at: DateTime<Utc>, hashes: &[Hash]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(base.to_be_bytes());
    hasher.update((recorded_at.timestamp_micros() - EPOCH_US).to_be_bytes());
    for hash in hashes {
        hasher.update(hash);
    }
    hasher.finalize().into()
}

/// What breaks the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An event does not say what was hashed.
    #[error("the event at position {position} is not the one that was recorded: its hash differs")]
    Content {
        /// Where.
        position: i64,
    },
    /// An event was recorded at another time than the rest of its append.
    #[error("the event at position {position} has another time than the others of its append")]
    Time {
        /// Where.
        position: i64,
    },
    /// An event has no hash, though those before it have.
    #[error("the event at position {position} has no hash")]
    Unsealed {
        /// Where.
        position: i64,
    },
    /// The events of an append, each as it was recorded, are not those that were recorded together.
    #[error("the hash chain breaks between positions {first} and {last}")]
    Link {
        /// The first event of the append.
        first: i64,
        /// Its last.
        last: i64,
    },
    /// The log's head knows another chain than its last event.
    #[error("the log's head has another hash than its last event at position {position}")]
    Head {
        /// The last event.
        position: i64,
    },
}

impl ChainError {
    /// The first position at which it shows.
    #[must_use]
    pub const fn position(&self) -> i64 {
        match self {
            Self::Content { position }
            | Self::Time { position }
            | Self::Unsealed { position }
            | Self::Head { position } => *position,
            Self::Link { first, .. } => *first,
        }
    }
}

/// Follows the chain from the beginning of the log. Start at [`ChainCheck::apply`].
#[derive(Debug, Clone)]
pub struct ChainCheck {
    chain: Hash,
    /// The position before the append under way.
    base: i64,
    /// The hashes of its events so far, and their times.
    hashes: Vec<Hash>,
    times: Vec<DateTime<Utc>>,
    sealed_from: Option<i64>,
}

impl Default for ChainCheck {
    fn default() -> Self {
        Self { chain: BEGINNING, base: 0, hashes: vec![], times: vec![], sealed_from: None }
    }
}

impl ChainCheck {
    /// Takes the next event of the log.
    ///
    /// # Errors
    /// [`ChainError`] names the first position at which something is wrong.
    pub fn apply(&mut self, event: &RecordedEvent) -> Result<(), ChainError> {
        let position = event.position;
        let Some(hash) = &event.hash else {
            if self.sealed_from.is_some() {
                return Err(ChainError::Unsealed { position });
            }
            // Recorded before there was a chain.
            self.base = position;
            return Ok(());
        };
        let found = content_of(event).ok_or(ChainError::Content { position })?.hash();
        if *hash != found {
            return Err(ChainError::Content { position });
        }
        self.sealed_from.get_or_insert(position);
        self.hashes.push(found);
        self.times.push(event.recorded_at);
        match &event.chain {
            Some(chain) => self.close(position, event.recorded_at, chain),
            None => Ok(()),
        }
    }

    fn close(&mut self, position: i64, recorded_at: DateTime<Utc>, chain: &[u8]) -> Result<(), ChainError> {
        if let Some(odd) = odd_one_out(&self.times) {
            let odd = i64::try_from(odd).unwrap_or(i64::MAX);
            return Err(ChainError::Time { position: self.base + 1 + odd });
        }
        let found = link(&self.chain, self.base, recorded_at, &self.hashes);
        if found != *chain {
            return Err(ChainError::Link { first: self.base + 1, last: position });
        }
        (self.chain, self.base) = (found, position);
        self.hashes.clear();
        self.times.clear();
        Ok(())
    }

    /// Ends the check of a log whose head has a hash.
    ///
    /// # Errors
    /// [`ChainError`] when the chain does not end there.
    pub fn finish(&self, head: &Hash) -> Result<(), ChainError> {
        if !self.hashes.is_empty() {
            let more = i64::try_from(self.hashes.len()).unwrap_or(i64::MAX);
            return Err(ChainError::Link { first: self.base + 1, last: self.base + more });
        }
        if self.chain == *head { Ok(()) } else { Err(ChainError::Head { position: self.base }) }
    }

    /// The chain up to the last append.
    #[must_use]
    pub const fn chain(&self) -> &Hash {
        &self.chain
    }

    /// The first position that the chain covers, `None` when it covers none.
    #[must_use]
    pub const fn sealed_from(&self) -> Option<i64> {
        self.sealed_from
    }
}

/// `None` when its id is none.
pub(crate) fn content_of(event: &RecordedEvent) -> Option<Content<'_>> {
    Some(Content {
        event_id: Uuid::parse_str(&event.event_id).ok()?,
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &event.payload,
        correlation_id: &event.correlation_id,
        causation_id: &event.causation_id,
        actor: &event.actor,
        traceparent: &event.traceparent,
        tracestate: event.tracestate.as_deref(),
        baggage: event.baggage.as_deref(),
    })
}

/// The first time that is not that of the most. A log whose links were taken out is one long append:
/// the work must not grow with its square.
fn odd_one_out(times: &[DateTime<Utc>]) -> Option<usize> {
    let mut counts: HashMap<&DateTime<Utc>, usize> = HashMap::new();
    for time in times {
        *counts.entry(time).or_default() += 1;
    }
    let most = times.iter().max_by_key(|time| counts[time])?;
    times.iter().position(|time| time != most)
}

#[cfg(test)]
mod tests;
