//! From an event to the traces that recorded it, from a trace to its events, and the whole story in a terminal.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::collector::Collector;
use crate::support::process::program;
use crate::support::{Payment, Scene, eventually};

const JAEGER: &str = "https://jaeger.example/ui";

/// What `payments trace` said: its exit status, stdout, stderr.
fn trace(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program())
        .arg("trace")
        .args(arguments)
        .env("PAYMENTS_DATA_DIR", scene.path())
        .env_remove("PAYMENTS_JAEGER_URL")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn drawn(scene: &Scene, arguments: &[&str]) -> String {
    let (status, output, errors) = trace(scene, arguments);
    assert_eq!(status, Some(0), "{errors}");
    let wide = output.lines().find(|line| line.chars().count() > 100);
    assert_eq!(wide, None, "a line is wider than 100 columns");
    assert!(!output.contains('\u{1b}'), "no colours where nobody looks");
    output
}

fn told(scene: &Scene, arguments: &[&str]) -> Value {
    let (status, output, errors) = trace(scene, &[arguments, &["--json"]].concat());
    assert_eq!(status, Some(0), "{errors}");
    serde_json::from_str(&output).unwrap()
}

/// The traces of something by the API.
async fn traces(scene: &Scene, of: &str) -> Vec<Value> {
    let answer = scene.client.get(&format!("/api/v1/{of}/traces")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((&answer.body["has_more"], &answer.body["next_cursor"]), (&json!(false), &Value::Null));
    answer.body["data"].as_array().unwrap().clone()
}

async fn story(scene: &Scene, payment_id: &str) -> Vec<Value> {
    let answer = scene.client.get(&format!("/api/v1/payments/{payment_id}/events")).await;
    answer.body["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_lead_to_their_trace_and_back() {
    let collector = Collector::start().await;
    let jaeger = [("PAYMENTS_TELEMETRY__JAEGER_UI_URL", JAEGER)];
    let scene = Scene::start_with("explorer", &[&jaeger[..], &collector.settings()].concat());
    scene.account("alice", "USD", "100.00").await;
    // The first payment opens the settlement account as well.
    assert_eq!(scene.client.pay(&Payment::of("alice", "p0", "1.00")).await.status, 201);
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "7.53")).await.status, 201);
    assert_eq!(scene.client.pay(&Payment::of("alice", "p2", "1.00")).await.status, 201);

    let events = story(&scene, "p1").await;
    let trace_id = events[0]["trace_id"].as_str().unwrap().to_owned();
    let found = traces(&scene, "payments/p1").await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let one = &found[0];
    assert_eq!((one["trace_id"].as_str(), one["kind"].as_str()), (Some(&*trace_id), Some("recorded_by")));
    assert_eq!(one["sampled"], true);
    assert_eq!(one["url"], format!("{JAEGER}/trace/{trace_id}"));
    let search = one["handled_by"][0]["url"].as_str().unwrap();
    assert!(search.starts_with(&format!("{JAEGER}/search?service=payments&tags=%7B%22origin.trace_id%22")));
    assert!(search.contains(&trace_id), "{search}");
    assert_eq!((&one["first_at"], &one["last_at"]), (&events[0]["recorded_at"], &events[6]["recorded_at"]));
    let spans: Vec<&str> =
        one["span_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(spans.len(), 2, "two appends: {spans:?}");
    let told = one["events"].as_array().unwrap();
    assert_eq!(told.len(), events.len());
    for (told, event) in told.iter().zip(&events) {
        for field in ["event_id", "position", "type"] {
            assert_eq!(told[field], event[field]);
        }
        let traceparent = format!("00-{trace_id}-{}-01", told["span_id"].as_str().unwrap());
        assert_eq!(event["traceparent"], traceparent);
        assert_eq!(event["trace_url"], one["url"]);
    }
    let by_event = traces(&scene, &format!("events/{}", events[3]["event_id"].as_str().unwrap())).await;
    assert_eq!(
        (&by_event[0]["trace_id"], by_event[0]["events"].as_array().unwrap().len()),
        (&json!(trace_id), 1)
    );

    // Back again: the trace's events and no others, as they are shown everywhere, page by page.
    let mut recorded = vec![];
    let mut cursor = String::new();
    loop {
        let page = scene.client.get(&format!("/api/v1/traces/{trace_id}/events?limit=3{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        recorded.extend(page.body["data"].as_array().unwrap().iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(recorded, events);
    // A reader's trace has recorded nothing, and says so.
    let reader = scene.client.get("/api/v1/payments/p1").await.header("trace-id").to_owned();
    let nothing = scene.client.get(&format!("/api/v1/traces/{reader}/events")).await;
    assert_eq!(
        (nothing.status, nothing.body),
        (200, json!({ "data": [], "has_more": false, "next_cursor": null }))
    );
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_unknown_is_named() {
    let scene = Scene::start("explorer-refused");
    for wrong in [
        "x",
        "0AF7651916CD43DD8448EB211C80319C",
        "0af7651916cd43dd8448eb211c80319",
        "0af7651916cd43dd8448eb211c80319cc",
    ] {
        let refused = scene.client.get(&format!("/api/v1/traces/{wrong}/events")).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid_trace_id"), "{wrong}");
        assert_eq!(refused.body["param"], "trace_id");
    }
    let known = "0af7651916cd43dd8448eb211c80319c";
    for (query, param) in [("limit=0", "limit"), ("cursor=x", "cursor"), ("x=1", "x")] {
        let refused = scene.client.get(&format!("/api/v1/traces/{known}/events?{query}")).await;
        assert_eq!((refused.status, refused.body["param"].as_str()), (422, Some(param)), "{query}");
    }
    for (path, code) in [
        ("payments/nobody", "payment_not_found"),
        ("events/no-uuid", "event_not_found"),
        ("events/00000000-0000-7000-8000-000000000000", "event_not_found"),
    ] {
        let refused = scene.client.get(&format!("/api/v1/{path}/traces")).await;
        assert_eq!((refused.status, refused.code()), (404, code), "{path}");
    }
    for (id, said) in [
        ("nobody", "there is no payment or event nobody"),
        ("00000000-0000-7000-8000-000000000000", "there is no payment or event 00000000"),
        (known, "has recorded no event, and there is no payment of this name"),
    ] {
        let (status, output, errors) = trace(&scene, &[id]);
        assert_eq!((status, output.as_str()), (Some(1), ""), "{errors}");
        assert!(errors.contains(said), "{errors}");
    }
    for (arguments, named) in
        [(&["a b"][..], "ID"), (&[][..], "ID"), (&["p1", "--jaeger-url", "jaeger"][..], "--jaeger-url")]
    {
        let (status, _, errors) = trace(&scene, arguments);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains(named), "{errors}");
    }
    let refused = Command::new(program())
        .args(["dev", "--data-dir", "/nonexistent"])
        .env("PAYMENTS_TELEMETRY__JAEGER_UI_URL", "jaeger:16686")
        .output()
        .unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains("telemetry.jaeger_ui_url must be an http"));
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_drawn_by_payment_event_and_trace() {
    let scene = Scene::start("explorer-story");
    let account = scene.account("alice", "USD", "100.00").await;
    // The first payment opens the settlement account as well.
    assert_eq!(scene.client.pay(&Payment::of("alice", "p0", "1.00")).await.status, 201);
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "7.53")).await.status, 201);
    let events = story(&scene, "p1").await;
    let trace_id = events[0]["trace_id"].as_str().unwrap();
    let drawing = drawn(&scene, &["p1"]);
    // No collector was told of anything.
    for said in [
        "payment p1  completed  7.53 USD",
        "by credit_card",
        "alice",
        trace_id,
        "not kept",
        "PaymentInitiated",
        "FundsCredited",
        &account,
    ] {
        assert!(drawing.contains(said), "{said} is missing in\n{drawing}");
    }
    assert!(!drawing.contains("compensation"), "{drawing}");
    for event in &events {
        let line = format!("#{} ", event["position"]);
        assert!(drawing.contains(&line), "{line} is missing in\n{drawing}");
    }
    for id in [events[4]["event_id"].as_str().unwrap(), trace_id] {
        assert_eq!(drawn(&scene, &[id]), drawing);
    }
    let told = told(&scene, &["p1"]);
    let story = &told["stories"][0];
    assert_eq!(
        (&story["payment"]["payment_id"], &story["payment"]["status"]),
        (&json!("p1"), &json!("completed"))
    );
    assert_eq!(story["traces"][0]["trace_id"], trace_id);
    assert_eq!(story["traces"][0]["sampled"], false);
    assert_eq!(story["traces"][0]["appends"].as_array().unwrap().len(), 2);
    assert_eq!(story["traces"][0]["appends"][0]["offset_us"], 0);
    // What no payment has caused has a story as well.
    let log = scene.client.get("/api/v1/events?limit=1000").await;
    let deposit = log.body["data"].as_array().unwrap().iter().find(|event| event["type"] == "FundsDeposited");
    let drawing = drawn(&scene, &[deposit.unwrap()["event_id"].as_str().unwrap()]);
    assert!(drawing.contains("FundsDeposited") && drawing.contains("100.00 USD"), "{drawing}");
    assert!(drawing.starts_with("no payment"), "{drawing}");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_marked() {
    let scene = Scene::start("explorer-wrong");
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(
        scene.client.pay(&Payment::of("alice", "declined", "1.00").by("card_declined")).await.status,
        422
    );
    scene.client.pay(&Payment::of("alice", "lost", "1.00").by("card_lost_answer")).await;
    scene.client.settled("lost", Duration::from_secs(20)).await;
    let declined = drawn(&scene, &["declined"]);
    for said in [
        "payment declined  failed",
        "channel_declined",
        "HoldReleased",
        "compensation: the hold is given back",
    ] {
        assert!(declined.contains(said), "{said} is missing in\n{declined}");
    }
    let lost = drawn(&scene, &["lost"]);
    assert!(lost.contains("outcome unknown: the channel is asked until it is known"), "{lost}");
    assert!(lost.contains("ChannelOutcomeUnknown") && lost.contains("completed"), "{lost}");
    let told = told(&scene, &["declined"]);
    let appends = told["stories"][0]["traces"][0]["appends"].as_array().unwrap().clone();
    assert_eq!(appends[1]["marks"], json!(["compensation"]), "{appends:#?}");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_taken_up_again_has_two_traces() {
    let collector = Collector::start().await;
    let settings = [collector.settings(), vec![("OTEL_TRACES_SAMPLER_ARG", "0")]].concat();
    let scene = Scene::start_with("explorer-recovered", &settings);
    scene.account("alice", "USD", "10.00").await;
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "1.00")).await.status, 202);
    let scene = scene.killed_and_started_again();
    scene.sandbox_behaves(&json!({})).await;
    scene.client.settled("p1", Duration::from_secs(20)).await;
    let found = traces(&scene, "payments/p1").await;
    assert_eq!(found.len(), 2, "{found:#?}");
    for one in &found {
        // Sampled out, so there is no page of it.
        assert_eq!(
            (&one["sampled"], &one["url"], &one["handled_by"]),
            (&json!(false), &Value::Null, &json!([]))
        );
    }
    let drawing = drawn(&scene, &["p1"]);
    assert!(drawing.contains("taken up again after ") && drawing.contains(" by saga:recovery"), "{drawing}");
    let ids = found.iter().map(|one| one["trace_id"].as_str().unwrap());
    let places: Vec<usize> = ids.map(|id| drawing.find(&format!("trace {id}")).unwrap()).collect();
    assert!(places[0] < places[1], "{drawing}");
    assert_eq!(drawing.matches("not kept: sampled out, or nobody kept traces").count(), 2, "{drawing}");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_jaeger_that_answers_the_story_is_still_told() {
    let collector = Collector::start().await;
    let scene = Scene::start_with("explorer-away", &collector.settings());
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "1.00")).await.status, 201);
    let mut serving = JoinSet::new();
    let nonsense = answering(&mut serving, "{\"result\": 7}").await;
    let html = answering(&mut serving, "<html>").await;
    for (url, reason) in [
        ("http://127.0.0.1:9", "connection failed"),
        (nonsense.as_str(), "not what Jaeger answers"),
        (html.as_str(), "not what Jaeger answers"),
    ] {
        let drawing = drawn(&scene, &["p1", "--jaeger-url", url]);
        let missing: Vec<&str> = drawing.lines().filter(|line| line.contains("spans are missing")).collect();
        assert_eq!(missing.len(), 1, "{drawing}");
        assert!(missing[0].contains(reason), "{}", missing[0]);
        assert!(drawing.contains("PaymentCompleted"), "{drawing}");
        let told = told(&scene, &["p1", "--jaeger-url", url]);
        assert!(told["spans_missing"].as_str().unwrap().contains(reason), "{told}");
    }
    eventually("spans are sent", async || !collector.spans().is_empty()).await;
    scene.end_settled().await;
}

/// Where somebody answers this to everything.
async fn answering(serving: &mut JoinSet<()>, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(move || async move { body });
    serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}
