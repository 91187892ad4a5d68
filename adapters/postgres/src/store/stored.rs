//! What the store needs to know of an aggregate beyond `cqrs_es::Aggregate`.

use std::borrow::Borrow;

use cqrs_es::Aggregate;
use domain::versions::{self, DecodeError, VersionedEvent};
use domain::{Account, AccountId, Payment, PaymentId};
use sha2::{Digest, Sha256};

/// An aggregate that this store keeps.
pub trait StoredAggregate: Aggregate<Services = (), Event: VersionedEvent> + Clone + 'static {
    /// Its identifier.
    type Id: Borrow<str> + Clone + Ord + Send + Sync;

    /// A snapshot is taken each time a stream grows past a multiple of so many events.
    const SNAPSHOT_EVERY: i64;

    /// Source text of the fold, upcasters included: a snapshot made by another fold is not used.
    const FOLD_SOURCE: &'static str;

    /// SHA-256 of [`Self::FOLD_SOURCE`].
    #[must_use]
    fn fold_hash() -> [u8; 32] {
        Sha256::digest(Self::FOLD_SOURCE.as_bytes()).into()
    }
}

impl StoredAggregate for Account {
    type Id = AccountId;
    const SNAPSHOT_EVERY: i64 = 1_000;
    const FOLD_SOURCE: &'static str = domain::account::FOLD_SOURCE;
}

impl StoredAggregate for Payment {
    type Id = PaymentId;
    const SNAPSHOT_EVERY: i64 = 1_000;
    const FOLD_SOURCE: &'static str = domain::payment::FOLD_SOURCE;
}

/// Reads an event of the log, in whichever version it was written.
///
/// # Errors
/// [`DecodeError`] names the event and its version.
pub fn decode<A: StoredAggregate>(
    event_type: &str,
    version: &str,
    payload: &str,
) -> Result<A::Event, DecodeError> {
    versions::decode(event_type, version, payload)
}
