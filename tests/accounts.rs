//! Accounts: open, fill, empty, freeze, and what may not be done to them.

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::{Payment, Scene, eventually};

/// Posts `body` to a call of an account under a key made of both.
async fn call(scene: &Scene, account: &str, call: &str, body: &Value) -> Answer {
    scene.client.post(&format!("/api/v1/accounts/{account}/{call}"), &format!("{call}-{body}"), body).await
}

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD", "reference": "test" })
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["trace_id"], answer.header("trace-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_opened_filled_and_emptied_and_every_answer_says_where_the_log_is() {
    let scene = Scene::start("account");
    let opening = json!({ "user_id": "alice", "currency": "USD" });
    let opened = scene.client.post("/api/v1/accounts", "open", &opening).await;
    assert_eq!(opened.status, 201);
    let account = opened.body["account_id"].as_str().unwrap().to_owned();
    let expected = json!({
        "account_id": account, "user_id": "alice", "currency": "USD",
        "posted": "0.00", "held": "0.00", "available": "0.00", "status": "active", "position": 1,
    });
    assert_eq!(opened.body, expected);

    let mut last = 1;
    for (path, amount, available) in
        [("deposits", "12.34", "12.34"), ("deposits", "0.01", "12.35"), ("withdrawals", "12.35", "0.00")]
    {
        let answer = call(&scene, &account, path, &usd(amount)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let behind = if path == "withdrawals" { &answer.body["balance"] } else { &answer.body };
        assert_eq!(behind["available"], available);
        let position = answer.body["position"].as_i64().unwrap();
        assert!(position > last, "{position} comes after {last}");
        last = position;
        let read = scene.client.get(&format!("/api/v1/accounts/{account}?min_position={last}")).await;
        assert_eq!((read.status, &read.body["available"]), (200, &json!(available)));
    }
    let paid = scene.client.pay(&Payment::of("alice", "p1", "0.01")).await;
    assert_refused(&paid, 422, "insufficient_funds");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_that_is_read_is_as_of_a_position_and_its_time() {
    let scene = Scene::start("position");
    let account = scene.account("alice", "USD", "10.00").await;
    scene.account("bob", "USD", "10.00").await;
    let paid = scene.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    let last = paid.body["position"].as_i64().unwrap();
    let read = scene.client.get(&format!("/api/v1/accounts/{account}?min_position={last}")).await;
    // Capture and credit stand behind the completion, and nothing came after them.
    let story = scene.story("p1").await;
    assert_eq!(story.last().map(|(_, position)| *position), Some(last));
    assert_eq!((&read.body["available"], read.body["position"].as_i64()), (&json!("9.00"), Some(last)));
    let at_last = scene.client.get(&format!("/api/v1/events?after={}", last - 1)).await;
    assert_eq!(read.body["as_of"], at_last.body["data"][0]["recorded_at"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_one_account_for_each_currency() {
    let scene = Scene::start("currencies");
    let dollars = scene.account("alice", "USD", "10.00").await;
    let euros = scene.account("alice", "EUR", "20.00").await;
    assert_ne!(dollars, euros);
    let again = json!({ "user_id": "alice", "currency": "USD" });
    let refused = scene.client.post("/api/v1/accounts", "again", &again).await;
    assert_refused(&refused, 409, "account_already_open");
    assert_eq!(refused.body["account_id"], dollars.as_str());

    let wrong = json!({ "amount": "1.00", "currency": "EUR" });
    for path in ["deposits", "withdrawals"] {
        let refused = call(&scene, &dollars, path, &wrong).await;
        assert_refused(&refused, 422, "currency_mismatch");
        assert_eq!(refused.body["param"], "currency");
    }
    assert_eq!(scene.balance(&dollars).await, ["10.00", "0.00", "10.00"]);
    assert_eq!(scene.balance(&euros).await, ["20.00", "0.00", "20.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_withdrawn_than_is_available() {
    let scene = Scene::start("withdraw");
    let account = scene.account("alice", "USD", "10.00").await;
    let refused = call(&scene, &account, "withdrawals", &usd("10.01")).await;
    assert_refused(&refused, 422, "insufficient_funds");

    // What a payment holds is not available.
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let payment = Payment::of("alice", "p1", "4.00");
    let release = async {
        eventually("the payment holds its funds", async || {
            scene.balance(&account).await == ["10.00", "4.00", "6.00"]
        })
        .await;
        let refused = call(&scene, &account, "withdrawals", &usd("6.01")).await;
        assert_refused(&refused, 422, "insufficient_funds");
        let (all, none) = (usd("6.00"), json!({}));
        let withdrawing = call(&scene, &account, "withdrawals", &all);
        let going_on = async {
            eventually("the withdrawal holds its funds", async || {
                scene.balance(&account).await == ["10.00", "10.00", "0.00"]
            })
            .await;
            scene.sandbox_behaves(&none).await;
        };
        futures::future::join(withdrawing, going_on).await.0
    };
    let (paid, withdrawn) = futures::future::join(scene.client.pay(&payment), release).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    assert_eq!(withdrawn.status, 201, "{}", withdrawn.text);
    assert_eq!(scene.balance(&account).await, ["0.00", "0.00", "0.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_takes_money_in_and_lets_none_out_until_it_is_unfrozen() {
    let scene = Scene::start("frozen");
    let account = scene.account("alice", "USD", "10.00").await;
    let frozen = call(&scene, &account, "freeze", &json!({ "reason": "lost phone" })).await;
    assert_eq!((frozen.status, &frozen.body["status"]), (200, &json!("frozen")));

    assert_refused(&scene.client.pay(&Payment::of("alice", "p1", "1.00")).await, 422, "account_frozen");
    assert_refused(&call(&scene, &account, "withdrawals", &usd("1.00")).await, 422, "account_frozen");
    let filled = call(&scene, &account, "deposits", &usd("5.00")).await;
    assert_eq!((filled.status, &filled.body["available"]), (201, &json!("15.00")));
    let read = scene.client.account(&account).await;
    assert_eq!(read.body["status"], "frozen");

    let unfrozen = call(&scene, &account, "unfreeze", &json!({})).await;
    assert_eq!((unfrozen.status, &unfrozen.body["status"]), (200, &json!("active")));
    assert_eq!(scene.client.pay(&Payment::of("alice", "p2", "1.00")).await.status, 201);
    let payment = scene.client.payment("p1").await;
    assert_eq!(payment.body["status"], "failed", "what failed stays failed");
    assert_eq!(scene.balance(&account).await, ["14.00", "0.00", "14.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_not_a_clients_do_not_exist_for_it() {
    let scene = Scene::start("not-theirs");
    let account = scene.account("alice", "USD", "10.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "1.00")).await.status, 201);
    let books = scene.books().await;
    // Unknown ones, and the system's own that really stand in the books.
    let mut ids: Vec<String> = books.posted.keys().filter(|id| **id != account).cloned().collect();
    assert_eq!(ids.len(), 2, "funding and settlement: {ids:?}");
    ids.push("acc_00000000000000000000000000000000".to_owned());
    for id in ids {
        let read = scene.client.account(&id).await;
        assert_refused(&read, 404, "account_not_found");
        for (path, body) in [
            ("deposits", usd("1.00")),
            ("withdrawals", usd("1.00")),
            ("freeze", json!({})),
            ("unfreeze", json!({})),
        ] {
            let path = format!("/api/v1/accounts/{id}/{path}");
            let answer = scene.client.post(&path, &format!("refused-{path}"), &body).await;
            assert_refused(&answer, 404, "account_not_found");
        }
    }
    assert_eq!(scene.end_settled().await.events, books.events, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_could_not_be_booked_is_refused() {
    let scene = Scene::start("overflow");
    let account = scene.account("alice", "USD", "92233720368547758.06").await;
    let filled = call(&scene, &account, "deposits", &usd("0.01")).await;
    let largest = json!("92233720368547758.07");
    assert_eq!((filled.status, &filled.body["posted"]), (201, &largest), "{}", filled.text);
    let refused = call(&scene, &account, "deposits", &usd("0.02")).await;
    assert_refused(&refused, 422, "balance_overflow");
    let emptied = call(&scene, &account, "withdrawals", &usd("92233720368547758.07")).await;
    assert_eq!((emptied.status, &emptied.body["balance"]["posted"]), (201, &json!("0.00")));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_fortune_keeps_no_other_user_from_depositing() {
    let scene = Scene::start("fortune");
    scene.account("alice", "USD", "92233720368547758.07").await;
    scene.account("bob", "USD", "1.00").await;
    scene.end_settled().await;
}
