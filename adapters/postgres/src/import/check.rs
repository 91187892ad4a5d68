//! What can be told of a log from its events alone, one after the other from its first.
//!
//! Start at [`LogCheck::take`].
//!
//! **Invariant:** nothing is kept of an event but what the next one is compared with: the position, the
//! time, the chain, and the hashes of an append that has not come to its end.

use chrono::{DateTime, Utc};
use commands::ports::RecordedEvent;
use projections::Fact;
use uuid::Uuid;

use crate::hash_chain::{ChainCheck, ChainError, Hash};
use crate::log::fact_of;

/// The first thing that is wrong with a log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Positions have a gap, or one came twice.
    #[error("position {found} came where {expected} had to come")]
    Position {
        /// The position that had to come.
        expected: i64,
        /// The position that came.
        found: i64,
    },
    /// An event is not the next of its stream.
    #[error("position {position} is event {found} of {stream}, {expected} had to come")]
    Sequence {
        /// Where.
        position: i64,
        /// The aggregate.
        stream: String,
        /// The sequence that had to come.
        expected: i64,
        /// The sequence that came.
        found: i64,
    },
    /// An id is no UUID.
    #[error("position {position} has the id {id:?}, which is no UUID in lower case with hyphens")]
    Id {
        /// Where.
        position: i64,
        /// The id.
        id: String,
    },
    /// Two events have one id.
    #[error("position {position} has the id of position {first}")]
    IdTwice {
        /// The last of them.
        position: i64,
        /// The first of them.
        first: i64,
    },
    /// An event was recorded before the one in front of it.
    #[error("position {position} was recorded before the event in front of it")]
    Time {
        /// Where.
        position: i64,
    },
    /// A hash is not that of what it covers.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The log ends within an append.
    #[error(
        "the append that begins at position {first} is not whole: the log was cut behind position {last}"
    )]
    Unfinished {
        /// Its first event.
        first: i64,
        /// The last event that is there.
        last: i64,
    },
    /// This program cannot read the event.
    #[error("position {position} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        position: i64,
        /// Why not.
        reason: String,
    },
}

impl LogError {
    /// Which event of the log shows it, counted from 1.
    #[must_use]
    pub const fn ordinal(&self) -> i64 {
        match self {
            Self::Position { expected, .. } => *expected,
            Self::Sequence { position, .. }
            | Self::Id { position, .. }
            | Self::IdTwice { position, .. }
            | Self::Time { position }
            | Self::Unreadable { position, .. } => *position,
            Self::Chain(error) => error.position(),
            Self::Unfinished { first, .. } => *first,
        }
    }

    pub(super) fn sequence(event: &RecordedEvent, expected: i64) -> Self {
        let stream = format!("{} {}", event.aggregate_type, event.aggregate_id);
        Self::Sequence { position: event.position, stream, expected, found: event.sequence }
    }
}

/// An event that is in order as far as it tells itself.
#[derive(Debug)]
pub struct CheckedEvent {
    event: RecordedEvent,
    event_id: Uuid,
}

impl CheckedEvent {
    pub(super) const fn event(&self) -> &RecordedEvent {
        &self.event
    }

    pub(super) const fn event_id(&self) -> Uuid {
        self.event_id
    }
}

/// The end of a log whose every event was checked.
#[derive(Debug)]
pub struct CheckedLog {
    position: i64,
    recorded_at: Option<DateTime<Utc>>,
    chain: Hash,
}

impl CheckedLog {
    /// Position of the last event, 0 without any.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// When it was recorded.
    #[must_use]
    pub const fn recorded_at(&self) -> Option<DateTime<Utc>> {
        self.recorded_at
    }

    /// The hash chain up to it.
    #[must_use]
    pub const fn chain(&self) -> &Hash {
        &self.chain
    }
}

/// The fold over a log from its first event.
#[derive(Debug, Default)]
pub struct LogCheck {
    position: i64,
    recorded_at: Option<DateTime<Utc>>,
    chain: ChainCheck,
}

impl LogCheck {
    /// Takes the next event.
    ///
    /// # Errors
    /// [`LogError`]: the log is not in order here.
    pub fn take(&mut self, event: RecordedEvent) -> Result<CheckedEvent, LogError> {
        let position = event.position;
        if position != self.position + 1 {
            return Err(LogError::Position { expected: self.position + 1, found: position });
        }
        let event_id = Uuid::parse_str(&event.event_id).ok();
        let event_id = event_id
            .filter(|id| id.to_string() == event.event_id)
            .ok_or_else(|| LogError::Id { position, id: event.event_id.clone() })?;
        if self.recorded_at.is_some_and(|before| event.recorded_at < before) {
            return Err(LogError::Time { position });
        }
        self.chain.apply(&event)?;
        if let Fact::Unreadable { reason, .. } = fact_of(&event) {
            return Err(LogError::Unreadable { position, reason });
        }
        self.position = position;
        self.recorded_at = Some(event.recorded_at);
        Ok(CheckedEvent { event, event_id })
    }

