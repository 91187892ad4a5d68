//! Bodies as the engine answers them, for the document.

use serde_json::{Value, json};

const ACCOUNT: &str = "acc_176d7e65bad753718714f5f1ac90d25d";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const EVENT: &str = "019ab3c4-d5e6-7f80-91a2-b3c4d5e6f708";
const AT: &str = "2026-11-25T08:30:00.123456Z";
const WEBHOOK: &str = "whe_019ab3c4d5e67f8091a2b3c4d5e6f708";

pub(super) fn payment_request() -> Value {
    json!({
        "payment_id": "PAY_42", "user_id": "USER_7", "amount": "7.53", "currency": "USD",
        "payment_method": "credit_card", "metadata": { "order": "A-1001" },
    })
}

pub(super) fn payment_made() -> Value {
    json!({
        "payment_id": "PAY_42", "status": "completed", "transaction_id": "txn_7c9e6679", "amount": "7.53",
        "currency": "USD", "message": "The payment is completed.",
        "balance": {
            "account_id": ACCOUNT, "posted": "92.47", "held": "0.00", "available": "92.47", "currency": "USD",
        },
        "position": 9,
    })
}

pub(super) fn processing() -> Value {
    json!({
        "payment_id": "PAY_42", "status": "processing",
        "message": "The payment is being processed. Repeat the request with the same idempotency key, or read the \
                    payment, to get its outcome.",
        "position": 7,
    })
}

pub(super) fn paid_out() -> Value {
    json!({
        "payment_id": "pay_019ab3c4d5e67f8091a2b3c4d5e6f708", "status": "completed",
        "transaction_id": "txn_7c9e6679", "amount": "100.00", "currency": "USD", "message": "The amount is paid out.",
        "balance": {
            "account_id": ACCOUNT, "posted": "0.00", "held": "0.00", "available": "0.00", "currency": "USD",
        },
        "position": 9,
    })
}

pub(super) fn payment() -> Value {
    json!({
        "payment_id": "PAY_42", "user_id": "USER_7", "kind": "payment", "status": "completed", "step": "completed", "amount": "7.53",
        "currency": "USD", "payment_method": "credit_card", "capture": "automatic", "captured": "7.53",
        "transaction_id": "txn_7c9e6679", "failure": null,
        "risk": { "level": "low", "score": 12, "degraded": false }, "metadata": { "order": "A-1001" }, "position": 9,
    })
}

pub(super) fn captured() -> Value {
    json!({
        "payment_id": "PAY_42", "status": "completed", "transaction_id": "txn_7c9e6679", "amount": "7.53",
        "currency": "USD", "captured": "5.00", "message": "The payment is captured.",
        "balance": {
            "account_id": ACCOUNT, "posted": "95.00", "held": "0.00", "available": "95.00", "currency": "USD",
        },
        "position": 12,
    })
}

pub(super) fn voided() -> Value {
    let mut voided = captured();
    voided["status"] = "voided".into();
    voided["captured"] = Value::Null;
    voided["message"] = "The authorization is given up; nothing was taken.".into();
    voided
}

pub(super) fn reviewed() -> Value {
    let mut reviewed = captured();
    reviewed["message"] = "The review is resolved.".into();
    reviewed["balance"] = Value::Null;
    reviewed
}

pub(super) fn transferred() -> Value {
    let mut transferred = payment_made();
    transferred["transaction_id"] = Value::Null;
    transferred
}

pub(super) fn refund_processing() -> Value {
    json!({
        "refund_id": "ref_019ab3c4d5e67f8091a2b3c4d5e6f708", "payment_id": "PAY_42", "status": "processing",
        "message": "The refund is being processed. Repeat the request with the same idempotency key, or read the \
                    refund, to get its outcome.",
    })
}

pub(super) fn refund_made() -> Value {
    let mut refund = refund();
    refund["refundable"] = "4.53".into();
    refund["message"] = "The amount is back on the payer's account.".into();
    refund["balance"] = json!({
        "account_id": ACCOUNT, "posted": "95.47", "held": "0.00", "available": "95.47", "currency": "USD",
    });
    refund["position"] = 13.into();
    refund
}

pub(super) fn refund() -> Value {
    json!({
        "refund_id": "ref_019ab3c4d5e67f8091a2b3c4d5e6f708", "payment_id": "PAY_42", "status": "completed",
        "transaction_id": "txn_7c9e6679", "amount": "3.00", "currency": "USD",
    })
}

pub(super) fn refunds() -> Value {
    json!({ "data": [refund()], "has_more": false, "next_cursor": null })
}

