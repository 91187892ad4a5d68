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

use chrono::{DateTime, Utc};
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
