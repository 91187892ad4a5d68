//! What an event says, as whoever is outside sees it: the API and the receivers of webhooks alike.
//!
//! The log keeps amounts in minor units and tags a payload with the event's name. Outside, amounts are
//! exact decimals, and the name stands beside the payload.

use domain::account::FUNDING;
use domain::money::parse_currency;
use domain::{AccountId, Money};
use serde_json::{Map, Value};

use crate::ports::RecordedEvent;

/// A recorded payload without its tag, which is the event's type, and with its money as decimals.
///
/// # Errors
/// It is no JSON.
pub fn payload(recorded: &str) -> Result<Value, serde_json::Error> {
    Ok(match serde_json::from_str(recorded)? {
        // An event without fields is recorded as its tag alone.
        Value::String(_) => Value::Object(Map::new()),
        Value::Object(tagged) if tagged.len() == 1 => {
            tagged.into_iter().next().map_or(Value::Null, |(_, fields)| with_decimals(fields))
        }
        other => with_decimals(other),
    })
}

/// The payment that an event belongs to, given its payload as [`payload`] shows it. `None` for what
/// no payment has caused.
#[must_use]
pub fn payment_of<'a>(event: &'a RecordedEvent, payload: &'a Value) -> Option<&'a str> {
    if event.aggregate_type == "payment" {
        return Some(&event.aggregate_id);
    }
    let field = |name: &str| payload.get(name).and_then(Value::as_str);
    match event.event_type.as_str() {
        // A payment's own posting has the payment's name; what is booked on funding is a deposit's.
        "FundsCredited" | "FundsDebited" => {
            field("payment_id").or_else(|| field("posting_id").filter(|_| !is_of_funding(event)))
        }
        _ => field("payment_id"),
    }
}

/// The 32 hexadecimal digits of the trace that recorded an event.
#[must_use]
pub fn trace_id(event: &RecordedEvent) -> &str {
    event.traceparent.split('-').nth(1).unwrap_or_default()
}

/// Whether a text can name a trace: 32 hexadecimal digits in lower case.
#[must_use]
pub fn is_trace_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The 16 hexadecimal digits of the span that recorded an event.
#[must_use]
pub fn span_id(event: &RecordedEvent) -> &str {
    event.traceparent.split('-').nth(2).unwrap_or_default()
}

/// Whether the span that recorded an event was to be kept, by the flags of its trace context.
#[must_use]
pub fn is_sampled(event: &RecordedEvent) -> bool {
    let flags = event.traceparent.split('-').nth(3).and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

fn is_of_funding(event: &RecordedEvent) -> bool {
    AccountId::parse(&event.aggregate_id).is_ok_and(|account| account.is_of_system(FUNDING))
}

/// `{"minor":753,"currency":"USD"}` as `{"amount":"7.53","currency":"USD"}`, wherever it is.
fn with_decimals(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(with_decimals).collect()),
        Value::Object(fields) => match money(&fields) {
            Some(money) => serde_json::json!({
                "amount": money.to_string(),
                "currency": money.currency.code(),
            }),
            None => {
                Value::Object(fields.into_iter().map(|(name, value)| (name, with_decimals(value))).collect())
            }
        },
        other => other,
    }
}

fn money(fields: &Map<String, Value>) -> Option<Money> {
    let (2, Some(minor), Some(currency)) = (fields.len(), fields.get("minor"), fields.get("currency")) else {
        return None;
    };
    Some(Money::new(minor.as_i64()?, parse_currency(currency.as_str()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(recorded: &str, shown: &str) {
        assert_eq!(payload(recorded).unwrap().to_string(), shown);
    }

    #[test]
    fn a_payload_is_shown_without_its_tag_and_with_decimals() {
        shows(
            r#"{"FundsHeld":{"payment_id":"P","amount":{"minor":753,"currency":"USD"}}}"#,
            r#"{"amount":{"amount":"7.53","currency":"USD"},"payment_id":"P"}"#,
        );
        shows(r#""AccountUnfrozen""#, "{}");
        shows(
            r#"{"PaymentFailed":{"reason":{"code":"insufficient_funds","available":{"minor":5,"currency":"KWD"}}}}"#,
            r#"{"reason":{"available":{"amount":"0.005","currency":"KWD"},"code":"insufficient_funds"}}"#,
        );
    }

    #[test]
    fn what_only_looks_like_money_stays() {
        shows(r#"{"E":{"minor":"5","currency":"USD"}}"#, r#"{"currency":"USD","minor":"5"}"#);
        shows(
            r#"{"E":{"minor":5,"currency":"USD","note":"x"}}"#,
            r#"{"currency":"USD","minor":5,"note":"x"}"#,
        );
    }
}
