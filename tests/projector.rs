//! The read models follow the log: through crashes, take-overs, events that cannot be folded.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::support::parts::Parts;
use crate::support::process::Server;
use crate::support::read_models::{caught_up, fill, read_models_are_right};
use crate::support::{Acknowledged, Books, Chance, Load, Payment, eventually};

/// How often a projector is killed.
const KILLS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn projectors_that_are_killed_count_each_event_once() {
    let parts = Parts::start("projector-kills").await;
    for user in 0..8 {
        parts.client.funded(&format!("kill{user}"), "1000000.00").await;
    }
    let told = Acknowledged::default();
    let load = Load::start(&[parts.api.url()], 16, 8, "kill", &told);
    let mut chance = Chance::new("projector-kills");
    let mut projector = parts.projector();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(chance.between(20, 400))).await;
        projector.kill();
        projector = parts.projector();
    }
    load.stop().await;
    told.all_answered_cleanly(Duration::from_secs(10));
    let url = parts.database.url();
    crate::support::books::settled(&url).await;
    caught_up(&url).await;
    let books = Books::audit(&url).await;
    assert!(books.completed.len() > 100, "{} payments are no load", books.completed.len());
    read_models_are_right(&url, &books).await;
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_stands_by_takes_over() {
    let parts = Parts::start("projector-standby").await;
    let (first, second) = (parts.projector(), parts.projector());
    let account = parts.client.funded("alice", "10.00").await;
    assert_eq!(parts.client.account(&account).await.body["available"], "10.00");
    first.kill();
    let paid = parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    // Whichever was at work, the other is now.
    assert_eq!(parts.client.account(&account).await.body["available"], "9.00");
    second.stop();
}

/// The answer of `/readyz` for a projection.
async fn health(server: &Server, projection: &str) -> Value {
    let ready = crate::support::Client::new(server.url()).get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text);
    let projections = ready.body["projections"].as_array().unwrap().clone();
    projections.into_iter().find(|found| found["name"] == projection).unwrap()
}

