//! Captures, voids and refunds of a charge.

use super::durability::Folder;
use super::*;

/// A caller of a sandbox in which `KEY` is charged 7.53 by this method.
async fn charged(payment_method: &str, capture: &str) -> (Sandbox, Caller) {
    let (sandbox, caller) = started(Behaviour::default()).await;
    let body = json!({
        "payment_id": "KEY", "amount": "7.53", "currency": "USD", "payment_method": payment_method,
        "capture": capture,
    });
    assert_eq!(caller.pay_body("KEY", &body).await, succeeded(201, "KEY"));
    (sandbox, caller)
}

impl Caller {
    async fn ask(&self, change: &str, named: &str, body: &Value) -> Seen {
        let url = format!("{}/v1/charges/KEY/{change}", self.url);
        let request = self.http.post(url).header("Idempotency-Key", named).json(body);
        Seen::of(request.timeout(self.patience).send().await).await
    }

    async fn capture(&self, amount: &str) -> Seen {
        self.ask("capture", "KEY:capture", &json!({ "amount": amount, "currency": "USD" })).await
    }

    async fn void(&self) -> Seen {
        self.ask("void", "KEY:void", &json!({})).await
    }

    async fn refund(&self, refund_id: &str, amount: &str) -> Seen {
        let body = json!({ "refund_id": refund_id, "amount": amount, "currency": "USD" });
        self.ask("refunds", refund_id, &body).await
    }

    async fn inquire_change(&self, change: &str) -> Seen {
        self.inquire(&format!("KEY/{change}")).await
    }
}

fn declined(status: u16, reason: &str) -> Seen {
    answer(status, json!({ "status": "declined", "reason": reason }))
}

#[tokio::test]
async fn what_is_guaranteed_moves_when_it_is_captured_and_once() {
    let (_sandbox, caller) = charged("credit_card", "manual").await;
    assert_eq!(caller.counts().await.0, 0, "a guarantee moves nothing");
    assert_eq!(caller.inquire_change("capture").await, not_found());
    assert_eq!(caller.capture("5.00").await, succeeded(201, "KEY"));
    assert_eq!(caller.capture("5.00").await, succeeded(201, "KEY"));
    assert_eq!(caller.inquire_change("capture").await, succeeded(200, "KEY"));
    assert_eq!(caller.capture("5.01").await.status(), 422);
    assert_eq!(caller.void().await, declined(402, "already_captured"));
    let record = caller.record().await;
    assert_eq!((record[0]["charged_times"].as_u64(), &record[0]["captured"]), (Some(1), &json!("5.00")));
}

#[tokio::test]
async fn no_more_than_what_is_guaranteed_can_be_captured() {
    let (_sandbox, caller) = charged("credit_card", "manual").await;
    assert_eq!(caller.capture("7.54").await, declined(402, "amount_too_large"));
    assert_eq!(caller.inquire_change("capture").await, declined(200, "declined"));
    assert_eq!(caller.counts().await.0, 0);
}

#[tokio::test]
async fn what_is_voided_cannot_be_captured() {
    let (_sandbox, caller) = charged("credit_card", "manual").await;
    assert_eq!(caller.void().await, succeeded(201, "KEY"));
    assert_eq!(caller.void().await, succeeded(201, "KEY"));
    assert_eq!(caller.inquire_change("void").await, succeeded(200, "KEY"));
    assert_eq!(caller.capture("7.53").await, declined(402, "not_authorized"));
    assert_eq!(caller.counts().await.0, 0);
}

#[tokio::test]
async fn refunds_never_exceed_what_was_taken() {
    let (_sandbox, caller) = charged("credit_card", "automatic").await;
    assert_eq!(caller.refund("R1", "5.00").await, succeeded(201, "R1"));
    assert_eq!(caller.refund("R1", "5.00").await, succeeded(201, "R1"));
    assert_eq!(caller.refund("R2", "2.54").await, declined(402, "amount_too_large"));
    assert_eq!(caller.refund("R3", "2.53").await, succeeded(201, "R3"));
    assert_eq!(caller.inquire_change("refunds/R3").await, succeeded(200, "R3"));
    assert_eq!(caller.inquire_change("refunds/R4").await, not_found());
    let changes = caller.record().await[0]["changes"].clone();
    let times = |id: &str| {
        changes.as_array().unwrap().iter().find(|change| change["id"] == id).unwrap()["done_times"].as_u64()
    };
    assert_eq!((times("R1"), times("R2"), times("R3")), (Some(1), Some(0), Some(1)));
}

#[tokio::test]
async fn only_what_was_taken_can_be_refunded() {
    let (_sandbox, caller) = charged("credit_card", "manual").await;
    assert_eq!(caller.refund("R1", "1.00").await, declined(402, "not_captured"));
}

#[tokio::test]
async fn a_change_of_no_charge_is_not_found() {
    let (_sandbox, caller) = started(Behaviour::default()).await;
    for seen in [caller.capture("1.00").await, caller.void().await, caller.refund("R1", "1.00").await] {
        assert_eq!(seen, not_found());
    }
}

#[tokio::test]
async fn each_magic_method_does_what_it_says() {
    let (_sandbox, caller) = charged("card_refund_declined", "automatic").await;
    assert_eq!(caller.refund("R1", "1.00").await, declined(402, "declined"));
    let (_sandbox, caller) = charged("card_refund_lost_answer", "automatic").await;
    assert_eq!(caller.hasty().refund("R1", "1.00").await, Seen::Silence);
    assert_eq!(caller.inquire_change("refunds/R1").await, succeeded(200, "R1"));
    let (_sandbox, caller) = charged("card_refund_timeout", "automatic").await;
    assert_eq!(caller.hasty().refund("R1", "1.00").await, Seen::Silence);
    assert_eq!(caller.inquire_change("refunds/R1").await, not_found());
    assert_eq!(caller.refund("R1", "1.00").await, succeeded(201, "R1"));
    let (_sandbox, caller) = charged("card_capture_declined", "manual").await;
    assert_eq!(caller.capture("1.00").await, declined(402, "declined"));
    let (_sandbox, caller) = charged("card_capture_done_then_error", "manual").await;
    assert_eq!(caller.capture("1.00").await.status(), 500);
    assert_eq!(caller.inquire_change("capture").await, succeeded(200, "KEY"));
    let (_sandbox, caller) = charged("card_void_timeout", "manual").await;
    assert_eq!(caller.hasty().void().await, Seen::Silence);
    assert_eq!(caller.inquire_change("void").await, not_found());
    assert_eq!(caller.void().await, succeeded(201, "KEY"));
}

#[tokio::test]
async fn a_change_survives_a_restart() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    let caller = Caller::of(&sandbox);
    let body = json!({
        "payment_id": "KEY", "amount": "7.53", "currency": "USD", "payment_method": "card", "capture": "manual",
    });
    assert_eq!(caller.pay_body("KEY", &body).await, succeeded(201, "KEY"));
    assert_eq!(caller.capture("5.00").await, succeeded(201, "KEY"));
    assert_eq!(caller.refund("R1", "2.00").await, succeeded(201, "R1"));
    let before = caller.record().await;
    sandbox.stop().await;
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    let caller = Caller::of(&sandbox);
    assert_eq!(caller.record().await, before);
    assert_eq!(caller.refund("R2", "3.01").await, declined(402, "amount_too_large"));
}
