//! Manual capture: authorized, then captured, voided or expired, and exactly one of them.

use std::time::Duration;

use futures::future::{join, join_all};
use serde_json::json;

use crate::support::client::Answer;
use crate::support::{Chance, Payment, Scene, eventually};

const AUTHORIZED: [&str; 5] =
    ["PaymentInitiated", "RiskAssessed", "FundsReserved", "FundsHeld", "PaymentAuthorized"];

/// A user with 100.00 and a payment of 10.00 that is authorized.
async fn authorized(scene: &Scene, payment_id: &str, method: &str) -> String {
    let account = scene.account("alice", "USD", "100.00").await;
    let answer = scene.client.authorize(&Payment::of("alice", payment_id, "10.00").by(method)).await;
    assert_eq!((answer.status, answer.body["status"].as_str()), (201, Some("authorized")), "{}", answer.text);
    assert_eq!(scene.events(payment_id).await, AUTHORIZED);
    assert_eq!(scene.balance(&account).await, ["100.00", "10.00", "90.00"]);
    assert_eq!(scene.charged_times(payment_id).await, 0, "a guarantee moves nothing");
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_captured_once_and_the_rest_is_free_again() {
    let scene = Scene::start("capture-part");
    let account = authorized(&scene, "p", "credit_card").await;
    let part = json!({ "amount": "4.00" });
    let captured = scene.client.change("p", "capture", "c1", &part).await;
    assert_eq!(captured.status, 200, "{}", captured.text);
    assert_eq!((&captured.body["status"], &captured.body["captured"]), (&json!("completed"), &json!("4.00")));
    assert_eq!(captured.body["balance"]["available"], "96.00");
    assert_eq!(scene.balance(&account).await, ["96.00", "0.00", "96.00"]);
    assert_eq!(scene.charge("p").await.unwrap()["captured"], "4.00");

    let again = scene.client.change("p", "capture", "c1", &part).await;
    assert!(again.replayed && again.text == captured.text, "{}", again.text);
    let other = scene.client.change("p", "capture", "c1", &json!({ "amount": "5.00" })).await;
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));
    for (change, key) in [("capture", "c2"), ("void", "v")] {
        let late = scene.client.change("p", change, key, &json!({})).await;
        assert_eq!((late.status, late.code()), (409, "wrong_payment_status"), "{}", late.text);
    }
    assert_eq!(scene.charged_times("p").await, 1);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_captured_is_refused_by_name() {
    let scene = Scene::start("capture-refused");
    let account = authorized(&scene, "p", "credit_card").await;
    for (body, status, code, param) in [
        (json!({ "amount": "10.01" }), 422, "capture_too_large", Some("amount")),
        (json!({ "amount": "0.00" }), 422, "invalid_amount", Some("amount")),
        (json!({ "amount": "1.001" }), 422, "invalid_amount", Some("amount")),
        (json!({ "amount": "1.00", "currency": "EUR" }), 422, "currency_mismatch", Some("currency")),
        (json!({ "sum": "1.00" }), 422, "unknown_field", Some("sum")),
    ] {
        let refused = scene.client.change("p", "capture", &format!("key-{body}"), &body).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{}", refused.text);
        assert_eq!(refused.body["param"].as_str(), param, "{}", refused.text);
    }
    let no_key = scene.client.change("p", "capture", "", &json!({})).await;
    assert_eq!((no_key.status, no_key.code()), (400, "idempotency_key_missing"));
    for change in ["capture", "void", "refunds"] {
        let missing = scene.client.change("nobody", change, &format!("no-{change}"), &json!({})).await;
        assert_eq!((missing.status, missing.code()), (404, "payment_not_found"), "{}", missing.text);
    }
    assert_eq!(scene.balance(&account).await, ["100.00", "10.00", "90.00"]);
    let all = scene.client.change("p", "capture", "all", &json!({})).await;
    assert_eq!((all.status, &all.body["captured"]), (200, &json!("10.00")));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_voided_is_free_again() {
    let scene = Scene::start("void");
    let account = authorized(&scene, "p", "credit_card").await;
    let voided = scene.client.change("p", "void", "v", &json!({})).await;
    assert_eq!((voided.status, &voided.body["status"]), (200, &json!("voided")), "{}", voided.text);
    assert_eq!(scene.balance(&account).await, ["100.00", "0.00", "100.00"]);
    assert_eq!(scene.charge("p").await.unwrap()["status"], "voided");
    let late = scene.client.change("p", "capture", "c", &json!({})).await;
    assert_eq!((late.status, late.code()), (409, "wrong_payment_status"));
    let again = scene.client.change("p", "void", "v", &json!({})).await;
    assert!(again.replayed && again.text == voided.text, "{}", again.text);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_expires_and_releases_its_hold() {
    let settings = [("PAYMENTS_SAGA__AUTHORIZATION_EXPIRES_AFTER_MS", "1500")];
    let scene = Scene::start_with("expiry", &settings);
    let account = authorized(&scene, "p", "credit_card").await;
    eventually("the authorization expires", async || {
        scene.client.payment("p").await.body["status"] == "voided"
    })
    .await;
    assert_eq!(scene.balance(&account).await, ["100.00", "0.00", "100.00"]);
    let story = scene.client.get("/api/v1/payments/p/events").await;
    let started = story.body["data"].as_array().unwrap().iter().find(|event| event["type"] == "VoidStarted");
    let started = started.unwrap();
    assert_eq!(
        (&started["actor"], &started["payload"]["reason"]),
        (&json!("saga:expiry"), &json!("expired"))
    );
    assert_eq!(scene.charge("p").await.unwrap()["status"], "voided");
    scene.end_settled().await;
}

/// Each treatment by the channel, and how the payment ends.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_channel_does_an_end_is_carried_out_once() {
    let scene = Scene::start("end-by-channel");
    scene.account("alice", "USD", "100.00").await;
    for (method, change, status, ending) in [
        ("card_capture_lost_answer", "capture", 200, "completed"),
        ("card_capture_done_then_error", "capture", 200, "completed"),
        ("card_capture_timeout", "capture", 200, "completed"),
        ("card_void_lost_answer", "void", 200, "voided"),
        ("card_void_timeout", "void", 200, "voided"),
        ("card_void_done_then_error", "void", 200, "voided"),
        ("card_capture_declined", "capture", 422, "failed"),
    ] {
        let authorized = scene.client.authorize(&Payment::of("alice", method, "1.00").by(method)).await;
        assert_eq!(authorized.status, 201, "{}", authorized.text);
        let ended = scene.client.change(method, change, &format!("end-{method}"), &json!({})).await;
        assert_eq!(ended.status, status, "{method}: {}", ended.text);
        assert_eq!(scene.client.payment(method).await.body["status"], ending, "{method}");
    }
    let account = scene.account("bob", "USD", "1.00").await;
    assert_eq!(scene.balance(&account).await, ["1.00", "0.00", "1.00"]);
    let books = scene.end_settled().await;
    assert_eq!(books.completed.len(), 3);
}

fn won(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

/// A capture, a void and the expiry at the same moment, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_capture_a_void_and_the_expiry_exactly_one_wins() {
    const PAYMENTS: usize = 40;
    let expiry = Duration::from_millis(900);
    let settings = [
        ("PAYMENTS_SAGA__AUTHORIZATION_EXPIRES_AFTER_MS", "900"),
        ("PAYMENTS_SAGA__RECOVERY_INTERVAL_MS", "20"),
    ];
    let scene = Scene::start_with("end-race", &settings);
    let account = scene.account("alice", "USD", "100.00").await;
    let mut chance = Chance::new("end-race");
    let races = (0..PAYMENTS).map(|number| {
        let (id, scene) = (format!("race{number}"), &scene);
        let (capture_after, void_after) = (chance.millis(0, 120), chance.millis(0, 120));
        async move {
            let authorized = scene.client.authorize(&Payment::of("alice", &id, "1.00")).await;
            assert_eq!(authorized.status, 201, "{}", authorized.text);
            tokio::time::sleep(expiry - Duration::from_millis(60)).await;
            let end = |change: &'static str, after: Duration| {
                let id = id.clone();
                async move {
                    tokio::time::sleep(after).await;
                    scene.client.change(&id, change, &format!("{change}-{id}"), &json!({})).await
                }
            };
            let (captured, voided) = join(end("capture", capture_after), end("void", void_after)).await;
            let answers = [captured, voided];
            for answer in &answers {
                let lost = (answer.status, answer.code()) == (409, "wrong_payment_status");
                assert!(answer.status == 200 || lost, "{}", answer.text);
            }
            assert!(won(&answers) <= 1, "{answers:?}");
            won(&answers)
        }
    });
    let by_clients: usize = join_all(races).await.into_iter().sum();
    scene.settled().await;
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..PAYMENTS {
        let events = scene.events(&format!("race{number}")).await;
        let begun = events.iter().filter(|event| matches!(event.as_str(), "CaptureStarted" | "VoidStarted"));
        assert_eq!(begun.count(), 1, "{events:?}");
        *ends.entry(events.into_iter().find(|event| event.ends_with("Started")).unwrap()).or_default() += 1;
    }
    eprintln!("{by_clients} of {PAYMENTS} were ended by clients, the others expired: {ends:?}");
    let books = scene.books().await;
    let taken = i64::try_from(books.completed.len()).unwrap() * 100;
    assert_eq!(books.posted[&account], 10_000 - taken);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resolves_a_review_over_http() {
    let settings = [
        ("PAYMENTS_SAGA__REVIEW_AFTER_MS", "300"),
        ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "200"),
        ("PAYMENTS_SAGA__INQUIRY_MAX_DELAY_MS", "100"),
    ];
    let scene = Scene::start_with("review-http", &settings);
    let account = scene.account("alice", "USD", "100.00").await;
    for id in ["paid", "unpaid"] {
        let asked = scene.client.pay(&Payment::of("alice", id, "1.00").by("card_never_known")).await;
        assert_eq!((asked.status, &asked.body["status"]), (202, &json!("needs_review")), "{}", asked.text);
    }
    for (body, param) in [
        (json!({ "reason": "statement" }), "outcome"),
        (json!({ "outcome": "perhaps", "reason": "statement" }), "outcome"),
        (json!({ "outcome": "paid" }), "reason"),
        (json!({ "outcome": "not_paid", "transaction_id": "t", "reason": "x" }), "transaction_id"),
    ] {
        let refused = scene.client.change("paid", "review", &format!("{body}"), &body).await;
        assert_eq!((refused.status, refused.body["param"].as_str()), (422, Some(param)), "{}", refused.text);
    }
    let body = json!({ "outcome": "not_paid", "reason": "not on the statement" });
    let resolved = scene.client.change("unpaid", "review", "r1", &body).await;
    assert_eq!((resolved.status, &resolved.body["status"]), (200, &json!("failed")), "{}", resolved.text);
    let again = scene.client.change("unpaid", "review", "r1", &body).await;
    assert!(again.replayed && again.text == resolved.text, "{}", again.text);
    let body = json!({ "outcome": "paid", "reason": "on the statement" });
    let conflict = scene.client.change("unpaid", "review", "r2", &body).await;
    assert_eq!((conflict.status, conflict.code()), (409, "review_conflict"), "{}", conflict.text);
    let resolved = scene.client.change("paid", "review", "r3", &body).await;
    assert_eq!((resolved.status, &resolved.body["status"]), (200, &json!("completed")), "{}", resolved.text);
    assert_eq!(scene.balance(&account).await, ["99.00", "0.00", "99.00"]);
    let none = scene.client.change("nobody", "review", "r4", &body).await;
    assert_eq!((none.status, none.code()), (404, "payment_not_found"));
    scene.stopped();
}
