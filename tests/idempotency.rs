//! One key, one effect, one answer: at the same time, later, and after a crash.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::client::Answer;
use crate::support::{Payment, Scene, eventually};

/// A repeat has the bytes, the status and the trace of the first answer, and says that it is one.
#[track_caller]
fn assert_replays(first: &Answer, repeat: &Answer) {
    assert_eq!((repeat.status, &repeat.text), (first.status, &first.text));
    assert_eq!(repeat.header("content-type"), first.header("content-type"));
    assert_eq!(repeat.header("trace-id"), first.header("trace-id"));
    assert!(!first.replayed);
    assert_eq!(repeat.header("idempotency-replayed"), "true");
}

/// Repeats a payment as long as its first request is still being processed.
async fn answered(scene: &Scene, payment: &Payment) -> Answer {
    let mut answer = scene.client.pay(payment).await;
    eventually("the key is answered", async || {
        if answer.code() == "request_in_flight" {
            answer = scene.client.pay(payment).await;
        }
        answer.code() != "request_in_flight"
    })
    .await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_with_one_key_are_one_payment_and_one_charge() {
    let scene = Scene::start("fifty");
    let account = scene.account("alice", "USD", "100.00").await;
    // An answer that comes at once, and one for which most of the fifty come too early.
    for method in ["credit_card", "card_slow"] {
        let payment = Payment::of("alice", &format!("by-{method}"), "7.53").by(method);
        let answers = join_all((0..50).map(|_| scene.client.pay(&payment))).await;
        let (paid, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert!(!paid.is_empty());
        assert_eq!(paid.iter().filter(|answer| !answer.replayed).count(), 1, "one request was carried out");
        assert!(paid.iter().all(|answer| answer.text == paid[0].text), "{paid:?}");
        for answer in refused {
            assert_eq!((answer.status, answer.code()), (409, "request_in_flight"), "{}", answer.text);
            assert_eq!(answer.header("retry-after"), "1");
        }
        let charge = scene.charge(&payment.payment_id).await.unwrap();
        assert_eq!((charge["charged_times"].as_u64(), charge["requests"].as_u64()), (Some(1), Some(1)));
    }
    assert_eq!(scene.balance(&account).await, ["84.94", "0.00", "84.94"]);
    assert_eq!(scene.end_settled().await.completed.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer_and_another_request_is_refused() {
    let scene = Scene::start("repeat");
    let account = scene.account("alice", "USD", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53");
    let first = scene.client.pay(&payment).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replays(&first, &scene.client.pay(&payment).await);

    for (field, other) in [
        ("payment_id", json!("p2")),
        ("user_id", json!("bob")),
        ("amount", json!("7.54")),
        ("currency", json!("EUR")),
        ("payment_method", json!("debit_card")),
        ("capture", json!("manual")),
        ("metadata", json!({ "order": "1" })),
    ] {
        let mut body = payment.body();
        body[field] = other;
        let refused = scene.client.post("/api/v1/payments", "", &body).await;
        assert_eq!((refused.status, refused.code()), (422, "idempotency_key_reused"), "{field}");
        assert_eq!(refused.body["param"], "idempotency_key");
    }
    // A key belongs to one request of the whole API.
    let deposit = json!({ "amount": "7.53", "currency": "USD" });
    let path = format!("/api/v1/accounts/{account}/deposits");
    let refused = scene.client.post(&path, &payment.key, &deposit).await;
    assert_eq!((refused.status, refused.code()), (422, "idempotency_key_reused"));

    assert_eq!(scene.balance(&account).await, ["92.47", "0.00", "92.47"]);
    assert_eq!(scene.end_settled().await.completed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_id_of_another_payment_is_refused_and_leaves_the_key_free() {
    let scene = Scene::start("payment-id");
    scene.account("alice", "USD", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53");
    assert_eq!(scene.client.pay(&payment).await.status, 201);

    let mut thief = payment.clone();
    thief.key = "another-key".to_owned();
    for _ in 0..2 {
        let refused = scene.client.pay(&thief).await;
        assert_eq!((refused.status, refused.code()), (409, "payment_exists"));
        assert_eq!(refused.body["param"], "payment_id");
    }
    // Nothing was carried out under the key, so it is still good for a payment of its own.
    thief.payment_id = "p2".to_owned();
    assert_eq!(scene.client.pay(&thief).await.status, 201);

    // At the same time, too, one payment id is one payment.
    let rivals: Vec<Payment> = (0..20)
        .map(|rival| Payment { key: format!("rival-{rival}"), ..Payment::of("alice", "p3", "1.00") })
        .collect();
    let answers = join_all(rivals.iter().map(|rival| scene.client.pay(rival))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    let refused = answers.iter().filter(|answer| answer.status != 201);
    for answer in refused {
        assert_eq!((answer.status, answer.code()), (409, "payment_exists"), "{}", answer.text);
    }
    assert_eq!(scene.end_settled().await.completed.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_an_id_is_made_once() {
    let scene = Scene::start("no-id");
    let account = scene.account("alice", "USD", "10.00").await;
    let body = json!({ "user_id": "alice", "amount": 1, "currency": "USD", "payment_method": "card" });
    let first = scene.client.post("/api/v1/payments", "key", &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replays(&first, &scene.client.post("/api/v1/payments", "key", &body).await);
    assert_eq!(scene.balance(&account).await, ["9.00", "0.00", "9.00"]);
    scene.end_settled().await;
}

/// Requests whose answers differ in kind: `(path, key, body, status)`.
fn one_of_each_kind(account: &str) -> Vec<(String, &'static str, Value, u16)> {
    let payment = |id: &str, method: &str, amount: &str| {
        json!({
            "payment_id": id, "user_id": "alice", "amount": amount, "currency": "USD",
            "payment_method": method,
        })
    };
    let movement = |amount: &str| json!({ "amount": amount, "currency": "USD" });
    let payments = || "/api/v1/payments".to_owned();
    let of_account = |call: &str| format!("/api/v1/accounts/{account}/{call}");
    vec![
        (payments(), "paid", payment("paid", "credit_card", "7.53"), 201),
        (payments(), "lost", payment("lost", "card_charged_then_error", "1.00"), 201),
        (payments(), "declined", payment("declined", "card_declined", "1.00"), 422),
        (payments(), "rejected", payment("rejected", "card_high_risk", "1.00"), 422),
        (payments(), "too-much", payment("too-much", "credit_card", "1000.00"), 422),
        (of_account("deposits"), "deposit", movement("5.00"), 201),
        (of_account("withdrawals"), "withdrawal", movement("5.00"), 201),
        (of_account("withdrawals"), "withdrawal-of-too-much", movement("1000.00"), 422),
        ("/api/v1/accounts".to_owned(), "open", json!({ "user_id": "bob", "currency": "USD" }), 201),
        ("/api/v1/accounts".to_owned(), "open-again", json!({ "user_id": "alice", "currency": "USD" }), 409),
        ("/api/v1/accounts/acc_none/freeze".to_owned(), "freeze-none", json!({}), 404),
        (of_account("freeze"), "freeze", json!({ "reason": "a test" }), 200),
        (of_account("unfreeze"), "unfreeze", json!({}), 200),
        (of_account("unfreeze"), "unfreeze-again", json!({}), 200),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_is_replayed_byte_for_byte_even_after_a_crash() {
    let mut scene = Scene::start("kinds");
    let account = scene.account("alice", "USD", "100.00").await;
    let requests = one_of_each_kind(&account);
    let mut firsts = vec![];
    for (path, key, body, status) in &requests {
        let first = scene.client.post(path, key, body).await;
        assert_eq!(first.status, *status, "{key}: {}", first.text);
        firsts.push(first);
    }
    let before = scene.books().await.events;
    for crashed in [false, true] {
        if crashed {
            scene = scene.killed_and_started_again();
        }
        for ((path, key, body, _), first) in requests.iter().zip(&firsts) {
            assert_replays(first, &scene.client.post(path, key, body).await);
        }
    }
    assert_eq!(scene.balance(&account).await, ["91.47", "0.00", "91.47"]);
    assert_eq!(scene.end_settled().await.events, before, "a repeat records nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_replayed_even_when_it_would_no_longer_be_refused() {
    let scene = Scene::start("refusal");
    let account = scene.account("alice", "USD", "1.00").await;
    let withdrawals = format!("/api/v1/accounts/{account}/withdrawals");
    let ten = json!({ "amount": "10.00", "currency": "USD" });
    let refused = scene.client.post(&withdrawals, "withdraw-ten", &ten).await;
    assert_eq!((refused.status, refused.code()), (422, "insufficient_funds"));
    let payment = Payment::of("alice", "p1", "10.00");
    let failed = scene.client.pay(&payment).await;
    assert_eq!((failed.status, failed.code()), (422, "insufficient_funds"));

    let deposits = format!("/api/v1/accounts/{account}/deposits");
    let hundred = json!({ "amount": "100.00", "currency": "USD" });
    assert_eq!(scene.client.post(&deposits, "deposit", &hundred).await.status, 201);

    assert_replays(&refused, &scene.client.post(&withdrawals, "withdraw-ten", &ten).await);
    assert_replays(&failed, &scene.client.pay(&payment).await);
    assert_eq!(scene.balance(&account).await, ["101.00", "0.00", "101.00"]);
    // The same under a new key is a new request.
    assert_eq!(scene.client.post(&withdrawals, "withdraw-ten-now", &ten).await.status, 201);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_to_accounts_happen_once_under_one_key() {
    let scene = Scene::start("accounts-once");
    let opening = json!({ "user_id": "alice", "currency": "USD" });
    let opened = scene.client.post("/api/v1/accounts", "open", &opening).await;
    assert_eq!(opened.status, 201);
    assert_replays(&opened, &scene.client.post("/api/v1/accounts", "open", &opening).await);

    let account = opened.body["account_id"].as_str().unwrap().to_owned();
    let deposits = format!("/api/v1/accounts/{account}/deposits");
    let five = json!({ "amount": "5.00", "currency": "USD" });
    let answers = join_all((0..30).map(|_| scene.client.post(&deposits, "deposit", &five))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201 && !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "request_in_flight"));
    assert_eq!(scene.balance(&account).await, ["5.00", "0.00", "5.00"]);

    let freeze = format!("/api/v1/accounts/{account}/freeze");
    let frozen = scene.client.post(&freeze, "freeze", &json!({})).await;
    assert_eq!((frozen.status, frozen.body["status"].as_str()), (200, Some("frozen")));
    assert_replays(&frozen, &scene.client.post(&freeze, "freeze", &json!({})).await);
    // Under another key it is another request, which finds the account as it wants it.
    let events = scene.books().await.events;
    let again = scene.client.post(&freeze, "freeze-again", &json!({})).await;
    assert_eq!((again.status, again.body["status"].as_str()), (200, Some("frozen")));
    assert_replays(&again, &scene.client.post(&freeze, "freeze-again", &json!({})).await);
    assert_eq!(scene.end_settled().await.events, events, "freezing twice records it once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_may_stand_in_the_header_or_in_the_body() {
    let scene = Scene::start("key-place");
    let account = scene.account("alice", "USD", "10.00").await;
    let payment = Payment::of("alice", "p1", "1.00");
    let in_the_body = payment.body();
    let mut in_the_header = in_the_body.clone();
    in_the_header.as_object_mut().unwrap().remove("idempotency_key");

    let first = scene.client.post("/api/v1/payments", "", &in_the_body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    for key in [payment.key.clone(), format!("\"{}\"", payment.key)] {
        assert_replays(&first, &scene.client.post("/api/v1/payment", &key, &in_the_header).await);
        assert_replays(&first, &scene.client.post("/api/v1/payments", &key, &in_the_body).await);
    }
    let differing = scene.client.post("/api/v1/payments", "another", &in_the_body).await;
    assert_eq!((differing.status, differing.code()), (422, "idempotency_key_mismatch"));
    let neither = scene.client.post("/api/v1/payments", "", &in_the_header).await;
    assert_eq!((neither.status, neither.code()), (400, "idempotency_key_missing"));
    assert_eq!(scene.balance(&account).await, ["9.00", "0.00", "9.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_outlives_the_crash_is_answered_by_recovery() {
    let scene = Scene::start("recovered");
    scene.account("alice", "USD", "10.00").await;
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let payment = Payment::of("alice", "p1", "1.00");
    let given_up = scene.client.pay(&payment).await;
    assert_eq!((given_up.status, given_up.body["status"].as_str()), (202, Some("processing")));
    assert_eq!(scene.client.pay(&payment).await.code(), "request_in_flight");

    let scene = scene.killed_and_started_again();
    assert_eq!(scene.client.pay(&payment).await.code(), "request_in_flight", "the claim is durable");
    scene.sandbox_behaves(&json!({})).await;
    let answer = answered(&scene, &payment).await;
    assert_eq!((answer.status, answer.body["status"].as_str()), (201, Some("completed")));
    assert!(answer.replayed);
    assert_eq!(scene.charged_times("p1").await, 1);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_forgets_keys_that_were_answered_three_days_ago_and_no_others() {
    let scene = Scene::start("forget-keys");
    scene.account("alice", "USD", "100.00").await;
    let (old, recent) = (Payment::of("alice", "old", "1.00"), Payment::of("alice", "recent", "1.00"));
    for payment in [&old, &recent] {
        assert_eq!(scene.client.pay(payment).await.status, 201);
    }
    let mut connection = PgConnection::connect(&scene.database_url()).await.unwrap();
    for (key, age) in [(&old.key, "73 hours"), (&recent.key, "71 hours")] {
        sqlx::query("update idempotency_answers set answered_at = now() - $2::text::interval where key = $1")
            .bind(key)
            .bind(age)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    // It looks when it starts, and from time to time.
    let scene = scene.killed_and_started_again();
    let kept = async |connection: &mut PgConnection, key: &str| -> bool {
        sqlx::query_scalar("select exists (select from idempotency_keys where key = $1)")
            .bind(key)
            .fetch_one(connection)
            .await
            .unwrap()
    };
    eventually("the old key is forgotten", async || !kept(&mut connection, &old.key).await).await;
    assert!(kept(&mut connection, &recent.key).await);
    assert!(scene.client.pay(&recent).await.replayed);
    // The payment itself is never forgotten: nobody is charged again.
    assert_eq!(scene.client.pay(&old).await.code(), "payment_exists");
    assert_eq!(scene.charged_times("old").await, 1);
    scene.end_settled().await;
}