    /// Ends with the last event.
    ///
    /// # Errors
    /// [`LogError::Unfinished`]: events of the last append are missing.
    pub fn finish(self) -> Result<CheckedLog, LogError> {
        let chain = *self.chain.chain();
        match self.chain.finish(&chain) {
            Ok(()) => Ok(CheckedLog { position: self.position, recorded_at: self.recorded_at, chain }),
            Err(ChainError::Link { first, last }) => Err(LogError::Unfinished { first, last }),
            Err(other) => Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_chain::{BEGINNING, content_of, link};

    const PAYLOAD: &str = r#""AccountFrozen""#;

    fn event(position: i64) -> RecordedEvent {
        RecordedEvent {
            position,
            sequence: position,
            event_id: format!("01890000-0000-7000-8000-{position:012}"),
            aggregate_type: "account".to_owned(),
            aggregate_id: "acc_1".to_owned(),
            event_type: "AccountUnfrozen".to_owned(),
            event_version: "1".to_owned(),
            payload: PAYLOAD.replace("AccountFrozen", "AccountUnfrozen"),
            recorded_at: DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap(),
            correlation_id: "story".to_owned(),
            causation_id: "cause".to_owned(),
            actor: "someone".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
            tracestate: None,
            baggage: None,
            hash: None,
            chain: None,
        }
    }

    /// Two events from before there was a chain, one append of two, one of one.
    fn log() -> Vec<RecordedEvent> {
        let mut log: Vec<RecordedEvent> = (1..=5).map(event).collect();
        log[4].recorded_at += chrono::TimeDelta::microseconds(1);
        let hashes: Vec<Hash> = log.iter().map(|event| content_of(event).unwrap().hash()).collect();
        for (event, hash) in log.iter_mut().zip(&hashes).skip(2) {
            event.hash = Some(hash.to_vec());
        }
        let first = link(&BEGINNING, 2, log[3].recorded_at, &hashes[2..4]);
        log[3].chain = Some(first.to_vec());
        log[4].chain = Some(link(&first, 4, log[4].recorded_at, &hashes[4..]).to_vec());
        log
    }

    fn check(log: Vec<RecordedEvent>) -> Result<CheckedLog, LogError> {
        let mut check = LogCheck::default();
        for event in log {
            check.take(event)?;
        }
        check.finish()
    }

    #[test]
    fn a_log_in_order_passes_with_its_head() {
        let log = log();
        let (time, chain) = (log[4].recorded_at, log[4].chain.clone());
        let head = check(log).unwrap();
        assert_eq!((head.position(), head.recorded_at()), (5, Some(time)));
        assert_eq!(Some(head.chain().to_vec()), chain);
        assert_eq!(check(vec![]).unwrap().chain(), &BEGINNING);
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Vec<RecordedEvent>), ordinal: i64, words: &str) {
        let mut log = log();
        change(&mut log);
        let error = check(log).unwrap_err();
        assert_eq!(error.ordinal(), ordinal, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_named() {
        refused(|log| drop(log.remove(1)), 2, "position 3 came where 2 had to come");
        refused(|log| log.insert(2, event(2)), 3, "position 2 came where 3 had to come");
        refused(|log| log[1].event_id = "no-uuid".to_owned(), 2, "no UUID");
        refused(|log| log[0].recorded_at = log[4].recorded_at, 2, "recorded before");
        refused(|log| log[0].event_version = "99".to_owned(), 1, "newer release");
        refused(|log| log[0].aggregate_type = "loan".to_owned(), 1, "no aggregate of the type loan");
        refused(|log| log[0].payload = PAYLOAD.to_owned(), 1, "cannot be read");
    }

    #[test]
    fn whatever_breaks_the_chain_is_named() {
        refused(|log| log[2].actor = "somebody".to_owned(), 3, "its hash differs");
        refused(|log| log[3].payload.push(' '), 4, "its hash differs");
        refused(|log| log[3].hash = None, 4, "has no hash");
        refused(|log| log[4].chain = Some(vec![1; 32]), 5, "hash chain breaks");
        refused(|log| log.truncate(3), 3, "the log was cut behind position 3");
        // An event that was made to fit by itself is found by the link.
        let forge = |log: &mut Vec<RecordedEvent>| {
            log[2].actor = "somebody".to_owned();
            log[2].hash = Some(content_of(&log[2]).unwrap().hash().to_vec());
        };
        refused(forge, 3, "hash chain breaks between positions 3 and 4");
    }
}
