//! Every step of a payment that can fail, and what is left when it did.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::support::scene::PATIENCE;
use crate::support::{Client, Payment, Scene, eventually};

/// Events of a payment that is paid at once.
const COMPLETED: [&str; 7] = [
    "PaymentInitiated",
    "RiskAssessed",
    "FundsReserved",
    "FundsHeld",
    "PaymentCompleted",
    "HoldCaptured",
    "FundsCredited",
];

const UNTOUCHED: [&str; 3] = ["100.00", "0.00", "100.00"];

#[tokio::test(flavor = "multi_thread")]
async fn a_high_risk_is_rejected_before_any_money_is_touched() {
    let scene = Scene::start("high-risk");
    let account = scene.account("alice", "USD", "100.00").await;
    let rejected = scene.client.pay(&Payment::of("alice", "p1", "1.00").by("card_high_risk")).await;
    assert_eq!((rejected.status, rejected.code()), (422, "risk_rejected"));
    assert_eq!(rejected.body["payment_id"], "p1");
    assert_eq!(scene.events("p1").await, ["PaymentInitiated", "RiskAssessed", "PaymentRejected"]);
    assert_eq!(scene.client.payment("p1").await.body["status"], "rejected");
    assert_eq!(scene.charge("p1").await, None);
    // A medium risk is not a high one.
    let paid = scene.client.pay(&Payment::of("alice", "p2", "1.00").by("card_medium_risk")).await;
    assert_eq!((paid.status, paid.body.get("degraded")), (201, None), "{}", paid.text);
    assert_eq!(scene.balance(&account).await, ["99.00", "0.00", "99.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_risk_is_down_small_payments_go_on_and_others_leave_no_trace() {
    let scene = Scene::start("risk-down");
    let account = scene.account("alice", "USD", "100.00").await;
    scene.sandbox_behaves(&json!({ "risk_stalled": true })).await;
    let small = scene.client.pay(&Payment::of("alice", "small", "10.00")).await;
    assert_eq!((small.status, small.body["degraded"].as_bool()), (201, Some(true)), "{}", small.text);
    assert_eq!(scene.events("small").await, COMPLETED);
    let risk = scene.client.payment("small").await.body["risk"].clone();
    assert_eq!((risk["degraded"].as_bool(), risk["level"].as_str()), (Some(true), None), "{risk}");

    // A currency without a limit has no small payments.
    scene.account("alice", "GBP", "100.00").await;
    let head = scene.books().await.events;
    let large = Payment::of("alice", "large", "10.01");
    let refused = scene.client.pay(&large).await;
    assert_eq!((refused.status, refused.code()), (503, "risk_unavailable"));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    let mut pound = Payment::of("alice", "pound", "0.01").body();
    pound["currency"] = json!("GBP");
    assert_eq!(scene.client.post("/api/v1/payments", "", &pound).await.code(), "risk_unavailable");
    for payment_id in ["large", "pound"] {
        assert_eq!(scene.client.payment(payment_id).await.code(), "payment_not_found");
        assert_eq!(scene.charge(payment_id).await, None);
    }
    assert_eq!(scene.books().await.events, head, "a refused payment records nothing");
    assert_eq!(scene.balance(&account).await, ["90.00", "0.00", "90.00"]);

    scene.sandbox_behaves(&json!({})).await;
    let paid = scene.client.pay(&large).await;
    assert_eq!((paid.status, paid.replayed), (201, false), "{}", paid.text);
    assert_eq!(paid.body.get("degraded"), None, "{}", paid.text);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_risk_service_that_fails_is_a_risk_service_that_is_down() {
    let scene = Scene::start_with(
        "risk-error",
        &[("PAYMENTS_SERVICES__BREAKER_FAILURES", "2"), ("PAYMENTS_SERVICES__BREAKER_OPEN_MS", "60000")],
    );
    let account = scene.account("alice", "USD", "100.00").await;
    for (payment_id, amount, method, status) in [
        ("by-error", "10.00", "card_risk_error", 201),
        ("by-silence", "10.01", "card_risk_timeout", 503),
        // Two failures have opened the breaker: the risk service is well again, but not asked.
        ("by-breaker", "10.00", "credit_card", 201),
        ("by-breaker-too", "10.01", "credit_card", 503),
    ] {
        let answer = scene.client.pay(&Payment::of("alice", payment_id, amount).by(method)).await;
        assert_eq!(answer.status, status, "{payment_id}: {}", answer.text);
        if status == 201 {
            assert_eq!(answer.body["degraded"], true, "{payment_id}: {}", answer.text);
        } else {
            assert_eq!(scene.client.payment(payment_id).await.status, 404);
        }
    }
    let risk = scene.client.payment("by-breaker").await.body["risk"].clone();
    assert!(risk["reason"].as_str().unwrap().contains("breaker"), "{risk}");
    assert_eq!(scene.balance(&account).await, ["80.00", "0.00", "80.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_pay_fails_the_payment_and_holds_nothing() {
    let scene = Scene::start("cannot-pay");
    let poor = scene.account("poor", "USD", "0.99").await;
    let frozen = scene.account("frozen", "USD", "100.00").await;
    let freeze = format!("/api/v1/accounts/{frozen}/freeze");
    assert_eq!(scene.client.post(&freeze, "freeze", &json!({})).await.status, 200);
    scene.account("elsewhere", "EUR", "100.00").await;
    for (user_id, code) in [
        ("poor", "insufficient_funds"),
        ("frozen", "account_frozen"),
        ("nobody", "account_not_found"),
        ("elsewhere", "account_not_found"),
    ] {
        let failed = scene.client.pay(&Payment::of(user_id, user_id, "1.00")).await;
        assert_eq!((failed.status, failed.code()), (422, code), "{}", failed.text);
        assert_eq!(failed.body["payment_id"], user_id);
        assert_eq!(scene.events(user_id).await, ["PaymentInitiated", "RiskAssessed", "PaymentFailed"]);
        let read = scene.client.payment(user_id).await.body;
        assert_eq!((read["status"].as_str(), read["failure"]["code"].as_str()), (Some("failed"), Some(code)));
        assert_eq!(scene.charge(user_id).await, None);
    }
    assert_eq!(scene.balance(&poor).await, ["0.99", "0.00", "0.99"]);
    assert_eq!(scene.balance(&frozen).await, UNTOUCHED);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_releases_the_hold_in_the_append_that_fails_the_payment() {
    let scene = Scene::start("decline");
    let account = scene.account("alice", "USD", "100.00").await;
    for method in ["card_declined", "card_insufficient"] {
        let declined = scene.client.pay(&Payment::of("alice", method, "7.53").by(method)).await;
        assert_eq!((declined.status, declined.code()), (422, "channel_declined"), "{}", declined.text);
        let story = scene.story(method).await;
        let names: Vec<&str> = story.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "PaymentInitiated",
            "RiskAssessed",
            "FundsReserved",
            "FundsHeld",
            "PaymentFailed",
            "HoldReleased",
        ];
        assert_eq!(names, expected);
        assert_eq!(story[5].1, story[4].1 + 1, "released right behind the failure");
        assert_eq!(scene.charged_times(method).await, 0);
    }
    assert_eq!(scene.balance(&account).await, UNTOUCHED);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_channel_leaves_unsaid_is_found_out_and_charged_once() {
    let scene = Scene::start("unsaid");
    let methods = [
        "card_lost_answer",
        "card_timeout",
        "card_server_error",
        "card_charged_then_error",
        "card_dropped",
        "card_processing",
        "card_slow",
    ];
    for method in methods {
        scene.account(method, "USD", "100.00").await;
    }
    let payments: Vec<Payment> = methods.map(|method| Payment::of(method, method, "7.53").by(method)).into();
    let answers = join_all(payments.iter().map(|payment| scene.client.pay(payment))).await;
    for (method, answer) in methods.iter().zip(&answers) {
        assert!(matches!(answer.status, 201 | 202), "{method}: {}", answer.text);
        let settled = scene.client.settled(method, PATIENCE).await;
        assert_eq!(settled["status"], "completed", "{method}");
        let charge = scene.charge(method).await.unwrap();
        assert_eq!(charge["charged_times"], 1, "{method}");
        assert_eq!(charge["transaction_id"], settled["transaction_id"], "{method}");
        let unknown = scene.events(method).await.contains(&"ChannelOutcomeUnknown".to_owned());
        // The slow answer and the time limit are close to each other: either may come first.
        assert!(unknown || *method == "card_slow", "{method} was found out by inquiry");
    }
    assert_eq!(scene.end_settled().await.completed.len(), methods.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_nobody_tells_ends_in_review_with_the_hold_kept() {
    let scene = Scene::start_with(
        "review",
        &[
            ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "1200"),
            ("PAYMENTS_SAGA__REVIEW_AFTER_MS", "2000"),
            ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "800"),
        ],
    );
    let account = scene.account("alice", "USD", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53").by("card_never_known");
    let asked = std::time::Instant::now();
    let given_up = scene.client.pay(&payment).await;
    assert_eq!((given_up.status, given_up.body["status"].as_str()), (202, Some("processing")));
    assert_eq!((given_up.body["payment_id"].as_str(), given_up.header("retry-after")), (Some("p1"), "1"));
    assert!(asked.elapsed() < Duration::from_secs(2), "answered at its time limit: {:?}", asked.elapsed());
    assert_eq!(scene.client.pay(&payment).await.code(), "request_in_flight");

    let settled = scene.client.settled("p1", PATIENCE).await;
    assert_eq!(settled["status"], "needs_review");
    let expected = [
        "PaymentInitiated",
        "RiskAssessed",
        "FundsReserved",
        "FundsHeld",
        "ChannelOutcomeUnknown",
        "ReviewRequired",
    ];
    assert_eq!(scene.events("p1").await, expected);
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);
    let repeat = scene.client.pay(&payment).await;
    assert_eq!((repeat.status, repeat.body["status"].as_str()), (202, Some("needs_review")));
    assert!(repeat.replayed);
    assert_eq!(repeat.body["balance"]["held"], "7.53", "the answer tells of the hold that stays");

    // It stays so, whoever starts again.
    let scene = scene.killed_and_started_again();
    assert_eq!(scene.client.pay(&payment).await.text, repeat.text);
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);
    assert_eq!(scene.charged_times("p1").await, 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_captured_by_hand_is_authorized_and_keeps_its_hold() {
    let scene = Scene::start("manual");
    let account = scene.account("alice", "USD", "100.00").await;
    let request = json!({ "payment_id": "p1", "user_id": "alice", "amount": "7.53", "currency": "USD",
                          "payment_method": "credit_card", "capture": "manual" });
    let authorized = scene.client.post("/api/v1/payments", "by-hand", &request).await;
    assert_eq!((authorized.status, &authorized.body["status"]), (201, &json!("authorized")));
    let balance = &authorized.body["balance"];
    assert_eq!((&balance["held"], &balance["available"]), (&json!("7.53"), &json!("92.47")));
    assert!(authorized.body["transaction_id"].is_string(), "{}", authorized.text);
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);
    let expected = ["PaymentInitiated", "RiskAssessed", "FundsReserved", "FundsHeld", "PaymentAuthorized"];
    assert_eq!(scene.events("p1").await, expected);

    let scene = scene.killed_and_started_again();
    assert_eq!(scene.client.post("/api/v1/payments", "by-hand", &request).await.text, authorized.text);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_slower_than_its_time_limit_completes_behind_its_callers_back() {
    let scene = Scene::start_with(
        "slow",
        &[("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "400"), ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "5000")],
    );
    let account = scene.account("alice", "USD", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53").by("card_slow");
    let given_up = scene.client.pay(&payment).await;
    assert_eq!((given_up.status, given_up.body["status"].as_str()), (202, Some("processing")));
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);

    assert_eq!(scene.client.settled("p1", PATIENCE).await["status"], "completed");
    let repeat = scene.client.pay(&payment).await;
    assert_eq!((repeat.status, repeat.body["status"].as_str()), (201, Some("completed")), "{}", repeat.text);
    assert_eq!(repeat.body["balance"]["available"], "92.47");
    assert_eq!(scene.client.pay(&payment).await.text, repeat.text);
    assert_eq!(scene.events("p1").await, COMPLETED);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_on_when_its_caller_hangs_up() {
    let scene = Scene::start_with("hang-up", &[("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "5000")]);
    scene.account("alice", "USD", "100.00").await;
    // Hung up on while the channel is asked, and while the risk service still thinks about it.
    for (payment_id, method, behaviour) in [
        ("at-the-channel", "card_slow", json!({})),
        ("at-the-risk", "credit_card", json!({ "risk_latency_ms": 700 })),
    ] {
        scene.sandbox_behaves(&behaviour).await;
        let payment = Payment::of("alice", payment_id, "7.53").by(method);
        let hasty = Client::patient_for(scene.url(), Duration::from_millis(250));
        assert!(hasty.try_pay(&payment).await.unwrap_err().is_timeout());

        eventually("the payment is completed", async || {
            scene.client.payment(payment_id).await.body["status"] == "completed"
        })
        .await;
        let repeat = scene.client.pay(&payment).await;
        assert_eq!((repeat.status, repeat.replayed), (201, true), "{}", repeat.text);
        assert_eq!(scene.charged_times(payment_id).await, 1);
    }
    scene.end_settled().await;
}
