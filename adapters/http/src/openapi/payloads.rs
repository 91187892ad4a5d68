//! What each event says, as `commands::shown` shows it: without its tag, its money as decimals.
//!
//! A test compares the fields with the golden files of the newest versions.

use serde_json::{Map, Value, json};

use super::operation::{Schemas, reference};

/// The fields of an event's payload; `?` behind a name: it may be absent.
fn fields_of(event: &str) -> Vec<(&'static str, Value)> {
    match event {
        "AccountOpened" => {
            vec![("account_id", is("AnyId")), ("owner", owner()), ("currency", is("Currency"))]
        }
        "FundsDeposited" => {
            vec![("posting_id", is("PostingId")), ("amount", money()), ("reference", text())]
        }
        "FundsWithdrawn" => vec![
            ("posting_id", is("PostingId")),
            ("amount", money()),
            ("reference", text()),
            ("payment_id?", is("PaymentId")),
        ],
        "FundsHeld" | "HoldReleased" => vec![("payment_id", is("PaymentId")), ("amount", money())],
        "HoldCaptured" => {
            vec![("payment_id", is("PaymentId")), ("amount", money()), ("released", money())]
        }
        "FundsCredited" | "FundsDebited" => {
            vec![("posting_id", is("PostingId")), ("amount", money()), ("payment_id?", is("PaymentId"))]
        }
        "AccountFrozen" | "ChannelOutcomeUnknown" | "PaymentVoided" | "ReviewRequired" => {
            vec![("reason", text())]
        }
        "PaymentInitiated" => vec![
            ("payment_id", is("PaymentId")),
            ("user_id", is("UserId")),
            ("payer", is("AccountId")),
            ("amount", money()),
            ("route", route()),
            ("requester", requester()),
            ("metadata?", is("Metadata")),
        ],
        "RiskAssessed" => vec![("assessment", assessment())],
        "PaymentRejected" => vec![("score", score())],
        "FundsReserved" => vec![("amount", money())],
        "PaymentAuthorized" => vec![("transaction_id", is("TransactionId"))],
        "PaymentCompleted" => vec![("transaction_id?", is("TransactionId")), ("captured", money())],
        "PaymentFailed" => vec![("reason", failure())],
        "CaptureStarted" => vec![("amount", money()), ("requester", requester())],
        "VoidStarted" => vec![("reason", text()), ("requester?", requester())],
        "RefundStarted" => {
            vec![("refund_id", is("RefundId")), ("amount", money()), ("requester?", requester())]
        }
        "RefundCompleted" => {
            vec![("refund_id", is("RefundId")), ("amount", money()), ("transaction_id", is("TransactionId"))]
        }
        "RefundFailed" => vec![("refund_id", is("RefundId")), ("amount", money()), ("reason", text())],
        "ReviewResolved" => vec![("outcome", outcome()), ("operator", text()), ("reason", text())],
        // Its name says it all.
        _ => vec![],
    }
}

/// Makes each event of the document say what its own payload is.
pub(super) fn describe(schemas: &mut Schemas, events: &[&'static str]) {
    let mut kinds = Vec::new();
    for event in events {
        let name = format!("{event}Payload");
        let payload = reference("schemas", &name);
        kinds.push(
            json!({ "title": event, "properties": { "type": { "const": event }, "payload": payload } }),
        );
        schemas.insert(name, object(&fields_of(event)));
    }
    schemas.insert("Money".to_owned(), object(&[("amount", is("Amount")), ("currency", is("Currency"))]));
    if let Some(event) = schemas.get_mut("Event") {
        event["oneOf"] = kinds.into();
    }
}

fn object(fields: &[(&str, Value)]) -> Value {
    let required: Vec<_> = fields.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<_, _> =
        fields.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn is(name: &str) -> Value {
    reference("schemas", name)
}

fn money() -> Value {
    is("Money")
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn score() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 100 })
}

fn one_of(kinds: &[Value]) -> Value {
    json!({ "oneOf": kinds })
}

fn requester() -> Value {
    object(&[("caller", text()), ("idempotency_key", text())])
}

fn owner() -> Value {
    let user = object(&[("user", object(&[("user_id", is("UserId"))]))]);
    one_of(&[user, object(&[("system", object(&[("purpose", text())]))])])
}

fn route() -> Value {
    let channel = object(&[("payment_method", text()), ("capture", is("Capture"))]);
    let transfer = object(&[("payee", is("AccountId"))]);
    let payout = object(&[("reference", text())]);
    let routes = [("channel", channel), ("transfer", transfer), ("payout", payout)];
    one_of(&routes.map(|route| object(&[route])))
}

fn assessment() -> Value {
    let assessed = object(&[("level", is("RiskLevelName")), ("score", score())]);
    let degraded = object(&[("reason", text())]);
    one_of(&[object(&[("assessed", assessed)]), object(&[("degraded", degraded)])])
}

/// With what was available, or with the channel's reason, where the code has one.
fn failure() -> Value {
    object(&[("code", is("ProblemCode")), ("available?", money()), ("reason?", text())])
}

fn outcome() -> Value {
    let paid = object(&[("paid", object(&[("transaction_id", is("TransactionId"))]))]);
    one_of(&[paid, json!({ "const": "not_paid" })])
}
