//! What each magic payment method and each share does to a charge.

use super::*;

async fn fresh() -> (Sandbox, Caller) {
    started(Behaviour::default()).await
}

#[tokio::test]
async fn a_charge_succeeds_and_its_repeat_gets_the_same_answer() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.inquire("KEY").await, not_found());
    assert_eq!(caller.pay("KEY", "credit_card").await, succeeded(201, "KEY"));
    assert_eq!(caller.pay("KEY", "credit_card").await, succeeded(201, "KEY"));
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    let transaction_id = crate::sandbox::behaviour::transaction_id("KEY");
    assert_eq!(
        caller.record().await,
        [json!({
            "idempotency_key": "KEY", "payment_id": "PAY_42", "amount": "7.53",
            "currency": "USD", "status": "succeeded", "transaction_id": transaction_id,
            "charged_times": 1, "requests": 2, "captured": "7.53",
        })]
    );
}

#[tokio::test]
async fn a_key_used_with_another_body_is_refused() {
    let (_sandbox, caller) = fresh().await;
    caller.pay("KEY", "credit_card").await;
    let refused = caller.pay_amount("KEY", "credit_card", "7.54").await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().contains("another amount"), "{refused:?}");
    assert_eq!(caller.counts().await, (1, 2));
}

#[tokio::test]
async fn declines_say_why_and_charge_nothing() {
    for (method, reason) in
        [("card_declined", "card_declined"), ("card_insufficient", "insufficient_card_funds")]
    {
        let (_sandbox, caller) = fresh().await;
        let body = json!({ "status": "declined", "reason": reason });
        assert_eq!(caller.pay("KEY", method).await, answer(402, body.clone()));
        assert_eq!(caller.pay("KEY", method).await, answer(402, body.clone()));
        assert_eq!(caller.inquire("KEY").await, answer(200, body));
        assert_eq!(caller.counts().await, (0, 2));
        assert_eq!(caller.record().await[0]["transaction_id"], Value::Null);
    }
}

#[tokio::test]
async fn a_lost_answer_was_charged_and_its_repeat_is_answered() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.hasty().pay("KEY", "card_lost_answer").await, Seen::Silence);
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    assert_eq!(caller.pay("KEY", "card_lost_answer").await, succeeded(201, "KEY"));
    assert_eq!(caller.counts().await, (1, 2));
}

#[tokio::test]
async fn a_timeout_charges_nothing_before_the_second_request() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.hasty().pay("KEY", "card_timeout").await, Seen::Silence);
    assert_eq!(caller.inquire("KEY").await, not_found());
    assert_eq!(caller.counts().await, (0, 1));
    assert_eq!(caller.pay("KEY", "card_timeout").await, succeeded(201, "KEY"));
    assert_eq!(caller.counts().await, (1, 2));
}

#[tokio::test]
async fn a_server_error_charges_nothing_before_the_second_request() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.pay("KEY", "card_server_error").await.status(), 500);
    assert_eq!(caller.inquire("KEY").await, not_found());
    assert_eq!(caller.pay("KEY", "card_server_error").await, succeeded(201, "KEY"));
    assert_eq!(caller.counts().await, (1, 2));
}

#[tokio::test]
async fn a_charge_that_answered_an_error_is_found_by_inquiry() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.pay("KEY", "card_charged_then_error").await.status(), 500);
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    assert_eq!(caller.counts().await, (1, 1));
}

#[tokio::test]
async fn a_dropped_connection_ends_without_a_byte_of_an_answer() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.pay("KEY", "card_dropped").await, Seen::Dropped);
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    assert_eq!(caller.pay("KEY", "card_dropped").await, succeeded(201, "KEY"));
    assert_eq!(caller.counts().await, (1, 2));
}

