//! An endpoint: where events are sent to, which of them, and the secret that signs.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::versions::event_names;
use domain::{AccountEvent, PaymentEvent};

/// A receiver that has been registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `whe_` and a UUID without hyphens.
    pub id: String,
    /// Where events are sent to.
    pub url: String,
    /// Which events.
    pub filter: EventFilter,
    /// The client's own words.
    pub description: String,
    /// Whether events are sent.
    pub status: EndpointStatus,
    /// Why not, where it was not the client that disabled it.
    pub disabled_reason: Option<String>,
    /// Only events behind this position are sent: the log's head when it was registered or last enabled.
    pub after_position: i64,
    /// Attempts that failed since the last one that did not.
    pub failures: i32,
    /// Nothing is sent before then: the receiver asked for it.
    pub held_until: Option<DateTime<Utc>>,
    /// Until when the secret before the last rotation signs as well.
    pub previous_until: Option<DateTime<Utc>>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Whether events are sent to an endpoint. A deleted one is not an endpoint any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStatus {
    /// They are.
    Enabled,
    /// They are not, and what happens meanwhile never will be.
    Disabled,
}

impl EndpointStatus {
    /// Its name in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// The one with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled].into_iter().find(|status| status.name() == name)
    }
}

/// A secret of the form `whsec_<base64>`, as Standard Webhooks has it. It is shown to its owner once,
/// and never in a log: its `Debug` does not have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret made at the edge, or read from where it is kept.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: for the signature, the database, and the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which events an endpoint is told of: names of events, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter(Vec<String>);

/// Why a list of names is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No event would ever be sent.
    #[error("must have at least one name of an event, or `*` for all of them")]
    Empty,
    /// No event has this name.
    #[error("has `{name}`, which is no event; the events are `{}`", known_events().join("`, `"))]
    Unknown {
        /// What was given.
        name: String,
    },
}

/// The names of all events, as serde knows them: no list of names is kept anywhere.
#[must_use]
pub fn known_events() -> Vec<&'static str> {
    [event_names::<PaymentEvent>(), event_names::<AccountEvent>()].concat()
}

impl EventFilter {
    /// The name that stands for every event.
    pub const ALL: &'static str = "*";

    /// Names, each once, in the order in which they came; `*` makes the others needless.
    ///
    /// # Errors
    /// [`FilterError`] names what is none.
    pub fn parse(names: Vec<String>) -> Result<Self, FilterError> {
        let known = known_events();
        let mut filter: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if name != Self::ALL && !known.contains(&name.as_str()) {
                return Err(FilterError::Unknown { name });
            }
            if !filter.contains(&name) {
                filter.push(name);
            }
        }
        match filter.as_slice() {
            [] => Err(FilterError::Empty),
            names if names.iter().any(|name| name == Self::ALL) => Ok(Self(vec![Self::ALL.to_owned()])),
            _ => Ok(Self(filter)),
        }
    }

    /// A filter as it was kept. One name may be of an event that a later release knows.
    #[must_use]
    pub fn kept(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Its names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(names: &[&str]) -> Result<Vec<String>, FilterError> {
        EventFilter::parse(names.iter().map(|name| (*name).to_owned()).collect()).map(|filter| filter.0)
    }

    #[test]
    fn a_filter_has_names_of_events_each_once() {
        let names = ["PaymentCompleted", "FundsHeld", "PaymentCompleted"];
        assert_eq!(parse(&names).unwrap(), ["PaymentCompleted", "FundsHeld"]);
        assert_eq!(parse(&["PaymentCompleted", "*"]).unwrap(), ["*"]);
    }

    #[test]
    fn what_is_no_event_is_named_with_those_that_are() {
        assert_eq!(parse(&[]), Err(FilterError::Empty));
        let refused = parse(&["*", "PaymentCompletd"]).unwrap_err();
        assert_eq!(refused, FilterError::Unknown { name: "PaymentCompletd".to_owned() });
        let told = refused.to_string();
        assert!(told.contains("`PaymentInitiated`") && told.contains("`AccountUnfrozen`"), "{told}");
    }

    #[test]
    fn a_secret_is_not_in_its_debug() {
        assert_eq!(format!("{:?}", Secret::new("whsec_c2VjcmV0".to_owned())), "Secret(..)");
    }
}
