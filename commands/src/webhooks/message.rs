//! What is sent of an event: a message of Standard Webhooks.
//!
//! ```text
//! {"type":"PaymentCompleted","timestamp":"2026-01-01T00:00:00.000001Z",
//!  "data":{"event_id":...,"position":12,"sequence":4,"aggregate":{"type":"payment","id":"PAY_42"},
//!          "payload":{"captured":{"amount":"7.53","currency":"USD"}},
//!          "payment_id":"PAY_42","correlation_id":"PAY_42","trace_id":...}}
//! ```
//!
//! **Invariant:** the body is a function of the event alone, so whoever makes it anew makes the same bytes.

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::Value;

use crate::ports::RecordedEvent;
use crate::shown;

/// A message and the payment that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// JSON.
    pub body: String,
    /// `None` for what no payment has caused.
    pub payment_id: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    event_id: &'a str,
    position: i64,
    sequence: i64,
    aggregate: Aggregate<'a>,
    payload: &'a Value,
    payment_id: Option<&'a str>,
    correlation_id: &'a str,
    trace_id: &'a str,
}

#[derive(Serialize)]
struct Aggregate<'a> {
    r#type: &'a str,
    id: &'a str,
}

impl Message {
    /// The message of an event.
    ///
    /// # Errors
    /// The event's payload is no JSON.
    pub fn of(event: &RecordedEvent) -> Result<Self, serde_json::Error> {
        let payload = shown::payload(&event.payload)?;
        let payment_id = shown::payment_of(event, &payload);
        let body = serde_json::to_string(&Body {
            r#type: &event.event_type,
            timestamp: event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            data: Data {
                event_id: &event.event_id,
                position: event.position,
                sequence: event.sequence,
                aggregate: Aggregate { r#type: &event.aggregate_type, id: &event.aggregate_id },
                payload: &payload,
                payment_id,
                correlation_id: &event.correlation_id,
                trace_id: shown::trace_id(event),
            },
        })?;
        Ok(Self { body, payment_id: payment_id.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn event(kind: &str, id: &str, name: &str, payload: &str) -> RecordedEvent {
        RecordedEvent {
            position: 12,
            sequence: 4,
            event_id: "01890000-0000-7000-8000-000000000001".to_owned(),
            aggregate_type: kind.to_owned(),
            aggregate_id: id.to_owned(),
            event_type: name.to_owned(),
            event_version: "1".to_owned(),
            payload: payload.to_owned(),
            recorded_at: DateTime::from_timestamp_micros(1_767_225_600_000_100).unwrap(),
            correlation_id: "story".to_owned(),
            causation_id: "cause".to_owned(),
            actor: "someone".to_owned(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            tracestate: None,
            baggage: None,
            hash: None,
            chain: None,
        }
    }

    #[test]
    fn a_message_says_what_happened_in_decimals() {
        let payload = r#"{"PaymentCompleted":{"captured":{"minor":753,"currency":"USD"}}}"#;
        let message = Message::of(&event("payment", "PAY_42", "PaymentCompleted", payload)).unwrap();
        assert_eq!(message.payment_id.as_deref(), Some("PAY_42"));
        assert_eq!(
            message.body,
            r#"{"type":"PaymentCompleted","timestamp":"2026-01-01T00:00:00.000100Z","data":{"event_id":"01890000-0000-7000-8000-000000000001","position":12,"sequence":4,"aggregate":{"type":"payment","id":"PAY_42"},"payload":{"captured":{"amount":"7.53","currency":"USD"}},"payment_id":"PAY_42","correlation_id":"story","trace_id":"0af7651916cd43dd8448eb211c80319c"}}"#
        );
    }

    #[test]
    fn an_event_of_an_account_names_the_payment_that_caused_it() {
        for (id, name, payload, payment) in [
            ("acc_1", "FundsHeld", r#"{"FundsHeld":{"payment_id":"P"}}"#, Some("P")),
            ("settlement:card:USD:3", "FundsCredited", r#"{"FundsCredited":{"posting_id":"P"}}"#, Some("P")),
            ("funding:USD:3", "FundsDebited", r#"{"FundsDebited":{"posting_id":"dep_1"}}"#, None),
            ("acc_1", "FundsDeposited", r#"{"FundsDeposited":{"posting_id":"dep_1"}}"#, None),
            ("acc_1", "AccountUnfrozen", r#""AccountUnfrozen""#, None),
        ] {
            let message = Message::of(&event("account", id, name, payload)).unwrap();
            assert_eq!(message.payment_id.as_deref(), payment, "{name}");
        }
    }
}