#[tokio::test]
async fn a_charge_that_is_never_known_stays_unknown() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.hasty().pay("KEY", "card_never_known").await, Seen::Silence);
    assert_eq!(caller.hasty().pay("KEY", "card_never_known").await, Seen::Silence);
    for _ in 0..4 {
        assert_eq!(caller.inquire("KEY").await.status(), 503);
    }
    assert_eq!(caller.counts().await, (0, 2));
}

#[tokio::test]
async fn a_processing_charge_is_made_by_the_third_inquiry() {
    let (_sandbox, caller) = fresh().await;
    let processing = |status| answer(status, json!({ "status": "processing" }));
    assert_eq!(caller.pay("KEY", "card_processing").await, processing(202));
    assert_eq!(caller.inquire("KEY").await, processing(200));
    assert_eq!(caller.pay("KEY", "card_processing").await, processing(202));
    assert_eq!(caller.inquire("KEY").await, processing(200));
    assert_eq!(caller.counts().await, (0, 2));
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    assert_eq!(caller.inquire("KEY").await, succeeded(200, "KEY"));
    assert_eq!(caller.pay("KEY", "card_processing").await, succeeded(201, "KEY"));
    assert_eq!(caller.counts().await, (1, 3));
}

#[tokio::test]
async fn a_slow_charge_is_made_at_once_and_answered_later() {
    let (_sandbox, caller) = fresh().await;
    assert_eq!(caller.hasty().pay("KEY", "card_slow").await, Seen::Silence);
    assert_eq!(caller.counts().await, (1, 1));
    assert_eq!(caller.pay("KEY", "card_slow").await, succeeded(201, "KEY"));
}

#[tokio::test]
async fn sixty_four_requests_at_once_with_one_key_charge_once() {
    let (_sandbox, caller) = fresh().await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let caller = caller.clone();
        requests.spawn(async move { caller.pay("KEY", "card").await });
    }
    for seen in requests.join_all().await {
        assert_eq!(seen, succeeded(201, "KEY"));
    }
    assert_eq!(caller.counts().await, (1, 64));
}

#[tokio::test]
async fn a_share_of_all_meets_every_payment_and_a_repeat_is_the_same_payment() {
    let all = |field: &str| json!({ field: 1000 });
    let (_sandbox, caller) = fresh().await;
    caller.behave(&all("decline_per_mille")).await;
    assert_eq!(caller.pay("DECLINED", "card").await.status(), 402);
    caller.behave(&all("lost_answer_per_mille")).await;
    assert_eq!(caller.pay("DECLINED", "card").await.status(), 402);
    assert_eq!(caller.hasty().pay("LOST", "card").await, Seen::Silence);
    assert_eq!(caller.inquire("LOST").await, succeeded(200, "LOST"));
    caller.behave(&all("timeout_per_mille")).await;
    assert_eq!(caller.hasty().pay("TIMEOUT", "card").await, Seen::Silence);
    assert_eq!(caller.inquire("TIMEOUT").await, not_found());
    assert_eq!(caller.pay("TIMEOUT", "card").await, succeeded(201, "TIMEOUT"));
    caller.behave(&all("server_error_per_mille")).await;
    assert_eq!(caller.pay("ERROR", "card").await.status(), 500);
    assert_eq!(caller.pay("ERROR", "card").await, succeeded(201, "ERROR"));
}

#[tokio::test]
async fn a_share_meets_about_that_many_and_the_same_ones_in_every_sandbox() {
    let mut fates = Vec::new();
    for _ in 0..2 {
        let behaviour = Behaviour { decline_per_mille: 300, ..Behaviour::default() };
        let (_sandbox, caller) = started(behaviour).await;
        let mut statuses = Vec::new();
        for number in 0..500 {
            statuses.push(caller.pay(&format!("KEY_{number}"), "card").await.status());
        }
        fates.push(statuses);
    }
    assert_eq!(fates[0], fates[1]);
    let declined = fates[0].iter().filter(|status| **status == 402).count();
    assert!((110..=190).contains(&declined), "{declined} of 500 at 300 per mille");
}