/// How long ago an event was recorded, in milliseconds.
async fn age_ms(connection: &mut PgConnection, position: i64) -> i64 {
    let query = "select (extract(epoch from clock_timestamp() - recorded_at) * 1000)::bigint
                   from events where position = $1";
    sqlx::query_scalar(query).bind(position).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_is_behind_by_the_age_of_the_first_event_that_it_has_not_folded() {
    let parts = Parts::start("projector-lag").await;
    let (api, mut connection) = (&parts.api, parts.database.connect().await);
    assert_eq!(health(api, "payments").await["lag_ms"], 0, "there is nothing to fold");
    parts.client.funded("alice", "10.00").await;
    // Nobody has projected yet: it is as far behind as the first event is old.
    let least = age_ms(&mut connection, 1).await;
    let told = health(api, "payments").await["lag_ms"].as_i64().unwrap();
    let most = age_ms(&mut connection, 1).await;
    assert!((least..=most).contains(&told), "{least} {told} {most}");
    eventually("it is measured in seconds", async || {
        let metrics = parts.client.get("/metrics").await.text;
        let name = "projection_lag_seconds{projection=\"payments\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        (0.5..60.0).contains(&line.parse::<f64>().unwrap())
    })
    .await;

    let projector = parts.projector();
    caught_up(&parts.database.url()).await;
    let at = parts.client.head().await;
    assert_eq!(health(api, "payments").await["lag_ms"], 0);
    let metrics = parts.client.get("/metrics").await.text;
    assert!(metrics.contains("projection_lag_seconds{projection=\"payments\"} 0\n"), "{metrics}");
    projector.stop();
    // Behind the head it is the next event that counts, not the newest.
    parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    eventually("it is old", async || age_ms(&mut connection, at + 1).await > 300).await;
    parts.client.pay(&Payment::of("alice", "p2", "1.00")).await;
    let least = age_ms(&mut connection, at + 1).await;
    let (_, listed, _) = parts.tool(&["projections", "list", "--json"]);
    let most = age_ms(&mut connection, at + 1).await;
    for line in listed.lines() {
        let status: Value = serde_json::from_str(line).unwrap();
        let told = status["lag_ms"].as_i64().unwrap();
        assert!((least..=most).contains(&told), "{least} {told} {most}");
    }
    assert_eq!(listed.lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_folded_stops_its_projections_alone_until_it_is_mended() {
    let parts = Parts::start("projector-poison").await;
    let account = parts.client.funded("alice", "10.00").await;
    let paid = parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    let head = paid.body["position"].as_i64().unwrap();
    let mut forger = parts.forger().await;
    let (poisoned, event_id, payload): (i64, String, String) = sqlx::query_as(
        "select position, event_id::text, payload::text from events where event_type = 'FundsHeld'",
    )
    .fetch_one(&mut forger)
    .await
    .unwrap();
    let change = "update events set payload = $2::json where position = $1";
    sqlx::query(change).bind(poisoned).bind(r#"{"FundsHeld":{}}"#).execute(&mut forger).await.unwrap();

    let projector = parts.projector();
    eventually("payments goes on", async || health(&projector, "payments").await["position"] == head).await;
    // Statements read account events too: a hold is no line, but what cannot be read may be one.
    for stopped in ["account_balances", "account_entries"] {
        eventually("it stops", async || health(&projector, stopped).await["stopped_at"].is_object()).await;
        let found = health(&projector, stopped).await;
        assert_eq!(found["position"].as_i64(), Some(poisoned - 1), "nothing is skipped: {found}");
        assert_eq!(found["stopped_at"]["position"].as_i64(), Some(poisoned));
        assert_eq!(found["stopped_at"]["event_id"], Value::String(event_id.clone()));
        assert!(found["stopped_at"]["reason"].as_str().unwrap().contains("missing field"), "{found}");
        assert_eq!(found["stopped_at"]["trace_id"].as_str().unwrap().len(), 32);
        let (status, listed, _) = parts.tool(&["projections", "list"]);
        assert_eq!(status, Some(0));
        let line = listed.lines().find(|line| line.starts_with(stopped)).unwrap();
        assert!(
            line.contains(&format!("stopped at position {poisoned}")) && line.contains(&event_id),
            "{line}"
        );
        let metrics = crate::support::Client::new(projector.url()).get("/metrics").await.text;
        assert!(metrics.contains(&format!("projection_stopped{{projection=\"{stopped}\"}} 1")), "{metrics}");
    }
    assert!(health(&projector, "payments").await["stopped_at"].is_null());
    let log = parts.projector_log();
    assert_eq!(log.matches("cannot fold; others go on").count(), 2, "told once each: {log}");
    // A rebuild cannot pass it either, says so, and leaves what is read as it is.
    let (status, _, stderr) = parts.tool(&["projections", "rebuild", "account_balances"]);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("cannot be built past position {poisoned}")), "{stderr}");

    sqlx::query(change).bind(poisoned).bind(payload).execute(&mut forger).await.unwrap();
    caught_up(&parts.database.url()).await;
    assert!(health(&projector, "account_balances").await["stopped_at"].is_null());
    assert_eq!(parts.client.account(&account).await.body["available"], "9.00");
    read_models_are_right(&parts.database.url(), &Books::audit(&parts.database.url()).await).await;
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_fold_are_built_anew_and_read_meanwhile() {
    let parts = Parts::start("projector-fold").await;
    let account = parts.client.funded("alice", "10.00").await;
    let projector = parts.projector();
    assert_eq!(parts.client.account(&account).await.body["available"], "10.00");
    projector.stop();
    // As an older program would have left it: other rows, and the mark of another fold.
    let mut connection = parts.database.connect().await;
    for change in [
        "update projections set fold_hash = '\\x00' where name = 'account_balances'",
        "update read_models.account_balances set posted = posted + 1",
    ] {
        sqlx::query(change).execute(&mut connection).await.unwrap();
    }
    let (_, listed, _) = parts.tool(&["projections", "list"]);
    assert!(listed.contains("made by another version, to be rebuilt"), "{listed}");
    assert_eq!(parts.client.get(&format!("/api/v1/accounts/{account}")).await.body["available"], "10.01");

    let projector = parts.projector();
    eventually("it is built anew", async || {
        parts.client.get(&format!("/api/v1/accounts/{account}")).await.body["available"] == "10.00"
    })
    .await;
    let paid = parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    assert_eq!(parts.client.account(&account).await.body["available"], "9.00");
    read_models_are_right(&parts.database.url(), &Books::audit(&parts.database.url()).await).await;
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_is_far_behind_keeps_none_of_the_others_back() {
    let parts = Parts::start("projector-far-behind").await;
    fill(&parts.database, 400_000).await;
    let mut forger = parts.forger().await;
    // An early event of an account cannot be read: balances and statements stop there.
    let change = "update events set payload = $2::json where position = $1";
    let query = "select payload::text from events where position = 5";
    let payload: String = sqlx::query_scalar(query).fetch_one(&mut forger).await.unwrap();
    sqlx::query(change).bind(5_i64).bind("{}").execute(&mut forger).await.unwrap();
    let projector = parts.projector();
    let head = parts.client.head().await;
    eventually("payments is at the head", async || health(&projector, "payments").await["position"] == head)
        .await;

    sqlx::query(change).bind(5_i64).bind(payload).execute(&mut forger).await.unwrap();
    eventually("balances goes on", async || {
        health(&projector, "account_balances").await["position"].as_i64() > Some(4)
    })
    .await;
    let opening = json!({ "user_id": "alice", "currency": "USD" });
    parts.client.post("/api/v1/accounts", "alice", &opening).await;
    let refused = parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    assert_eq!(refused.code(), "insufficient_funds");
    let at = parts.client.head().await;
    let listed = parts.client.get(&format!("/api/v1/payments?user_id=alice&min_position={at}")).await;
    assert_eq!(listed.body["data"][0]["payment_id"], "p1", "{}", listed.text);
    let behind = health(&projector, "account_balances").await;
    assert!(behind["position"].as_i64() < Some(at), "it was to be seen while this one catches up: {behind}");
    caught_up(&parts.database.url()).await;
    projector.stop();
}
