//! Withdrawals: paid out through the channel, once, whatever gets lost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::client::Answer;
use crate::support::{Payment, Scene, eventually};

async fn withdraw(scene: &Scene, account: &str, key: &str, reference: &str) -> Answer {
    let asked = json!({ "amount": "4.00", "currency": "USD", "reference": reference });
    scene.client.post(&format!("/api/v1/accounts/{account}/withdrawals"), key, &asked).await
}

fn id(answer: &Answer) -> &str {
    answer.body["payment_id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_a_payment_out_and_a_line_of_the_statement() {
    let scene = Scene::start("withdrawal");
    let account = scene.account("alice", "USD", "10.00").await;
    let made = withdraw(&scene, &account, "w", "rent").await;
    assert_eq!((made.status, &made.body["status"]), (201, &json!("completed")), "{}", made.text);
    assert_eq!(made.body["balance"]["available"], "6.00");

    let payment = scene.client.payment(id(&made)).await;
    let kind =
        |body: &Value| (body["kind"].clone(), body["payment_method"].clone(), body["captured"].clone());
    assert_eq!(kind(&payment.body), (json!("withdrawal"), Value::Null, json!("4.00")), "{}", payment.text);
    let at = made.body["position"].as_i64().unwrap();
    let listed = scene.client.get(&format!("/api/v1/payments?user_id=alice&min_position={at}")).await;
    assert_eq!(kind(&listed.body["data"][0]), kind(&payment.body), "{}", listed.text);

    let story: Vec<String> = scene.story(id(&made)).await.into_iter().map(|(name, _)| name).collect();
    let expected = [
        "PaymentInitiated",
        "RiskAssessed",
        "FundsReserved",
        "FundsHeld",
        "PaymentCompleted",
        "FundsWithdrawn",
        "FundsCredited",
    ];
    assert!(expected.iter().all(|name| story.iter().any(|told| told == name)), "{story:?}");

    for (change, code) in [
        ("refunds", "withdrawal_not_refundable"),
        ("capture", "wrong_payment_status"),
        ("void", "wrong_payment_status"),
    ] {
        let refused = scene.client.change(id(&made), change, change, &json!({})).await;
        assert_eq!(refused.code(), code, "{}", refused.text);
    }
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_channel_does_not_pay_out_is_given_back() {
    let scene = Scene::start("withdrawal-declined");
    let account = scene.account("alice", "USD", "10.00").await;
    let declined = withdraw(&scene, &account, "w", "payout_declined").await;
    assert_eq!((declined.status, declined.code()), (422, "channel_declined"), "{}", declined.text);
    assert_eq!(scene.client.payment(id(&declined)).await.body["status"], "failed");
    assert_eq!(scene.balance(&account).await, ["10.00", "0.00", "10.00"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_whose_answer_is_lost_is_made_once() {
    let scene = Scene::start("withdrawal-lost");
    let account = scene.account("alice", "USD", "20.00").await;
    for reference in ["payout_done_then_error", "payout_lost_answer", "payout_timeout"] {
        let first = withdraw(&scene, &account, reference, reference).await;
        assert!(matches!(first.status, 201 | 202), "{}", first.text);
        eventually("the payout is known", async || {
            withdraw(&scene, &account, reference, reference).await.status == 201
        })
        .await;
    }
    assert_eq!(scene.balance(&account).await, ["8.00", "0.00", "8.00"]);
    // The books are compared with the channel's own record: each was paid out once.
    assert_eq!(scene.end_settled().await.completed.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_survives_a_crash_at_any_moment_and_is_paid_out_once() {
    let mut scene = Scene::start("withdrawal-crash");
    let account = scene.account("alice", "USD", "100.00").await;
    for round in 0..4 {
        let keys: Vec<String> = (0..5).map(|number| format!("w{round}-{number}")).collect();
        let asking: JoinSet<_> = (keys.iter().cloned())
            .map(|key| {
                let (client, path) =
                    (scene.client.clone(), format!("/api/v1/accounts/{account}/withdrawals"));
                async move {
                    let asked = json!({ "amount": "4.00", "currency": "USD", "reference": "rent" });
                    client.try_post(&path, &key, &asked).await
                }
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(3 + 7 * round)).await;
        scene = scene.killed_and_started_again();
        // Some had their answer, some lost their connection.
        drop(asking.join_all().await);
        for key in &keys {
            eventually("the withdrawal is known", async || {
                withdraw(&scene, &account, key, "rent").await.status == 201
            })
            .await;
        }
    }
    assert_eq!(scene.balance(&account).await, ["20.00", "0.00", "20.00"]);
    assert_eq!(scene.end_settled().await.completed.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_the_channel_never_tells_of_is_reviewed() {
    let scene = Scene::start_with("withdrawal-review", &[("PAYMENTS_SAGA__REVIEW_AFTER_MS", "1500")]);
    let account = scene.account("alice", "USD", "10.00").await;
    let first = withdraw(&scene, &account, "w", "payout_never_known").await;
    assert_eq!(first.status, 202, "{}", first.text);
    let payment_id = id(&first).to_owned();
    eventually("the payout is in review", async || {
        scene.client.payment(&payment_id).await.body["status"] == "needs_review"
    })
    .await;
    assert_eq!(scene.balance(&account).await, ["10.00", "4.00", "6.00"], "the hold stays");
    let told = json!({ "outcome": "not_paid", "reason": "the channel's report" });
    let resolved = scene.client.change(&payment_id, "review", "r", &told).await;
    assert_eq!((resolved.status, &resolved.body["status"]), (200, &json!("failed")), "{}", resolved.text);
    assert_eq!(scene.balance(&account).await, ["10.00", "0.00", "10.00"]);
    assert_eq!(scene.client.pay(&Payment::of("alice", "p", "10.00")).await.status, 201);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_a_review_finds_made_is_booked() {
    let limits = [("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "500"), ("PAYMENTS_SAGA__REVIEW_AFTER_MS", "1500")];
    let scene = Scene::start_with("withdrawal-reviewed-paid", &limits);
    let account = scene.account("alice", "USD", "10.00").await;
    // Paid out, and then the channel says nothing more.
    let first = withdraw(&scene, &account, "w", "payout_lost_answer").await;
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let payment_id = id(&first).to_owned();
    eventually("the payout is in review", async || {
        scene.client.payment(&payment_id).await.body["status"] == "needs_review"
    })
    .await;
    scene.sandbox_behaves(&json!({})).await;
    let made = scene.charge(&payment_id).await.unwrap();
    let told = json!({ "outcome": "paid", "transaction_id": made["transaction_id"], "reason": "the channel's report" });
    let resolved = scene.client.change(&payment_id, "review", "r", &told).await;
    assert_eq!((resolved.status, &resolved.body["status"]), (200, &json!("completed")), "{}", resolved.text);
    assert_eq!(scene.balance(&account).await, ["6.00", "0.00", "6.00"]);
    assert!(scene.events(&payment_id).await.contains(&"FundsWithdrawn".to_owned()));
    assert_eq!(scene.end_settled().await.completed.len(), 1);
}
