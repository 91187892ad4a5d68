//! An event on one line, for people.

use serde_json::Value;

/// `#12  FundsHeld               alice's account  amount 25.00`
pub(crate) fn event_line(event: &Value) -> String {
    let position = event["position"].as_i64().unwrap_or_default();
    let kind = text(event, "type");
    let aggregate = text(&event["aggregate"], "type");
    format!("#{position:<5} {aggregate:<8} {kind:<22} {}", detail(event))
}

/// What an event says beside its name: its amount, or why.
pub(crate) fn detail(event: &Value) -> String {
    let payload = &event["payload"];
    let money = |name: &str| {
        payload
            .get(name)
            .filter(|money| money.is_object())
            .map(|money| format!("{} {}", text(money, "amount"), text(money, "currency")))
    };
    match text(event, "type") {
        "RiskAssessed" => {
            let assessed = &payload["assessment"]["assessed"];
            format!("{} risk, score {}", text(assessed, "level"), assessed["score"])
        }
        "ChannelOutcomeUnknown" | "ReviewRequired" => text(payload, "reason").to_owned(),
        "ReviewResolved" => format!("by {}: {}", text(payload, "operator"), text(payload, "reason")),
        "PaymentFailed" => text(&payload["reason"], "code").to_owned(),
        "PaymentCompleted" => {
            format!("{}, {}", money("captured").unwrap_or_default(), text(payload, "transaction_id"))
        }
        _ => money("amount").unwrap_or_default(),
    }
}

/// A member's text, `-` where there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}
