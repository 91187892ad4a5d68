//! Refunds: partial, racing, through a channel that loses answers, and after a crash. Transfers and closing
//! an account are here as well: the rest of what moves money without a new charge.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::{Chance, Payment, Scene};

fn count(answers: &[Answer], status: u16, code: &str) -> usize {
    answers.iter().filter(|answer| answer.status == status && answer.code() == code).count()
}

fn told(answers: &[Answer]) -> Vec<(u16, &str)> {
    answers.iter().map(|answer| (answer.status, answer.code())).collect()
}

/// A user with 100.00 who has paid all of it.
async fn paid(scene: &Scene, payment_id: &str, method: &str) -> String {
    let account = scene.account("alice", "USD", "100.00").await;
    let paid = scene.client.pay(&Payment::of("alice", payment_id, "100.00").by(method)).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_back_in_parts_each_on_the_statement() {
    let scene = Scene::start("refund-parts");
    let account = paid(&scene, "p", "credit_card").await;
    let first = scene.client.change("p", "refunds", "r1", &json!({ "amount": "30.00" })).await;
    assert_eq!((first.status, &first.body["status"]), (201, &json!("completed")), "{}", first.text);
    assert_eq!((&first.body["amount"], &first.body["refundable"]), (&json!("30.00"), &json!("70.00")));
    assert_eq!(first.body["balance"]["available"], "30.00");
    let again = scene.client.change("p", "refunds", "r1", &json!({ "amount": "30.00" })).await;
    assert!(again.replayed && again.text == first.text, "{}", again.text);
    let rest = scene.client.change("p", "refunds", "r2", &json!({})).await;
    assert_eq!((rest.status, &rest.body["amount"]), (201, &json!("70.00")), "{}", rest.text);
    let nothing_left = scene.client.change("p", "refunds", "r3", &json!({ "amount": "0.01" })).await;
    assert_eq!(
        (nothing_left.status, nothing_left.code()),
        (422, "refund_too_large"),
        "{}",
        nothing_left.text
    );

    let all = scene.client.change("p", "refunds", "r4", &json!({})).await;
    assert_eq!((all.status, all.code()), (422, "refund_too_large"), "{}", all.text);

    let refunds = scene.client.get("/api/v1/payments/p/refunds").await;
    assert_eq!(refunds.body["data"].as_array().unwrap().len(), 2, "{}", refunds.text);
    let id = first.body["refund_id"].as_str().unwrap();
    let one = scene.client.get(&format!("/api/v1/payments/p/refunds/{id}")).await;
    assert_eq!((&one.body["status"], &one.body["amount"]), (&json!("completed"), &json!("30.00")));
    assert!(one.body["transaction_id"].as_str().unwrap().starts_with("txn_"), "{}", one.text);
    let none = scene.client.get("/api/v1/payments/p/refunds/ref_none").await;
    assert_eq!((none.status, none.code()), (404, "refund_not_found"));

    assert_eq!(scene.balance(&account).await, ["100.00", "0.00", "100.00"]);
    let entries = scene.client.get(&format!("/api/v1/accounts/{account}/entries")).await;
    let line = &entries.body["data"][1];
    assert_eq!((&line["posting_id"], &line["payment_id"]), (&json!(id), &json!("p")), "{}", entries.text);
    let payment = scene.client.payment("p").await;
    assert_eq!((&payment.body["status"], &payment.body["refunded"]), (&json!("completed"), &json!("100.00")));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_refunds_of_one_at_once_exactly_100_fit_into_what_was_captured() {
    let scene = Scene::start("refund-race");
    let account = paid(&scene, "p", "credit_card").await;
    let asked = (0..200).map(|number| {
        let client = scene.client.clone();
        async move { client.change("p", "refunds", &format!("r{number}"), &json!({ "amount": "1.00" })).await }
    });
    let answers = join_all(asked).await;
    assert_eq!(count(&answers, 201, ""), 100, "{:?}", told(&answers));
    assert_eq!(count(&answers, 422, "refund_too_large"), 100, "{:?}", told(&answers));
    assert_eq!(scene.balance(&account).await, ["100.00", "0.00", "100.00"]);
    let books = scene.end_settled().await;
    assert_eq!(books.refunded.values().sum::<i64>(), 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_channel_does_a_refund_is_given_back_once_or_not_at_all() {
    let scene = Scene::start("refund-by-channel");
    let account = scene.account("alice", "USD", "100.00").await;
    for (method, status, code) in [
        ("card_refund_lost_answer", 201, ""),
        ("card_refund_timeout", 201, ""),
        ("card_refund_done_then_error", 201, ""),
        ("card_refund_declined", 422, "refund_declined"),
    ] {
        let paid = scene.client.pay(&Payment::of("alice", method, "10.00").by(method)).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        let refunded = scene.client.change(method, "refunds", method, &json!({ "amount": "10.00" })).await;
        assert_eq!((refunded.status, refunded.code()), (status, code), "{method}: {}", refunded.text);
    }
    // What the channel declined may be asked for again, under another key.
    let again =
        scene.client.change("card_refund_declined", "refunds", "again", &json!({ "amount": "10.00" })).await;
    assert_eq!((again.status, again.code()), (422, "refund_declined"), "{}", again.text);
    assert_eq!(scene.balance(&account).await, ["90.00", "0.00", "90.00"]);
    let books = scene.end_settled().await;
    assert_eq!(books.refunded.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_captured_through_the_channel_is_refunded() {
    let scene = Scene::start("refund-refused");
    scene.account("alice", "USD", "100.00").await;
    scene.account("bob", "USD", "1.00").await;
    scene.client.authorize(&Payment::of("alice", "held", "10.00")).await;
    let early = scene.client.change("held", "refunds", "r1", &json!({})).await;
    assert_eq!((early.status, early.code()), (409, "wrong_payment_status"), "{}", early.text);
    let transfer = json!({ "payment_id": "t", "from_user_id": "alice", "to_user_id": "bob",
                           "amount": "1.00", "currency": "USD" });
    assert_eq!(scene.client.post("/api/v1/transfers", "t", &transfer).await.status, 201);
    let refused = scene.client.change("t", "refunds", "r2", &json!({})).await;
    assert_eq!((refused.status, refused.code()), (422, "transfer_not_refundable"), "{}", refused.text);
    assert_eq!(scene.client.change("held", "void", "v", &json!({})).await.status, 200);
    scene.end_settled().await;
}

/// Refunds, captures and voids whose engine is killed: each ends once, and a repeat gets its answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_ends_after_a_crash_and_its_caller_finds_the_answer() {
    const EACH: usize = 12;
    let scene = Scene::start("later-crash");
    let account = scene.account("alice", "USD", "100.00").await;
    for number in 0..EACH {
        let paid = scene.client.pay(&Payment::of("alice", &format!("refunds{number}"), "1.00")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        for change in ["capture", "void"] {
            let id = format!("{change}{number}");
            assert_eq!(scene.client.authorize(&Payment::of("alice", &id, "1.00")).await.status, 201);
        }
    }
    // Slow enough that the kill meets them at every step.
    scene.sandbox_behaves(&json!({ "latency_ms": 60 })).await;
    let mut chance = Chance::new("later-crash");
    let asked: Vec<(String, &'static str)> = (0..EACH)
        .flat_map(|number| ["refunds", "capture", "void"].map(|change| (format!("{change}{number}"), change)))
        .collect();
    let asking = join_all(asked.iter().map(|(id, change)| {
        let (client, after) = (scene.client.clone(), chance.millis(0, 150));
        let path = format!("/api/v1/payments/{id}/{change}");
        async move {
            tokio::time::sleep(after).await;
            client.try_post(&path, &format!("end-{id}"), &json!({})).await.ok()
        }
    }));
    let killing = async {
        tokio::time::sleep(chance.millis(60, 160)).await;
        scene.killed_and_started_again()
    };
    let (before, scene): (Vec<Option<Answer>>, Scene) = join(asking, killing).await;
    scene.sandbox_behaves(&json!({})).await;
    let answered = before.iter().flatten().filter(|answer| answer.status < 300).count();
    scene.settled().await;
    for ((id, change), before) in asked.iter().zip(&before) {
        let answer = scene.client.change(id, change, &format!("end-{id}"), &json!({})).await;
        assert!(matches!(answer.status, 200 | 201), "{id}: {}", answer.text);
        if let Some(before) = before.as_ref().filter(|before| before.status < 300) {
            assert_eq!(answer.text, before.text, "{id}: an answer that was given stands");
        }
    }
    eprintln!("{answered} of {} were answered before the engine was killed", asked.len());
    assert_eq!(scene.balance(&account).await, ["88.00", "0.00", "88.00"]);
    let books = scene.end_settled().await;
    assert_eq!((books.refunded.len(), books.completed.len()), (EACH, 2 * EACH));
}

fn transfer(id: &str, from: &str, to: &str, amount: &str) -> Value {
    json!({ "payment_id": id, "from_user_id": from, "to_user_id": to, "amount": amount, "currency": "USD" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_moves_at_once_or_not_at_all() {
    let scene = Scene::start("transfers");
    let alice = scene.account("alice", "USD", "100.00").await;
    let bob = scene.account("bob", "USD", "1.00").await;
    let moved = scene.client.post("/api/v1/transfers", "t1", &transfer("t1", "alice", "bob", "40.00")).await;
    assert_eq!((moved.status, &moved.body["status"]), (201, &json!("completed")), "{}", moved.text);
    assert_eq!(moved.body["balance"]["available"], "60.00");
    let again = scene.client.post("/api/v1/transfers", "t1", &transfer("t1", "alice", "bob", "40.00")).await;
    assert!(again.replayed && again.text == moved.text, "{}", again.text);
    let taken = scene.client.post("/api/v1/transfers", "t1b", &transfer("t1", "bob", "alice", "1.00")).await;
    assert_eq!((taken.status, taken.code()), (409, "payment_exists"), "{}", taken.text);
    for (id, from, to, amount, code) in [
        ("t2", "alice", "bob", "60.01", "insufficient_funds"),
        ("t3", "alice", "nobody", "1.00", "payee_not_found"),
        ("t4", "nobody", "bob", "1.00", "account_not_found"),
    ] {
        let body = transfer(id, from, to, amount);
        let refused = scene.client.post("/api/v1/transfers", id, &body).await;
        assert_eq!((refused.status, refused.code()), (422, code), "{}", refused.text);
        assert_eq!(scene.client.payment(id).await.body["failure"]["code"], code);
    }
    let same = scene.client.post("/api/v1/transfers", "t5", &transfer("t5", "bob", "bob", "1.00")).await;
    assert_eq!(
        (same.status, same.code(), same.body["param"].as_str()),
        (422, "same_user", Some("to_user_id"))
    );
    let story = scene.events("t1").await;
    assert_eq!(story[..2], ["PaymentInitiated", "PaymentCompleted"]);
    // Legs come in the order of their accounts' ids.
    assert_eq!(story[2..].iter().collect::<BTreeSet<_>>().len(), 2, "{story:?}");
    assert!(story[2..].iter().all(|leg| leg == "FundsDebited" || leg == "FundsCredited"), "{story:?}");
    assert_eq!(scene.balance(&alice).await, ["60.00", "0.00", "60.00"]);
    assert_eq!(scene.balance(&bob).await, ["41.00", "0.00", "41.00"]);
    assert_eq!(scene.end_settled().await.transferred["t1"], 4_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_against_each_other_lose_and_make_nothing() {
    let scene = Scene::start("transfer-race");
    let accounts = [scene.account("alice", "USD", "10.00").await, scene.account("bob", "USD", "10.00").await];
    let moves = (0..200).map(|number| {
        let client = scene.client.clone();
        let (from, to) = if number % 2 == 0 { ("alice", "bob") } else { ("bob", "alice") };
        let id = format!("t{number}");
        async move { client.post("/api/v1/transfers", &id, &transfer(&id, from, to, "1.00")).await }
    });
    let answers = join_all(moves).await;
    let moved = count(&answers, 201, "");
    assert_eq!(moved + count(&answers, 422, "insufficient_funds"), 200, "{:?}", told(&answers));
    let books = scene.books().await;
    let sum: i64 = accounts.iter().map(|account| books.posted[account]).sum();
    assert_eq!((sum, books.transferred.len()), (2_000, moved));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_is_closed_for_good() {
    let scene = Scene::start("close");
    let account = scene.account("alice", "USD", "5.00").await;
    let path = format!("/api/v1/accounts/{account}");
    let full = scene.client.post(&format!("{path}/close"), "c1", &json!({})).await;
    assert_eq!((full.status, full.code()), (422, "account_not_empty"), "{}", full.text);
    let amount = json!({ "amount": "5.00", "currency": "USD" });
    assert_eq!(scene.client.post(&format!("{path}/withdrawals"), "w", &amount).await.status, 201);
    let closed = scene.client.post(&format!("{path}/close"), "c2", &json!({})).await;
    assert_eq!((closed.status, &closed.body["status"]), (200, &json!("closed")), "{}", closed.text);
    let late = scene.client.post(&format!("{path}/deposits"), "d", &amount).await;
    assert_eq!((late.status, late.code()), (422, "account_closed"), "{}", late.text);
    let paid = scene.client.pay(&Payment::of("alice", "p", "1.00")).await;
    assert_eq!((paid.status, paid.code()), (422, "account_closed"), "{}", paid.text);
    scene.end_settled().await;
}
