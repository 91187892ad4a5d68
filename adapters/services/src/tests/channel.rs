//! What each treatment by the channel means.

use axum::http::StatusCode;
use axum::routing::any;

use super::*;

/// Pays by `payment_method`, then inquires.
async fn pay_then_inquire(payment_method: &str, timeout: Duration) -> (String, String) {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    let paid = pay(&channel(&url, timeout), "PAY_42", payment_method).await;
    (paid, inquire(&channel(&url, PATIENCE), "PAY_42").await)
}

async fn check(payment_method: &str, paid: &str, inquired: &str) {
    assert_eq!(pay_then_inquire(payment_method, PATIENCE).await, (paid.to_owned(), inquired.to_owned()));
}

async fn check_silent(payment_method: &str, inquired: &str) {
    let unknown = "unknown: no answer within 150 ms".to_owned();
    assert_eq!(pay_then_inquire(payment_method, HASTE).await, (unknown, inquired.to_owned()));
}

#[tokio::test]
async fn a_charge_that_succeeds_is_paid() {
    check("credit_card", "done", "done").await;
}

#[tokio::test]
async fn a_decline_keeps_its_reason() {
    check("card_declined", "declined: card_declined", "declined: card_declined").await;
    check("card_insufficient", "declined: insufficient_card_funds", "declined: insufficient_card_funds")
        .await;
}

#[tokio::test]
async fn a_lost_answer_is_unknown_until_inquiry_says_paid() {
    check_silent("card_lost_answer", "done").await;
}

#[tokio::test]
async fn a_charge_that_timed_out_before_it_was_made_is_not_found_and_can_be_paid() {
    let sandbox = sandbox().await;
    let hasty = channel(&sandbox.base_url(), HASTE);
    assert_eq!(pay(&hasty, "PAY_42", "card_timeout").await, "unknown: no answer within 150 ms");
    let channel = channel(&sandbox.base_url(), PATIENCE);
    assert_eq!(inquire(&channel, "PAY_42").await, "not found");
    assert_eq!(pay(&channel, "PAY_42", "card_timeout").await, "done");
    assert_eq!(inquire(&channel, "PAY_42").await, "done");
}

#[tokio::test]
async fn a_server_error_is_unknown_whether_or_not_it_charged() {
    check("card_server_error", "unknown: status 500", "not found").await;
    check("card_charged_then_error", "unknown: status 500", "done").await;
}

#[tokio::test]
async fn a_dropped_connection_is_unknown() {
    check("card_dropped", "unknown: connection lost", "done").await;
}

#[tokio::test]
async fn a_charge_in_processing_is_unknown_until_it_is_done() {
    let sandbox = sandbox().await;
    let channel = channel(&sandbox.base_url(), PATIENCE);
    assert_eq!(pay(&channel, "PAY_42", "card_processing").await, "unknown: processing");
    assert_eq!(inquire(&channel, "PAY_42").await, "unknown: processing");
    assert_eq!(inquire(&channel, "PAY_42").await, "unknown: processing");
    assert_eq!(inquire(&channel, "PAY_42").await, "done");
}

