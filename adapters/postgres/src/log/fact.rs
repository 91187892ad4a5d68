//! What a recorded event says, read as what happened.

use commands::ports::RecordedEvent;
use domain::id::Id;
use domain::{Account, Payment};
use projections::{Fact, Kind};

use crate::store::{StoredAggregate, decode};

/// The columns of an event that say what happened, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) aggregate_type: &'a str,
    pub(crate) aggregate_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) event_version: &'a str,
    pub(crate) payload: &'a str,
}

/// What a recorded event says.
#[must_use]
pub fn fact_of(event: &RecordedEvent) -> Fact {
    Said {
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &event.payload,
    }
    .fact()
}

impl Said<'_> {
    /// What this program cannot read is a fact as well: it stops the folds that need it, and no others.
    pub(crate) fn fact(self) -> Fact {
        match self.aggregate_type {
            "account" => self.happened::<Account, _>(Kind::Account, Fact::Account),
            "payment" => self.happened::<Payment, _>(Kind::Payment, Fact::Payment),
            other => Fact::Unreadable {
                kind: Kind::Other,
                reason: format!("there is no aggregate of the type {other}"),
            },
        }
    }

    fn happened<A: StoredAggregate, K>(self, kind: Kind, fact: impl FnOnce(Id<K>, A::Event) -> Fact) -> Fact {
        let read = || -> Result<Fact, String> {
            let id = Id::parse(self.aggregate_id).map_err(|error| error.to_string())?;
            let event = decode::<A>(self.event_type, self.event_version, self.payload);
            Ok(fact(id, event.map_err(|error| error.to_string())?))
        };
        read().unwrap_or_else(|reason| Fact::Unreadable { kind, reason })
    }
}
