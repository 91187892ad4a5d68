//! A payment's story: its own events and those of the accounts that it touched.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::SecondsFormat;
use commands::idempotency::Answer;
use commands::ports::RecordedEvent;
use domain::Money;
use domain::money::parse_currency;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::answers::render;
use crate::path::{PaymentPath, PlainQuery};
use crate::payments::payment_not_found;
use crate::problem::{self, Problem, json_text};
use crate::shared::Shared;

#[derive(Serialize)]
struct Page<'a> {
    data: Vec<EventView<'a>>,
    has_more: bool,
    next_cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct EventView<'a> {
    event_id: &'a str,
    position: i64,
    sequence: i64,
    r#type: &'a str,
    version: &'a str,
    /// RFC 3339, UTC, microseconds.
    recorded_at: String,
    aggregate: AggregateView<'a>,
    payload: Value,
    correlation_id: &'a str,
    causation_id: &'a str,
    actor: &'a str,
    trace_id: &'a str,
    traceparent: &'a str,
}

#[derive(Serialize)]
struct AggregateView<'a> {
    r#type: &'a str,
    id: &'a str,
}

/// `GET /api/v1/payments/{payment_id}/events`.
pub(crate) async fn story(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let events = shared.api.reader.story(&payment_id).await.map_err(problem::read_failed)?;
    if events.is_empty() {
        return Err(payment_not_found(payment_id));
    }
    let data = events.iter().map(view).collect::<Result<_, _>>()?;
    let body = json_text(&Page { data, has_more: false, next_cursor: None });
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: None }))
}

fn view(event: &RecordedEvent) -> Result<EventView<'_>, Problem> {
    let payload = payload(&event.payload)
        .map_err(|error| Problem::internal(format!("payload of event {}: {error}", event.event_id)))?;
    Ok(EventView {
        event_id: &event.event_id,
        position: event.position,
        sequence: event.sequence,
        r#type: &event.event_type,
        version: &event.event_version,
        recorded_at: event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        aggregate: AggregateView { r#type: &event.aggregate_type, id: &event.aggregate_id },
        payload,
        correlation_id: &event.correlation_id,
        causation_id: &event.causation_id,
        actor: &event.actor,
        trace_id: event.traceparent.split('-').nth(1).unwrap_or_default(),
        traceparent: &event.traceparent,
    })
}

/// A recorded payload without its tag, which is the event's type, and with its money as decimals.
fn payload(recorded: &str) -> Result<Value, serde_json::Error> {
    Ok(match serde_json::from_str(recorded)? {
        // An event without fields is recorded as its tag alone.
        Value::String(_) => Value::Object(Map::new()),
        Value::Object(tagged) if tagged.len() == 1 => {
            tagged.into_iter().next().map_or(Value::Null, |(_, fields)| with_decimals(fields))
        }
        other => with_decimals(other),
    })
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
