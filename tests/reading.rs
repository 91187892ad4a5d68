//! What clients read: balances, statements, payments by user, status and time, page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Payment, Scene};

/// Reads of what was just written, as many as the contract asks for.
const TRIES: u64 = 10_000;

/// All pages of a list.
async fn pages(scene: &Scene, path: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (vec![], String::new());
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = scene.client.get(&format!("{path}{joint}limit={limit}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= limit, "{}", page.text);
        found.extend(data.iter().cloned());
        if page.body["has_more"] == false {
            assert_eq!(page.body["next_cursor"], Value::Null);
            return found;
        }
        cursor = format!("&cursor={}", page.body["next_cursor"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_names_the_event_and_the_payment_of_each_line() {
    let scene = Scene::start("statement");
    let account = scene.account("alice", "USD", "100.00").await;
    for number in 0..5 {
        scene.client.pay(&Payment::of("alice", &format!("p{number}"), "1.00")).await;
    }
    // Declined: a hold and its release are no lines.
    scene.client.pay(&Payment::of("alice", "declined", "1.00").by("card_declined")).await;
    let withdrawal = json!({ "amount": "5.00", "currency": "USD", "reference": "rent" });
    let path = format!("/api/v1/accounts/{account}");
    let last = scene.client.post(&format!("{path}/withdrawals"), "w", &withdrawal).await;
    let at = last.body["position"].as_i64().unwrap();

    let whole = pages(&scene, &format!("{path}/entries?min_position={at}"), 1_000).await;
    let told = |line: &Value| {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        [text("type"), text("amount"), text("balance"), text("payment_id"), text("reference")].join(" ")
    };
    let withdrawn = format!("FundsWithdrawn -5.00 90.00 {} rent", last.body["payment_id"].as_str().unwrap());
    let expected = [
        withdrawn.as_str(),
        "HoldCaptured -1.00 95.00 p4 ",
        "HoldCaptured -1.00 96.00 p3 ",
        "HoldCaptured -1.00 97.00 p2 ",
        "HoldCaptured -1.00 98.00 p1 ",
        "HoldCaptured -1.00 99.00 p0 ",
        "FundsDeposited 100.00 100.00  ",
    ];
    assert_eq!(whole.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(pages(&scene, &format!("{path}/entries"), 2).await, whole, "pages join without a seam");
    for line in &whole {
        let id = line["event_id"].as_str().unwrap();
        let event = scene.client.get(&format!("/api/v1/events/{id}")).await.body;
        assert_eq!((&event["position"], &event["type"]), (&line["position"], &line["type"]));
        assert_eq!(event["recorded_at"], line["recorded_at"]);
    }
    let opened = json!({ "user_id": "bob", "currency": "USD" });
    let bob = scene.client.post("/api/v1/accounts", "bob", &opened).await.body["account_id"].clone();
    let empty = scene.client.get(&format!("/api/v1/accounts/{}/entries", bob.as_str().unwrap())).await;
    assert_eq!((empty.status, &empty.body["data"]), (200, &json!([])));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_found_by_user_status_and_time() {
    let scene = Scene::start("payment-list");
    for user in ["alice", "bob"] {
        scene.account(user, "USD", "100.00").await;
    }
    let mut created = vec![];
    for number in 0..6 {
        let (user, method) =
            if number % 2 == 0 { ("alice", "credit_card") } else { ("bob", "card_declined") };
        scene.client.pay(&Payment::of(user, &format!("p{number}"), "1.00").by(method)).await;
        created.push(scene.story(&format!("p{number}")).await[0].1);
    }
    let at = scene.client.head().await;
    let ids = async |query: &str, limit| -> Vec<String> {
        let path = format!("/api/v1/payments?min_position={at}{query}");
        let found = pages(&scene, &path, limit).await;
        found.iter().map(|payment| payment["payment_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("", 1_000).await, ["p5", "p4", "p3", "p2", "p1", "p0"], "newest first");
    assert_eq!(ids("", 2).await, ids("", 1_000).await);
    assert_eq!(ids("&user_id=alice", 2).await, ["p4", "p2", "p0"]);
    assert_eq!(ids("&user_id=nobody", 2).await, [""; 0]);
    assert_eq!(ids("&status=failed", 2).await, ["p5", "p3", "p1"]);
    assert_eq!(ids("&status=completed", 2).await, ["p4", "p2", "p0"]);
    assert_eq!(ids("&status=completed&user_id=bob", 2).await, [""; 0]);
    assert_eq!(ids("&status=processing", 2).await, [""; 0]);
    let time = |position: i64| {
        let path = format!("/api/v1/events?after={}&limit=1", position - 1);
        let client = scene.client.clone();
        async move { client.get(&path).await.body["data"][0]["recorded_at"].as_str().unwrap().to_owned() }
    };
    let (from, to) = (time(created[1]).await, time(created[3]).await);
    assert_eq!(ids(&format!("&from={from}&to={to}"), 2).await, ["p2", "p1"], "from is in, to is not");

    // A payment looks in the list as it does alone.
    let alone = scene.client.payment("p1").await.body;
    let listed = pages(&scene, "/api/v1/payments?user_id=bob", 10).await;
    let listed = listed.iter().find(|payment| payment["payment_id"] == "p1").unwrap();
    for (name, value) in alone.as_object().unwrap() {
        if name != "position" {
            assert_eq!(listed[name], *value, "{name}");
        }
    }
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_refused_by_its_name() {
    let scene = Scene::start("bad-queries");
    let account = scene.account("alice", "USD", "1.00").await;
    let entries = format!("/api/v1/accounts/{account}/entries");
    for (query, code, param) in [
        ("/api/v1/payments?status=done", "invalid_value", "status"),
        ("/api/v1/payments?status=new", "invalid_value", "status"),
        ("/api/v1/payments?user_id=a%20b", "invalid_id", "user_id"),
        ("/api/v1/payments?from=yesterday", "wrong_type", "from"),
        ("/api/v1/payments?limit=1001", "out_of_range", "limit"),
        ("/api/v1/payments?cursor=12", "invalid_cursor", "cursor"),
        ("/api/v1/payments?colour=red", "unknown_parameter", "colour"),
        ("/api/v1/payments?min_position=x", "wrong_type", "min_position"),
        ("/api/v1/payments?min_position=1000000", "position_not_reached", "min_position"),
        (&format!("{entries}?limit=0"), "out_of_range", "limit"),
        (&format!("{entries}?cursor=c-1"), "invalid_cursor", "cursor"),
        (&format!("{entries}?as_of=2026-01-01T00:00:00Z"), "unknown_parameter", "as_of"),
    ] {
        let refused = scene.client.get(query).await;
        assert_eq!((refused.status, refused.code()), (422, code), "{query}: {}", refused.text);
        assert_eq!(refused.body["param"], param, "{query}");
    }
    for path in ["/api/v1/accounts/acc_none", "/api/v1/accounts/acc_none/entries"] {
        let refused = scene.client.get(path).await;
        assert_eq!((refused.status, refused.code()), (404, "account_not_found"), "{}", refused.text);
    }
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_reads_it_by_the_position_of_the_answer() {
    let scene = Scene::start("read-your-writes");
    let mut clients = JoinSet::new();
    let tries = Arc::new(AtomicU64::new(0));
    for number in 0..16 {
        let (client, tries) = (scene.client.clone(), Arc::clone(&tries));
        let account = client.funded(&format!("writer{number}"), "1000000.00").await;
        clients.spawn(async move {
            let mut cents = 100_000_000;
            while tries.fetch_add(1, Ordering::Relaxed) < TRIES {
                let id = format!("w{number}-{cents}");
                let paid = client.pay(&Payment::of(&format!("writer{number}"), &id, "0.01")).await;
                assert_eq!(paid.status, 201, "{}", paid.text);
                cents -= 1;
                let at = paid.body["position"].as_i64().unwrap();
                let expected = format!("{}.{:02}", cents / 100, cents % 100);
                let path = format!("/api/v1/accounts/{account}");
                let read = client.get(&format!("{path}?min_position={at}")).await;
                assert_eq!(read.body["posted"], expected, "{}", read.text);
                assert!(read.body["position"].as_i64().unwrap() >= at);
                // Each model waits for itself.
                let line = client.get(&format!("{path}/entries?limit=1&min_position={at}")).await;
                assert_eq!(line.body["data"][0]["payment_id"], id, "{}", line.text);
                let list = format!("/api/v1/payments?user_id=writer{number}&limit=1&min_position={at}");
                let listed = client.get(&list).await;
                assert_eq!(listed.body["data"][0]["status"], "completed", "{}", listed.text);
                assert_eq!(listed.body["data"][0]["payment_id"], id);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    scene.end_settled().await;
}