#[tokio::test]
async fn a_charge_that_is_never_known_stays_unknown() {
    check_silent("card_never_known", "unknown: status 503").await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_charge_is_unknown() {
    let sandbox = sandbox().await;
    let channel = channel(&sandbox.base_url(), PATIENCE);
    assert_eq!(pay(&channel, "PAY_42", "credit_card").await, "done");
    assert_eq!(pay(&channel, "PAY_42", "debit_card").await, "unknown: status 422");
}

#[tokio::test]
async fn paying_twice_finds_the_one_transaction() {
    let sandbox = sandbox().await;
    let channel = channel(&sandbox.base_url(), PATIENCE);
    let order = ChannelOrder::Pay(charge("PAY_42", "credit_card"));
    let first = channel.carry_out(&order, &context()).await;
    let again = channel.carry_out(&order, &context()).await;
    let inquired = channel.inquire(&order, &context()).await;
    assert_eq!((&first, &first), (&again, &inquired));
    let another = ChannelOrder::Pay(charge("PAY_43", "credit_card"));
    assert_ne!(first, channel.carry_out(&another, &context()).await);
}

/// What is known of an order before it is given, of giving it, and afterwards.
async fn given(channel: &HttpChannel, order: &ChannelOrder) -> [String; 3] {
    let before = said(channel.inquire(order, &context()).await);
    let given = said(channel.carry_out(order, &context()).await);
    [before, given, said(channel.inquire(order, &context()).await)]
}

#[tokio::test]
async fn what_is_guaranteed_is_captured_or_voided_and_what_is_taken_refunded() {
    let sandbox = sandbox().await;
    let channel = channel(&sandbox.base_url(), PATIENCE);
    for id in ["PAY_42", "PAY_43"] {
        let guarantee = Charge { capture: CaptureMode::Manual, ..charge(id, "credit_card") };
        let guarantee = ChannelOrder::Pay(guarantee);
        assert_eq!(given(&channel, &guarantee).await, ["not found", "done", "done"]);
    }
    let part = |minor| Money { minor, currency: Currency::USD };
    let refund = |id: &str, minor| ChannelOrder::Refund {
        payment_id: payment("PAY_42"),
        refund_id: RefundId::parse(id).unwrap(),
        amount: part(minor),
    };
    let orders = [
        (ChannelOrder::Capture { payment_id: payment("PAY_42"), amount: part(500) }, "done"),
        (refund("REF_1", 300), "done"),
        (refund("REF_2", 300), "declined: amount_too_large"),
        (ChannelOrder::Void { payment_id: payment("PAY_43") }, "done"),
        (
            ChannelOrder::Capture { payment_id: payment("PAY_43"), amount: part(1) },
            "declined: not_authorized",
        ),
    ];
    for (order, outcome) in orders {
        let after = if outcome == "done" { outcome } else { "declined: declined" };
        assert_eq!(given(&channel, &order).await, ["not found", outcome, after], "{order:?}");
    }
}

#[tokio::test]
async fn a_channel_that_is_away_is_unknown() {
    let channel = channel(&nowhere().await, PATIENCE);
    assert_eq!(pay(&channel, "PAY_42", "credit_card").await, "unknown: connection failed");
    assert_eq!(inquire(&channel, "PAY_42").await, "unknown: connection failed");
}

/// Status and body of an answer, and what it means for a charge and for an inquiry.
type Meaning = (u16, &'static str, &'static str, &'static str);

const MEANINGS: &[Meaning] = &[
    // Only the status and body that belong together say that money moved or did not.
    (201, r#"{"status":"succeeded","transaction_id":"txn_1"}"#, "done", "unknown: status 201"),
    (200, r#"{"status":"succeeded","transaction_id":"txn_1"}"#, "unknown: status 200", "done"),
    (201, r#"{"status":"succeeded"}"#, NO_OUTCOME_201, NO_OUTCOME_201),
    (201, r#"{"status":"succeeded","transaction_id":"a b"}"#, NO_OUTCOME_201, NO_OUTCOME_201),
    (201, r#"{"status":"settled","transaction_id":"txn_1"}"#, NO_OUTCOME_201, NO_OUTCOME_201),
    (201, "", NO_OUTCOME_201, NO_OUTCOME_201),
    (201, r#"{"status":"declined","reason":"no"}"#, "unknown: status 201", "unknown: status 201"),
    (402, r#"{"status":"declined","reason":"no"}"#, "declined: no", "unknown: status 402"),
    (402, r#"{"status":"declined"}"#, "declined: declined", "unknown: status 402"),
    (402, r#"{"status":"declined","reason":"a\u0000b"}"#, "declined: declined", "unknown: status 402"),
    (402, "pay your hosting bill", "unknown: status 402", "unknown: status 402"),
    (402, r#"{"status":"succeeded","transaction_id":"txn_1"}"#, "unknown: status 402", "unknown: status 402"),
    (404, r#"{"status":"not_found"}"#, "unknown: status 404", "not found"),
    (404, "no such page", "unknown: status 404", "unknown: status 404"),
    (404, r#"{"status":"error"}"#, "unknown: status 404", "unknown: status 404"),
    (200, r#"{"status":"not_found"}"#, "unknown: status 200", "unknown: status 200"),
    (302, "", "unknown: status 302", "unknown: status 302"),
    (409, r#"{"status":"error"}"#, "unknown: status 409", "unknown: status 409"),
    (503, r#"{"status":"declined"}"#, "unknown: status 503", "unknown: status 503"),
];

const NO_OUTCOME_201: &str = "unknown: status 201 without an outcome";

#[tokio::test]
async fn only_a_status_and_a_body_that_agree_are_an_outcome() {
    for (status, body, paid, inquired) in MEANINGS {
        let status = StatusCode::from_u16(*status).unwrap();
        // The redirect leads to an answer that would be taken for paid.
        let answer = move || async move { (status, [("location", "/elsewhere")], *body) };
        let elsewhere = || async { (StatusCode::CREATED, MEANINGS[0].1) };
        let router = Router::new().route("/elsewhere", any(elsewhere)).fallback(answer);
        let (url, _server) = served(router).await;
        let channel = channel(&url, PATIENCE);
        assert_eq!(pay(&channel, "PAY_42", "credit_card").await, *paid, "charge: {status} {body}");
        assert_eq!(inquire(&channel, "PAY_42").await, *inquired, "inquiry: {status} {body}");
    }
}
