//! Many at once on one account: none gets what belongs to another, and none waits for ever.

use futures::future::{join, join_all, join3};
use serde_json::json;

use crate::support::client::Answer;
use crate::support::{Payment, Scene};

fn payments(user_id: &str, prefix: &str, count: u32) -> Vec<Payment> {
    (0..count).map(|number| Payment::of(user_id, &format!("{prefix}-{number}"), "1.00")).collect()
}

async fn pay_at_once(scene: &Scene, payments: &[Payment]) -> Vec<Answer> {
    join_all(payments.iter().map(|payment| scene.client.pay(payment))).await
}

/// Posts one amount to an account `count` times at once, each time under a key of its own.
async fn move_at_once(scene: &Scene, account: &str, call: &str, amount: &str, count: u32) -> Vec<Answer> {
    let path = format!("/api/v1/accounts/{account}/{call}");
    let body = json!({ "amount": amount, "currency": "USD" });
    let moves = (0..count).map(|number| {
        let (path, body) = (path.clone(), body.clone());
        async move { scene.client.post(&path, &format!("{call}-{number}"), &body).await }
    });
    join_all(moves).await
}

/// How many answers have this status and, for a problem, this code; the empty code for a success.
fn count(answers: &[Answer], status: u16, code: &str) -> usize {
    answers.iter().filter(|answer| answer.status == status && answer.code() == code).count()
}

fn told(answers: &[Answer]) -> Vec<(u16, &str)> {
    answers.iter().map(|answer| (answer.status, answer.code())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_payments_at_once_spend_what_is_there_and_not_a_cent_more() {
    let scene = Scene::start("hundred");
    let account = scene.account("alice", "USD", "50.00").await;
    let answers = pay_at_once(&scene, &payments("alice", "p", 100)).await;
    assert_eq!(count(&answers, 201, ""), 50, "{:?}", told(&answers));
    assert_eq!(count(&answers, 422, "insufficient_funds"), 50, "{:?}", told(&answers));
    assert_eq!(scene.balance(&account).await, ["0.00", "0.00", "0.00"]);
    let books = scene.end_settled().await;
    assert_eq!(books.completed.len(), 50);
    assert_eq!(books.payments.len(), 100, "each refused payment is on record as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_and_payments_at_once_share_what_is_there() {
    let scene = Scene::start("share");
    let account = scene.account("alice", "USD", "30.00").await;
    let payments = payments("alice", "p", 40);
    let (paid, withdrawn) =
        join(pay_at_once(&scene, &payments), move_at_once(&scene, &account, "withdrawals", "1.00", 40)).await;
    let answers = [paid, withdrawn].concat();
    assert_eq!(count(&answers, 201, ""), 30, "{:?}", told(&answers));
    assert_eq!(count(&answers, 422, "insufficient_funds"), 50, "{:?}", told(&answers));
    assert_eq!(scene.balance(&account).await, ["0.00", "0.00", "0.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_and_withdrawals_at_once_leave_the_exact_balance() {
    let scene = Scene::start("exact");
    let account = scene.account("alice", "USD", "100.00").await;
    let (deposited, withdrawn) = join(
        move_at_once(&scene, &account, "deposits", "1.25", 60),
        move_at_once(&scene, &account, "withdrawals", "0.51", 60),
    )
    .await;
    let answers = [deposited, withdrawn].concat();
    assert_eq!(count(&answers, 201, ""), 120, "{:?}", told(&answers));
    assert_eq!(scene.balance(&account).await, ["144.40", "0.00", "144.40"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_races_a_freeze_completes_or_fails_and_holds_nothing() {
    let scene = Scene::start("freeze");
    for round in 0..5 {
        let user = format!("alice-{round}");
        let account = scene.account(&user, "USD", "100.00").await;
        let (before, after) =
            (payments(&user, &format!("b{round}"), 20), payments(&user, &format!("a{round}"), 20));
        let path = format!("/api/v1/accounts/{account}/freeze");
        let freeze = async { scene.client.post(&path, &format!("freeze-{round}"), &json!({})).await };
        let (one, frozen, other) =
            join3(pay_at_once(&scene, &before), freeze, pay_at_once(&scene, &after)).await;
        assert_eq!(frozen.status, 200, "{}", frozen.text);
        let answers = [one, other].concat();
        let (completed, refused) = (count(&answers, 201, ""), count(&answers, 422, "account_frozen"));
        assert_eq!(completed + refused, 40, "{:?}", told(&answers));
        let late = scene.client.pay(&Payment::of(&user, &format!("late-{round}"), "1.00")).await;
        assert_eq!((late.status, late.code()), (422, "account_frozen"));
        let left = format!("{}.00", 100 - completed);
        assert_eq!(scene.balance(&account).await, [left.clone(), "0.00".to_owned(), left]);
    }
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_one_account_fifty_times_at_once_opens_it_once() {
    let scene = Scene::start("open");
    let body = json!({ "user_id": "alice", "currency": "USD" });
    let keys: Vec<String> = (0..50).map(|number| format!("open-{number}")).collect();
    let answers = join_all(keys.iter().map(|key| scene.client.post("/api/v1/accounts", key, &body))).await;
    assert_eq!(count(&answers, 201, ""), 1, "{:?}", told(&answers));
    assert_eq!(count(&answers, 409, "account_already_open"), 49, "{:?}", told(&answers));
    let ids: std::collections::HashSet<_> =
        answers.iter().map(|answer| answer.body["account_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1, "the refusals name the account that is open");
    assert_eq!(scene.end_settled().await.events, 1);
}