pub(super) fn payments() -> Value {
    let mut payment = payment();
    if let Some(payment) = payment.as_object_mut() {
        payment.remove("position");
        payment.insert("created_at".to_owned(), AT.into());
        payment.insert("updated_at".to_owned(), AT.into());
    }
    page(&payment)
}

pub(super) fn account() -> Value {
    json!({
        "account_id": ACCOUNT, "user_id": "USER_7", "currency": "USD", "posted": "100.00", "held": "0.00",
        "available": "100.00", "status": "active", "position": 2,
    })
}

pub(super) fn account_read() -> Value {
    let mut account = account();
    account["as_of"] = AT.into();
    account
}

pub(super) fn entries() -> Value {
    page(&json!({
        "position": 2, "event_id": EVENT, "type": "FundsDeposited",
        "posting_id": "dep_019ab3c4d5e67f8091a2b3c4d5e6f708", "payment_id": null, "amount": "100.00",
        "currency": "USD", "balance": "100.00", "reference": "wire 17", "recorded_at": AT,
    }))
}

pub(super) fn event() -> Value {
    json!({
        "event_id": EVENT, "position": 6, "sequence": 3, "type": "FundsHeld", "version": "1", "recorded_at": AT,
        "aggregate": { "type": "account", "id": ACCOUNT },
        "payload": { "payment_id": "PAY_42", "amount": { "amount": "7.53", "currency": "USD" } },
        "correlation_id": "PAY_42", "causation_id": "request:019ab3c4-d5e6-7f80-91a2-b3c4d5e6f700", "actor": "shop",
        "trace_id": TRACE, "traceparent": format!("00-{TRACE}-b7ad6b7169203331-01"),
    })
}

pub(super) fn events() -> Value {
    json!({ "data": [event()], "has_more": false, "next_cursor": null })
}

pub(super) fn log() -> Value {
    json!({ "data": [event()], "has_more": true, "next_cursor": "6" })
}

pub(super) fn event_stream() -> Value {
    format!("id: 6\nevent: FundsHeld\ndata: {}\n\n", event()).into()
}

pub(super) fn traces() -> Value {
    let recorded = json!({
        "trace_id": TRACE, "kind": "recorded_by", "sampled": true, "span_ids": ["b7ad6b7169203331"], "first_at": AT,
        "last_at": AT, "url": format!("http://127.0.0.1:16686/trace/{TRACE}"), "handled_by": [],
        "events": [{ "event_id": EVENT, "position": 6, "type": "FundsHeld", "span_id": "b7ad6b7169203331" }],
    });
    json!({ "data": [recorded], "has_more": false, "next_cursor": null })
}

pub(super) fn registration() -> Value {
    json!({
        "url": "https://shop.example/hooks", "event_types": ["PaymentCompleted", "PaymentFailed"],
        "description": "the shop",
    })
}

pub(super) fn webhook() -> Value {
    json!({
        "endpoint_id": WEBHOOK, "url": "https://shop.example/hooks",
        "event_types": ["PaymentCompleted", "PaymentFailed"], "description": "the shop", "status": "enabled",
        "disabled_reason": null, "after_position": 9, "failures": 0, "held_until": null,
        "previous_secret_until": null, "created_at": AT, "updated_at": AT,
    })
}

pub(super) fn webhook_with_secret() -> Value {
    let mut webhook = webhook();
    webhook["secret"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
    webhook
}

pub(super) fn webhooks() -> Value {
    json!({ "data": [webhook()], "has_more": false, "next_cursor": null })
}

pub(super) fn delivery() -> Value {
    json!({
        "delivery_id": "whd_17", "endpoint_id": WEBHOOK, "event_id": EVENT, "position": 9,
        "event_type": "PaymentCompleted", "payment_id": "PAY_42", "status": "delivered", "attempts": 1,
        "next_attempt_at": null, "last_attempt_at": AT, "last_status": 204, "last_error": null, "created_at": AT,
        "ended_at": AT,
    })
}

pub(super) fn deliveries() -> Value {
    json!({ "data": [delivery()], "has_more": false, "next_cursor": null })
}

pub(super) fn ready() -> Value {
    let projection = json!({ "name": "account_balances", "position": 9, "lag": 0, "lag_ms": 0 });
    let services = ["risk", "channel"].map(|name| json!({ "name": name, "breaker": "closed" }));
    json!({ "status": "ready", "database": "up", "projections": [projection], "services": services })
}

/// A page of a read model.
fn page(entry: &Value) -> Value {
    json!({ "data": [entry], "has_more": false, "next_cursor": null, "position": 9, "as_of": AT })
}
