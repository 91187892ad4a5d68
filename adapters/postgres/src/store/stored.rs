//! What the store needs to know of an aggregate beyond `cqrs_es::Aggregate`.

use std::borrow::Borrow;

use cqrs_es::{Aggregate, DomainEvent};
use domain::{Account, AccountEvent, AccountId, Payment, PaymentEvent, PaymentId};
use sha2::{Digest, Sha256};

/// An aggregate that this store keeps.
pub trait StoredAggregate: Aggregate<Services = ()> + Clone + 'static {
    /// Its identifier.
    type Id: Borrow<str> + Clone + Ord + Send + Sync;

    /// Version of the events that this program writes; older ones are upcast when read.
    const EVENT_VERSION: &'static str;

    /// An event's name, as the log's column has it.
    fn event_name(event: &Self::Event) -> &'static str;

    /// A snapshot is taken each time a stream grows past a multiple of so many events.
    const SNAPSHOT_EVERY: i64;

    /// Source text of the fold: a snapshot made by another fold is not used.
    const FOLD_SOURCE: &'static str;

    /// SHA-256 of [`Self::FOLD_SOURCE`].
    #[must_use]
    fn fold_hash() -> [u8; 32] {
        Sha256::digest(Self::FOLD_SOURCE.as_bytes()).into()
    }
}

impl StoredAggregate for Account {
    type Id = AccountId;
    const EVENT_VERSION: &'static str = AccountEvent::VERSION;
    const SNAPSHOT_EVERY: i64 = 1_000;
    const FOLD_SOURCE: &'static str = domain::account::FOLD_SOURCE;

    fn event_name(event: &AccountEvent) -> &'static str {
        event.name()
    }
}

impl StoredAggregate for Payment {
    type Id = PaymentId;
    const EVENT_VERSION: &'static str = PaymentEvent::VERSION;
    const SNAPSHOT_EVERY: i64 = 1_000;
    const FOLD_SOURCE: &'static str = domain::payment::FOLD_SOURCE;

    fn event_name(event: &PaymentEvent) -> &'static str {
        event.name()
    }
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program, or damaged.
    #[error("event {event_type} has version {version}, this program reads version {known}")]
    Version {
        /// The event.
        event_type: String,
        /// Its version.
        version: String,
        /// The version that is known.
        known: &'static str,
    },
    /// The payload has another shape.
    #[error("event {event_type}: {source}")]
    Payload {
        /// The event.
        event_type: String,
        /// Where it differs.
        source: serde_json::Error,
    },
}

/// Reads an event of the log.
///
/// # Errors
/// [`DecodeError`] names the event.
pub fn decode<A: StoredAggregate>(
    event_type: &str,
    version: &str,
    payload: &str,
) -> Result<A::Event, DecodeError> {
    let event: A::Event = check_version::<A>(event_type, version).and_then(|()| {
        serde_json::from_str(payload)
            .map_err(|source| DecodeError::Payload { event_type: event_type.to_owned(), source })
    })?;
    debug_assert_eq!(event.event_type(), event_type, "payload and column name the same event");
    Ok(event)
}

pub(super) fn check_version<A: StoredAggregate>(event_type: &str, version: &str) -> Result<(), DecodeError> {
    if version == A::EVENT_VERSION {
        return Ok(());
    }
    Err(DecodeError::Version {
        event_type: event_type.to_owned(),
        version: version.to_owned(),
        known: A::EVENT_VERSION,
    })
}
