//! How a process ends that is asked to: readiness goes off first, what is under way ends, nothing is lost, and no
//! silent neighbour holds it up.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::books::{Books, are_completed, settled};
use crate::support::folder::{Folder, alive};
use crate::support::process::{Server, signal};
use crate::support::{Client, Engine, Payment, SandboxProcess, TestDatabase, eventually};

/// Longer than any test: what waits for it is not what ends a process.
const LONG_MS: &str = "120000";
const LONG: Duration = Duration::from_secs(120);

/// The patience of an engine that would wait for its channel for minutes.
const PATIENT: &[(&str, &str)] = &[
    ("PAYMENTS_HTTP__REQUEST_TIMEOUT_MS", LONG_MS),
    ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", LONG_MS),
    ("PAYMENTS_SAGA__TAKEOVER_AFTER_MS", "120001"),
    ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", LONG_MS),
];

async fn status(url: &str, path: &str) -> Option<u16> {
    // A connection of its own, as a load balancer's probe makes one.
    reqwest::get(format!("{url}{path}")).await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test awaits the answers")]
async fn readiness_goes_off_first_and_what_is_under_way_ends() {
    let database = TestDatabase::start("drain").await;
    let sandbox = SandboxProcess::start_with(database.folder(), &[("PAYMENTS_SANDBOX__LATENCY_MS", "1500")]);
    let notice =
        [("PAYMENTS_HTTP__SHUTDOWN_NOTICE_MS", "5000"), ("PAYMENTS_HTTP__DRAIN_TIMEOUT_MS", LONG_MS)];
    let settings = [PATIENT, &notice].concat();
    let log = database.folder().join("engine.log");
    let engine =
        Server::start_with("api,saga,projector,notifier", &database.url(), &sandbox, &log, &settings);
    let client = Client::patient_for(engine.url(), LONG);
    client.funded("alice", "100.00").await;
    assert_eq!(status(engine.url(), "/readyz").await, Some(200));

    let pay = |id: &str| {
        let (client, payment) = (client.clone(), Payment::of("alice", id, "1.00"));
        tokio::spawn(async move { client.pay(&payment).await })
    };
    let before = pay("before");
    eventually("the payment is at the channel", async || {
        client.get("/api/v1/payments/before/events").await.body["data"]
            .as_array()
            .is_some_and(|it| it.len() > 2)
    })
    .await;
    signal("TERM", engine.pid());
    eventually("readiness is off", async || status(engine.url(), "/readyz").await == Some(503)).await;
    // Whoever has not noticed yet is served as before, on connections of their own.
    assert_eq!(status(engine.url(), "/healthz").await, Some(200));
    let within = pay("within");
    let url = engine.url().to_owned();
    assert_eq!(engine.ended().code(), Some(0));
    for (name, answer) in [("before", before), ("within", within)] {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 201, "{name}: {}", answer.text);
    }
    assert_eq!(status(&url, "/healthz").await, None);
    let books = Books::audit(&database.url()).await;
    books.all_settled();
    books.agree_with_channel(&sandbox, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_channel_holds_no_process_up_and_loses_no_payment() {
    let database = TestDatabase::start("drain-silent").await;
    let sandbox = SandboxProcess::start_with(database.folder(), &[("PAYMENTS_SANDBOX__STALLED", "true")]);
    let bound = [("PAYMENTS_HTTP__DRAIN_TIMEOUT_MS", "1000")];
    let settings = [PATIENT, &bound].concat();
    let start = |log: &str, settings: &[(&str, &str)]| {
        let log = database.folder().join(log);
        Server::start_with("api,saga,projector,notifier", &database.url(), &sandbox, &log, settings)
    };
    let engine = start("first.log", &settings);
    let client = Client::patient_for(engine.url(), LONG);
    let account = client.funded("alice", "100.00").await;
    let payments: Vec<String> = (0..3).map(|number| format!("p{number}")).collect();
    let mut asked = tokio::task::JoinSet::new();
    for id in &payments {
        let (client, payment) = (client.clone(), Payment::of("alice", id, "1.00"));
        asked.spawn(async move { client.try_pay(&payment).await });
    }
    let held = json!("3.00");
    eventually("all are at the channel", async || client.account(&account).await.body["held"] == held).await;
    let began = Instant::now();
    signal("TERM", engine.pid());
    assert_eq!(engine.ended().code(), Some(0));
    assert!(began.elapsed() < LONG / 2, "the channel's silence was waited for");
    while let Some(answer) = asked.join_next().await {
        assert!(answer.unwrap().is_err(), "there was nothing to answer yet");
    }

    // One whose drain has no end to speak of, asked a second time. It has taken the payments up.
    let endless =
        [("PAYMENTS_HTTP__DRAIN_TIMEOUT_MS", LONG_MS), ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", LONG_MS)];
    let engine = start("second.log", &endless);
    let log = database.folder().join("second.log");
    eventually("they are taken up", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        payments
            .iter()
            .all(|id| log.lines().any(|line| line.contains("recovering") && line.contains(id.as_str())))
    })
    .await;
    let began = Instant::now();
    signal("TERM", engine.pid());
    eventually("it is draining", async || std::fs::read_to_string(&log).unwrap().contains("asked to stop"))
        .await;
    signal("TERM", engine.pid());
    assert_eq!(engine.ended().code(), Some(1));
    assert!(began.elapsed() < LONG / 2, "the second signal was not heard");

    let engine = start("third.log", &[]);
    let answers = reqwest::Client::new().put(format!("{}/v1/behaviour", sandbox.url())).json(&json!({}));
    assert!(answers.send().await.unwrap().status().is_success());
    settled(&database.url()).await;
    are_completed(&database.url(), &payments).await;
    let books = Books::audit(&database.url()).await;
    books.all_settled();
    books.agree_with_channel(&sandbox, true).await;
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_to_an_embedded_engine_still_stops_its_postgres() {
    let folder = Folder::new("drain-embedded");
    let data = folder.made();
    let sandbox = SandboxProcess::start_with(&data, &[("PAYMENTS_SANDBOX__STALLED", "true")]);
    let endless = [PATIENT, &[("PAYMENTS_HTTP__DRAIN_TIMEOUT_MS", LONG_MS)]].concat();
    let engine = Engine::start_with(&data, &sandbox, &endless);
    let postgres = engine.postmaster_pid();
    let client = Client::patient_for(engine.url(), LONG);
    let account = client.funded("alice", "100.00").await;
    let mut asked = tokio::task::JoinSet::new();
    let paying = client.clone();
    asked.spawn(async move { paying.try_pay(&Payment::of("alice", "held", "1.00")).await });
    eventually("it is at the channel", async || client.account(&account).await.body["held"] == "1.00").await;
    let began = Instant::now();
    signal("TERM", engine.pid());
    eventually("it is draining", async || {
        std::fs::read_to_string(data.join("engine.log")).unwrap().contains("asked to stop")
    })
    .await;
    signal("TERM", engine.pid());
    assert_eq!(engine.ended().code(), Some(1));
    assert!(began.elapsed() < LONG / 2, "the second signal was not heard");
    assert!(!alive(postgres));
}
