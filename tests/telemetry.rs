//! What is measured and logged, and what becomes of payments when nobody can be told of it.

use serde_json::{Value, json};

use crate::support::collector::{Collector, Health};
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, register};
use crate::support::{Payment, Scene, eventually};

/// A test number of card schemes, as a careless client might send it.
const CARD: &str = "4242424242424242";

async fn metrics(scene: &Scene) -> String {
    reqwest::get(format!("{}/metrics", scene.url())).await.unwrap().text().await.unwrap()
}

/// What the engine has in memory.
fn memory_mb(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.engine_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// The sum over the series of a metric whose labels contain a text.
fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let series = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
            && line.contains(label)
    });
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Payments of every outcome, and a repeat.
async fn pay_in_every_way(scene: &Scene) {
    scene.account("alice", "USD", "100.00").await;
    let pay = async |id: &str, method: &str, amount: &str| {
        let payment = Payment::of("alice", id, amount).by(method);
        scene.client.pay(&payment).await.status
    };
    assert_eq!(pay("p1", "card", "1.00").await, 201);
    assert_eq!(pay("p2", "card", "2.00").await, 201);
    assert_eq!(pay("p2", "card", "2.00").await, 201);
    assert_eq!(pay("p3", "card_declined", "1.00").await, 422);
    assert_eq!(pay("p4", "card_high_risk", "1.00").await, 422);
    assert_eq!(pay("p5", "card", "1000.00").await, 422);
    assert_eq!(pay("p6", "card_lost_answer", "1.00").await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_has_the_names_of_the_contract_and_is_right() {
    let collector = Collector::start().await;
    let scene = Scene::start_with("metrics", &collector.settings());
    pay_in_every_way(&scene).await;
    scene.settled().await;
    eventually("nothing is open any more", async || sum(&metrics(&scene).await, "payments_open", "") < 0.5)
        .await;
    let text = metrics(&scene).await;
    for (name, label, value) in [
        ("payment_requests_total", "status=\"success\"", 3.0),
        ("payment_requests_total", "status=\"failed\"", 2.0),
        ("payment_requests_total", "status=\"rejected\"", 1.0),
        ("payment_requests_total", "status=\"duplicate\"", 1.0),
        ("payment_duration_count", "status=\"success\"", 3.0),
        ("payment_errors_total", "service=\"channel\"", 1.0),
        ("risk_assessments_total", "level=\"high\"", 1.0),
        ("account_operations_total", "operation=\"hold\"", 4.0),
        ("account_operations_total", "operation=\"capture\"", 3.0),
        ("account_operations_total", "operation=\"release\"", 1.0),
        ("channel_duration_count", "outcome=\"unknown\"", 1.0),
        ("breaker_state", "service=\"channel\"", 0.0),
        ("payments_open", "", 0.0),
        ("payments_needs_review", "", 0.0),
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in:\n{text}");
        let found = sum(&text, name, label);
        assert!((found - value).abs() < 0.01, "{name}{{{label}}} is {found}, not {value}:\n{text}");
    }
    let path = "http_route=\"/api/v1/payments\"";
    assert!(sum(&text, "http_server_request_duration_seconds_count", path) > 6.5, "{text}");
    for name in [
        "payment_duration_bucket",
        "eventstore_batch_events_bucket",
        "eventstore_append_duration_bucket",
        "http_client_request_duration_seconds_bucket",
        "db_client_operation_duration_seconds_bucket",
        "http_server_active_requests",
        "payments_oldest_open_seconds",
        "telemetry_dropped_total",
        "telemetry_exported_total",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in:\n{text}");
    }
    // Nothing that a caller chooses is a label.
    for chosen in ["alice", "p1", "card_declined"] {
        assert!(!text.contains(chosen), "{chosen} is in:\n{text}");
    }
    eventually("metrics are sent, too", async || {
        let sent = collector.metrics();
        ["payment_requests", "http.server.request.duration", "projection_lag"]
            .iter()
            .all(|name| sent.iter().any(|sent| sent == name))
    })
    .await;
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_names_its_trace_on_stderr_and_by_otlp() {
    let collector = Collector::start().await;
    let settings = [collector.settings(), vec![("PAYMENTS_LOG__JSON", "true")]].concat();
    let scene = Scene::start_with("log-ids", &settings);
    scene.account("alice", "USD", "100.00").await;
    let paid = scene.client.pay(&Payment::of("alice", "p1", "1.00").by("card_lost_answer")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let trace_id = paid.header("trace-id").to_owned();
    let said = "channel outcome unknown, inquiring";
    let record = || collector.records().into_iter().find(|record| record.body.contains(said));
    eventually("the line is sent", async || record().is_some()).await;
    assert_eq!(record().unwrap().trace_id, trace_id);
    assert_eq!(record().unwrap().attributes["payment.id"], "p1");
    let log = scene.stopped();
    let line = log.lines().find(|line| line.contains(said)).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trace_id"], trace_id);
    let span_id = line["span_id"].as_str().unwrap();
    assert!(collector.of_trace(&trace_id).iter().any(|span| span.span_id == span_id), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_ill_costs_no_payment_and_what_is_lost_is_counted() {
    let collector = Collector::start().await;
    let short = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
    ];
    let scene = Scene::start_with("ill-collector", &[collector.settings(), short.to_vec()].concat());
    scene.account("alice", "USD", "1000.00").await;
    let lost = async || {
        let text = metrics(&scene).await;
        sum(&text, "telemetry_dropped_total", "signal=\"traces\"")
            + sum(&text, "telemetry_exported_total", "outcome=\"failed\",signal=\"traces\"")
    };
    let memory_before = memory_mb(&scene);
    // Whoever answers nonsense may have taken what it was sent; the others have not.
    for (health, loses) in [(Health::Stalled, true), (Health::Refusing, true), (Health::Raving, false)] {
        collector.is(health);
        let before = lost().await;
        for round in 0..6 {
            let id = |number| format!("{health:?}-{round}-{number}");
            let paying: Vec<Payment> =
                (0..10).map(|number| Payment::of("alice", &id(number), "0.10")).collect();
            for answer in futures::future::join_all(paying.iter().map(|one| scene.client.pay(one))).await {
                assert_eq!(answer.status, 201, "{}", answer.text);
            }
        }
        if loses {
            eventually("what is lost is counted", async || lost().await > before).await;
        }
    }
    let grown = memory_mb(&scene).saturating_sub(memory_before);
    assert!(grown < 100, "the engine's memory has grown by {grown} MB");
    collector.is(Health::Well);
    let before = collector.spans().len();
    eventually("it is told again when it is well", async || {
        let payment = Payment::of("alice", &format!("well{}", collector.spans().len()), "0.01");
        scene.client.pay(&payment).await;
        collector.spans().len() > before
    })
    .await;
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_card_number_is_told_to_anybody() {
    let (collector, receiver) = (Collector::start().await, Receiver::start().await);
    let scene = Scene::start_with("secrets", &[EAGER, &collector.settings()].concat());
    let hook = register(&scene.client, &receiver.url(), &["PaymentCompleted"]).await;
    pay_in_every_way(&scene).await;
    // A card's number where the means of payment is named is refused, and not repeated.
    let mut said = String::new();
    for method in [CARD, "4242 4242 4242 4242", "card-4242424242424242"] {
        let refused = scene.client.pay(&Payment::of("alice", "carded", "1.00").by(method)).await;
        assert_eq!(
            (refused.status, refused.body["param"].as_str()),
            (422, Some("payment_method")),
            "{}",
            refused.text
        );
        said.push_str(&refused.text);
    }
    let noted = json!({ "payment_id": "noted", "user_id": "alice", "amount": "1.00", "currency": "USD",
                        "payment_method": "card", "metadata": { "note": CARD } });
    said.push_str(&scene.client.post("/api/v1/payments", "noted", &noted).await.text);
    eventually("it is notified", async || receiver.received().len() >= 3).await;
    said.push_str(&metrics(&scene).await);
    let database_url = scene.database_url();
    said.push_str(&scene.stopped());
    said.push_str(&collector.text());
    let password = database_url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let password = password.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    assert!(said.contains("payment.process") && said.contains("payment_requests_total"));
    for secret in [Some(hook.secret.as_str()), hook.secret.strip_prefix("whsec_"), Some(CARD), password] {
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { continue };
        let at = said.find(secret);
        let around = at.map(|at| &said[at.saturating_sub(200)..at]);
        assert_eq!(around, None, "a secret follows this");
    }
}
