//! A channel, or a risk service, that falls silent under load and comes back: what callers get meanwhile,
//! and what is left of it afterwards.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Acknowledged, Load, Payment, Scene, eventually};

const CLIENTS: u64 = 48;
const USERS: u64 = 16;

/// How long the channel is silent. The engine's own limits are far shorter, so more of it changes nothing but
/// the test's length.
fn stall() -> Duration {
    let seconds = std::env::var("PAYMENTS_TEST_STALL_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(12))
}

async fn breaker(scene: &Scene, service: &str) -> String {
    let ready = scene.client.get("/readyz").await;
    assert_eq!(ready.status, 200, "a service that is away leaves this process well: {}", ready.text);
    let services = ready.body["services"].as_array().unwrap();
    let service = services.iter().find(|found| found["name"] == service).unwrap();
    service["breaker"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_channel_is_silent_callers_get_quick_answers_and_nothing_is_charged_twice() {
    let scene = Scene::start("channel-stalls");
    scene.fund("stall", USERS).await;
    let told = Acknowledged::default();
    let load = Load::start(&[scene.url()], CLIENTS, USERS, "stall", &told);
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let stalled_at = Instant::now();
    eventually("the breaker opens", async || breaker(&scene, "channel").await != "closed").await;
    let status = |status| {
        told.counts().iter().filter(|((told, _), _)| *told == status).map(|(_, count)| *count).sum::<usize>()
    };
    // Those that were under way wait as long as a payment may; whoever comes after them does not.
    eventually("callers are refused", async || status(503) > usize::try_from(CLIENTS).unwrap()).await;
    let (paid_before, mut refused) = (status(201), status(503));
    while stalled_at.elapsed() < stall() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Each client goes round many times a second when it is refused at once: were it to wait for the
        // channel, it would come round once in three seconds.
        let now = status(503);
        assert!(now - refused > usize::try_from(CLIENTS).unwrap(), "{} refused in a second", now - refused);
        refused = now;
    }
    assert_eq!(breaker(&scene, "risk").await, "closed", "each service has a breaker of its own");
    let metrics = scene.client.get("/metrics").await.text;
    let opened = |line: &&str| line.starts_with("breaker_state{") && line.contains("channel");
    assert!(!metrics.lines().find(opened).unwrap().ends_with(" 0"), "the metric says so, too");
    scene.sandbox_behaves(&json!({})).await;
    eventually("payments go through again", async || status(201) > paid_before + 100).await;
    assert_eq!(breaker(&scene, "channel").await, "closed");
    load.stop().await;
    told.all_answered_cleanly(Duration::from_secs(10));
    eprintln!("channel silent for {:?}: {:?}", stall(), told.counts());
    let unavailable = (503, "channel_unavailable".to_owned());
    assert!(told.counts()[&unavailable] > 0);
    // Holds of those whose outcome was unknown end right, by themselves.
    scene.settled().await;
    told.agree_with(&scene.end_settled().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_channel_is_silent_what_needs_it_is_not_begun() {
    let settings =
        [("PAYMENTS_SERVICES__BREAKER_FAILURES", "2"), ("PAYMENTS_SERVICES__BREAKER_OPEN_MS", "600")];
    let scene = Scene::start_with("channel-away", &settings);
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "paid", "5.00")).await.status, 201);
    assert_eq!(scene.client.authorize(&Payment::of("alice", "held", "5.00")).await.status, 201);
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let unknown = [Payment::of("alice", "u1", "1.00"), Payment::of("alice", "u2", "1.00")];
    futures::future::join_all(unknown.iter().map(|payment| scene.client.pay(payment))).await;
    let head = scene.books().await.events;
    eventually("the breaker is open", async || breaker(&scene, "channel").await == "open").await;
    for (change, id) in [("refunds", "paid"), ("capture", "held"), ("void", "held")] {
        let refused = scene.client.change(id, change, &format!("k-{change}"), &json!({})).await;
        // A probe may be under way; then the breaker is not open for a moment.
        assert_eq!((refused.status, refused.code()), (503, "channel_unavailable"), "{}", refused.text);
    }
    let refused = scene.client.pay(&Payment::of("alice", "new", "1.00")).await;
    assert_eq!((refused.status, refused.code()), (503, "channel_unavailable"), "{}", refused.text);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(scene.books().await.events, head, "nothing was begun");
    scene.sandbox_behaves(&json!({})).await;
    eventually("the breaker closes", async || breaker(&scene, "channel").await == "closed").await;
    for (change, id) in [("refunds", "paid"), ("void", "held")] {
        let done = scene.client.change(id, change, &format!("k-{change}"), &json!({})).await;
        assert!(done.status < 300, "the same key goes through now: {}", done.text);
    }
    scene.settled().await;
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_risk_is_silent_small_payments_go_on_and_the_rest_are_refused_at_once() {
    let scene = Scene::start("risk-stalls");
    scene.fund("risk", USERS).await;
    scene.account("alice", "USD", "100000.00").await;
    let told = Acknowledged::default();
    // The load's amounts are below the limit.
    let load = Load::start(&[scene.url()], CLIENTS, USERS, "risk", &told);
    scene.sandbox_behaves(&json!({ "risk_stalled": true })).await;
    eventually("the breaker opens", async || breaker(&scene, "risk").await != "closed").await;
    let before = told.with_status(201).len();
    eventually("small payments go on", async || told.with_status(201).len() > before + 200).await;
    let large = scene.client.pay(&Payment::of("alice", "large", "50000.00")).await;
    assert_eq!((large.status, large.code()), (503, "risk_unavailable"), "{}", large.text);
    assert!(large.header("retry-after").parse::<u32>().unwrap() > 0);
    let small = scene.client.pay(&Payment::of("alice", "small", "1.00")).await;
    assert_eq!((small.status, small.body["degraded"].as_bool()), (201, Some(true)), "{}", small.text);
    scene.sandbox_behaves(&json!({})).await;
    eventually("the breaker closes", async || breaker(&scene, "risk").await == "closed").await;
    let large = scene.client.pay(&Payment::of("alice", "large", "50000.00")).await;
    assert_eq!(large.status, 201, "{}", large.text);
    load.stop().await;
    told.all_answered_cleanly(Duration::from_secs(10));
    scene.settled().await;
    told.agree_with(&scene.end_settled().await);
}
