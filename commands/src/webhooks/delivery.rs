//! A delivery: one event for one endpoint, as it is told of.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

/// Names a delivery: `whd_` and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whd_{}", self.0)
    }
}

impl FromStr for DeliveryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("whd_").and_then(|digits| digits.parse().ok());
        number.filter(|number| *number > 0).map(Self).ok_or("must be `whd_` and a number")
    }
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is tried, now or later.
    Pending,
    /// The receiver has answered 2xx.
    Delivered,
    /// It is not tried any more, unless it is sent again by hand.
    Dead,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// Its name in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The one with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// Where the event is sent to.
    pub endpoint_id: String,
    /// The event, and the message's id at the receiver.
    pub event_id: String,
    /// Where in the log the event is.
    pub position: i64,
    /// The event's name.
    pub event_type: String,
    /// The payment that the event belongs to.
    pub payment_id: Option<String>,
    /// What has become of it.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next, where it is pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was last tried.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// HTTP status of the last answer; none where there was no answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was made of the event.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or given up.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which deliveries are asked for. What is `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Those of this caller's endpoints.
    pub caller: Option<String>,
    /// Those to this endpoint.
    pub endpoint_id: Option<String>,
    /// Those of this payment's events.
    pub payment_id: Option<String>,
    /// Those of which this has become.
    pub status: Option<DeliveryStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!(DeliveryId(42).to_string().parse(), Ok(DeliveryId(42)));
        for text in ["", "42", "whd_", "whd_0", "whd_-1", "whd_x", "whe_1"] {
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
    }
}
