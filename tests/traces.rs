//! Every event leads to the span that recorded it, and that to the request that caused it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::collector::{Collector, Span};
use crate::support::receiver::{Receiver, Say};
use crate::support::store::{hold_commits_of, let_commits_go};
use crate::support::webhooks::{EAGER, register};
use crate::support::{Payment, Scene, eventually};

const CALLERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

/// A payment whose caller has a trace of its own, which it wants to be kept.
async fn pay_in_a_trace(scene: &Scene, payment_id: &str, wanted: bool) -> Value {
    let body = json!({ "payment_id": payment_id, "user_id": "alice", "amount": "7.53", "currency": "USD",
                       "payment_method": "card" });
    let flags = if wanted { "01" } else { "00" };
    let answer = reqwest::Client::new()
        .post(format!("{}/api/v1/payments", scene.url()))
        .header("idempotency-key", payment_id)
        .header("traceparent", format!("00-{CALLERS_TRACE}-{CALLERS_SPAN}-{flags}"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["trace-id"], CALLERS_TRACE);
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// `traceparent` of each event of a payment, split.
async fn recorded_by(scene: &Scene, payment_id: &str) -> Vec<(String, String, String)> {
    let story = scene.client.get(&format!("/api/v1/payments/{payment_id}/events")).await.body;
    let split = |event: &Value| {
        let fields: Vec<&str> = event["traceparent"].as_str().unwrap().split('-').collect();
        (fields[1].to_owned(), fields[2].to_owned(), fields[3].to_owned())
    };
    story["data"].as_array().unwrap().iter().map(split).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_one_trace_from_its_request_to_its_events() {
    let collector = Collector::start().await;
    let scene = Scene::start_with("traces", &collector.settings());
    scene.account("alice", "USD", "100.00").await;
    let paid = pay_in_a_trace(&scene, "p1", false).await;
    assert_eq!(paid["status"], "completed", "{paid}");
    let expected = [
        "POST /api/v1/payments",
        "POST /v1/charges",
        "POST /v1/risk/evaluations",
        "account.capture",
        "account.hold",
        "channel.pay",
        "eventstore.append",
        "payment.idempotency_check",
        "payment.process",
        "risk.check",
    ];
    let names = |spans: &[Span]| spans.iter().map(|span| span.name.clone()).collect::<BTreeSet<_>>();
    eventually("the trace is whole", async || {
        names(&collector.of_trace(CALLERS_TRACE)) == expected.map(str::to_owned).into()
    })
    .await;
    let spans = collector.of_trace(CALLERS_TRACE);
    let found = |span_id: &str| spans.iter().find(|span| span.span_id == span_id);

    // One tree under the caller's span, by one service.
    let (roots, others): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.parent_id == CALLERS_SPAN);
    assert_eq!((roots.len(), roots[0].name.as_str()), (1, "POST /api/v1/payments"));
    assert!(others.iter().all(|span| found(&span.parent_id).is_some()), "{others:#?}");
    for span in &spans {
        let asked = match span.name.as_str() {
            "POST /v1/charges" => Some("channel.pay"),
            "POST /v1/risk/evaluations" => Some("risk.check"),
            _ => None,
        };
        assert_eq!(span.service, if asked.is_some() { "payments-sandbox" } else { "payments" });
        assert!(asked.is_none_or(|by| found(&span.parent_id).unwrap().name == by), "{span:?}");
    }

    // Each event names the span that recorded it, under the step that wanted it.
    let events = recorded_by(&scene, "p1").await;
    assert!(events.len() >= 4, "{events:?}");
    for (trace_id, span_id, flags) in &events {
        assert_eq!((trace_id.as_str(), flags.as_str()), (CALLERS_TRACE, "01"));
        assert_eq!(found(span_id).unwrap().name, "eventstore.append");
    }
    let step = |event: usize| &found(&found(&events[event].1).unwrap().parent_id).unwrap().name;
    assert_eq!((step(0).as_str(), step(events.len() - 1).as_str()), ("account.hold", "account.capture"));

    let one = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let server = one("POST /api/v1/payments");
    assert_eq!(
        (server.says("http.route"), server.says("http.response.status_code")),
        ("/api/v1/payments", "201")
    );
    let process = one("payment.process");
    for (attribute, value) in [
        ("payment.id", "p1"),
        ("user.id", "alice"),
        ("payment.amount", "7.53"),
        ("payment.currency", "USD"),
        ("payment.method", "card"),
    ] {
        assert_eq!(process.says(attribute), value, "{attribute}");
    }
    assert_eq!(one("risk.check").says("http.response.status_code"), "200");
    assert!(!one("risk.check").says("risk.score").is_empty());
    assert_eq!(one("channel.pay").says("transaction.id"), paid["transaction_id"].as_str().unwrap());
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_force_a_trace_to_be_kept() {
    let collector = Collector::start().await;
    let settings = [collector.settings(), vec![("OTEL_TRACES_SAMPLER_ARG", "0")]].concat();
    let scene = Scene::start_with("traces-forced", &settings);
    scene.account("alice", "USD", "100.00").await;
    let paid = pay_in_a_trace(&scene, "p1", true).await;
    assert_eq!(paid["status"], "completed", "{paid}");
    for (trace_id, span_id, flags) in recorded_by(&scene, "p1").await {
        assert_eq!((trace_id.as_str(), flags.as_str()), (CALLERS_TRACE, "00"));
        assert_ne!(span_id, CALLERS_SPAN);
    }
    // It sends what it has when it ends.
    scene.stopped();
    assert_eq!(collector.spans().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_payment_leads_back_to_the_trace_that_began_it() {
    let collector = Collector::start().await;
    let scene = Scene::start_with("traces-recovered", &collector.settings());
    scene.account("alice", "USD", "10.00").await;
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let payment = Payment::of("alice", "p1", "1.00");
    let answer = scene.client.pay(&payment).await;
    assert_eq!(answer.status, 202);
    eventually("the request is told, though its payment goes on", async || {
        let spans = collector.of_trace(answer.header("trace-id"));
        spans.iter().any(|span| span.says("http.response.status_code") == "202")
    })
    .await;
    let scene = scene.killed_and_started_again();
    scene.sandbox_behaves(&json!({})).await;
    assert_eq!(scene.client.settled("p1", Duration::from_secs(20)).await["status"], "completed");
    let events = recorded_by(&scene, "p1").await;
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_ne!(first.0, last.0, "recovery tells a trace of its own");
    eventually("its trace is whole", async || {
        collector.of_trace(&last.0).iter().any(|span| span.name == "payment.recover")
    })
    .await;
    let spans = collector.of_trace(&last.0);
    let root = spans.iter().find(|span| span.name == "payment.recover").unwrap();
    assert_eq!(root.parent_id, "");
    let (trace_id, span_id, kind) = &root.links[0];
    assert_eq!((trace_id, kind.as_str()), (&first.0, "caused_by"));
    assert!(events.iter().any(|event| event.1 == *span_id), "{root:?} {events:?}");
    assert_eq!((root.says("origin.trace_id"), root.says("link.kind")), (first.0.as_str(), "caused_by"));
    assert!(spans.iter().any(|span| span.name == "channel.inquire"), "{spans:#?}");
    assert!(spans.iter().any(|span| span.span_id == last.1 && span.name == "eventstore.append"));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_payments_nothing_and_holds_no_process_back() {
    let nobody = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let scene = Scene::start_with("traces-nobody", &nobody);
    scene.account("alice", "USD", "100.00").await;
    for number in 0..50 {
        let paid = scene.client.pay(&Payment::of("alice", &format!("p{number}"), "1.00")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
    }
    let began = Instant::now();
    scene.stopped();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_none_is_refused_at_the_start() {
    let mut command = std::process::Command::new(crate::support::process::program());
    command.args(["sandbox", "--listen", "127.0.0.1:0"]);
    command
        .envs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_TRACES_SAMPLER_ARG", "most")]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("OTEL_TRACES_SAMPLER_ARG must be 0 to 1, and is \"most\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_to_notify_leads_back_to_the_event() {
    let collector = Collector::start().await;
    let scene = Scene::start_with("traces-webhook", &[EAGER, &collector.settings()].concat());
    let receiver = Receiver::start().await;
    receiver.says(&[Say::Status(500)]);
    scene.account("alice", "USD", "100.00").await;
    register(&scene.client, &receiver.url(), &["PaymentCompleted"]).await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "1.00")).await.status, 201);
    let sent = || {
        let mut spans = collector.spans();
        spans.retain(|span| span.name == "notification.send");
        spans
    };
    eventually("both attempts are told", async || sent().len() == 2).await;
    let story = scene.client.get("/api/v1/payments/p1/events").await.body;
    let events = story["data"].as_array().unwrap();
    let event = events.iter().find(|event| event["type"] == "PaymentCompleted").unwrap();
    for span in sent() {
        assert_eq!(
            (span.parent_id.as_str(), span.says("event.id")),
            ("", event["event_id"].as_str().unwrap())
        );
        let (trace_id, span_id, kind) = &span.links[0];
        let traceparent = format!("00-{trace_id}-{span_id}-01");
        assert_eq!((event["traceparent"].as_str().unwrap(), kind.as_str()), (&*traceparent, "caused_by"));
    }
    let statuses: BTreeSet<String> =
        sent().iter().map(|span| span.says("http.response.status_code").to_owned()).collect();
    assert_eq!(statuses, ["200", "500"].map(str::to_owned).into());
    scene.stopped();
}

/// Each layer has a time limit of its own, shorter than that of the layer around it.
#[tokio::test(flavor = "multi_thread")]
async fn which_time_limit_was_over_is_told_by_the_span_that_waited() {
    let collector = Collector::start().await;
    let limits = [
        ("PAYMENTS_SERVICES__RISK_TIMEOUT_MS", "100"),
        ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "300"),
        ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "1000"),
    ];
    let scene = Scene::start_with("traces-late", &[&limits[..], &collector.settings()].concat());
    scene.account("alice", "USD", "100.00").await;
    scene.sandbox_behaves(&json!({ "risk_stalled": true, "stalled": true })).await;
    let paid = pay_in_a_trace(&scene, "late", true).await;
    assert_eq!(paid["status"], "processing", "{paid}");
    scene.sandbox_behaves(&json!({})).await;
    for (span, kind) in [
        ("risk.check", "timeout"),
        ("channel.pay", "timeout"),
        ("channel.inquire", "timeout"),
        ("POST /api/v1/payments", "payment_timeout"),
    ] {
        eventually(span, async || {
            let spans = collector.of_trace(CALLERS_TRACE);
            spans.iter().any(|found| found.name == span && found.says("error.type") == kind)
        })
        .await;
    }
    scene.client.settled("late", Duration::from_secs(20)).await;
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_store_and_of_a_request_are_told_as_well() {
    let collector = Collector::start().await;
    let limits = [
        ("PAYMENTS_STORE__TIMEOUT_MS", "400"),
        ("PAYMENTS_HTTP__REQUEST_TIMEOUT_MS", "1500"),
        ("PAYMENTS_HTTP__BODY_TIMEOUT_MS", "1000"),
    ];
    let scene = Scene::start_with("traces-limits", &[&limits[..], &collector.settings()].concat());
    scene.account("alice", "USD", "100.00").await;
    let told = async |span: &str, kind: &str| {
        eventually(kind, async || {
            let spans = collector.of_trace(CALLERS_TRACE);
            spans.iter().any(|found| found.name == span && found.says("error.type") == kind)
        })
        .await;
    };

    let held = hold_commits_of(PgConnection::connect(&scene.database_url()).await.unwrap()).await;
    let paid = pay_in_a_trace(&scene, "stored-late", true).await;
    let_commits_go(held).await;
    assert_eq!(paid["code"], "outcome_unknown", "{paid}");
    told("eventstore.append", "timeout").await;

    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let paid = pay_in_a_trace(&scene, "answered-late", true).await;
    assert_eq!(paid["code"], "outcome_unknown", "{paid}");
    scene.sandbox_behaves(&json!({})).await;
    told("POST /api/v1/payments", "request_timeout").await;
    for payment in ["stored-late", "answered-late"] {
        scene.client.settled(payment, Duration::from_secs(20)).await;
    }
    scene.end_settled().await;
}
