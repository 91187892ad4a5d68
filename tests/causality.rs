//! Every event leads to the span that recorded it, and every handler leads back, whatever happens meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

use crate::relay::status;
use crate::support::collector::{Collector, Span};
use crate::support::kafka::Broker;
use crate::support::process::program;
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, list, register};
use crate::support::{Payment, Scene, eventually};

/// Spans of one trace, at most.
const MOST_SPANS: usize = 60;
const USERS: u64 = 1_000;

/// An event of the log, and the span that recorded it.
struct Recorded {
    aggregate_type: String,
    correlation_id: String,
    trace_id: String,
    span_id: String,
    kept: bool,
}

async fn log_of(scene: &Scene) -> Vec<Recorded> {
    let mut connection = PgConnection::connect(&scene.database_url()).await.unwrap();
    let query = "select aggregate_type, correlation_id, traceparent from events order by position";
    let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
    let recorded = |row: &sqlx::postgres::PgRow| {
        let traceparent: String = row.get(2);
        let fields: Vec<&str> = traceparent.split('-').collect();
        Recorded {
            aggregate_type: row.get(0),
            correlation_id: row.get(1),
            trace_id: fields[1].to_owned(),
            span_id: fields[2].to_owned(),
            kept: fields[3] == "01",
        }
    };
    rows.iter().map(recorded).collect()
}

/// An engine with everything that handles events: projector, relay, Kafka, notifier.
struct Stage {
    scene: Scene,
    broker: Broker,
    receiver: Receiver,
    collector: Collector,
}

impl Stage {
    async fn start(name: &str, share: &'static str) -> Self {
        let (collector, broker, receiver) =
            (Collector::start().await, Broker::start(name), Receiver::start().await);
        let kafka: &'static str = broker.address().leak();
        let own = [("PAYMENTS_KAFKA__BROKERS", kafka), ("OTEL_TRACES_SAMPLER_ARG", share)];
        let scene = Scene::start_with(name, &[EAGER, &collector.settings(), &own].concat());
        register(&scene.client, &receiver.url(), &["PaymentCompleted", "PaymentFailed"]).await;
        Self { scene, broker, receiver, collector }
    }

    /// The seeded load for a moment, and payments that go wrong in every way.
    async fn load(&self) {
        for user in 1..=USERS.min(40) {
            self.scene.client.funded(&format!("USER_{user}"), "1000.00").await;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/load/payment.lua");
        let arguments = ["-t2", "-c8", "-d1s", "-s", script, self.scene.url()];
        let wrk = Command::new("wrk").args(arguments).output().unwrap();
        assert!(wrk.status.success(), "{wrk:?}");
        for (number, method) in
            ["card_declined", "card_high_risk", "card_lost_answer", "card_server_error"].iter().enumerate()
        {
            let payment = Payment { method: (*method).to_owned(), ..self.payment(&format!("odd{number}")) };
            for _ in 0..2 {
                // Once more: a repeat has the first one's answer.
                self.scene.client.pay(&payment).await;
            }
        }
        self.scene.settled().await;
    }

    fn payment(&self, id: &str) -> Payment {
        Payment::of("USER_1", id, "1.00")
    }

    /// Waits until everybody has handled everything.
    async fn handled(&self) {
        self.scene.settled().await;
        let (client, url) = (&self.scene.client, self.scene.database_url());
        let head = client.head().await;
        let last = format!("/api/v1/payments?limit=1&min_position={head}");
        eventually("the read models are at the head", async || client.get(&last).await.status == 200).await;
        eventually("the log is published", async || status(&url)["position"] == head).await;
        eventually("everybody is notified", async || {
            list(client, "/api/v1/deliveries?status=pending&limit=1").await.is_empty()
        })
        .await;
        let log = log_of(&self.scene).await;
        eventually("everybody has told of it", async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Told::by(&self.collector).not_told_of(&log).is_none()
        })
        .await;
    }

    /// A command of the operator's that tells of itself.
    fn tool(&self, arguments: &[&str]) {
        let mut command = Command::new(program());
        command.args(arguments).env("DATABASE_URL", self.scene.database_url());
        command.env("PAYMENTS_KAFKA__BROKERS", self.broker.address()).envs(self.collector.settings());
        let output = command.env("OTEL_TRACES_SAMPLER_ARG", "1").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Spans by where they are.
struct Told {
    spans: HashMap<(String, String), Span>,
    traces: BTreeMap<String, Vec<Span>>,
}

impl Told {
    fn by(collector: &Collector) -> Self {
        let mut told = Self { spans: HashMap::new(), traces: BTreeMap::new() };
        for span in collector.spans() {
            told.traces.entry(span.trace_id.clone()).or_default().push(span.clone());
            told.spans.insert((span.trace_id.clone(), span.span_id.clone()), span);
        }
        told
    }

    /// The spans that handlers with a name link to.
    fn linked_by(&self, name: &str) -> HashSet<(&str, &str)> {
        let handlers = self.spans.values().filter(|span| span.name == name);
        let links = handlers.flat_map(|span| &span.links);
        links.map(|(trace_id, span_id, _)| (trace_id.as_str(), span_id.as_str())).collect()
    }

    /// A handler of an event that is kept that has not told of it: each links to the span that recorded it.
    fn not_told_of(&self, log: &[Recorded]) -> Option<String> {
        let mut linked: HashMap<&str, HashSet<(&str, &str)>> = HashMap::new();
        for event in log.iter().filter(|event| event.kept) {
            for handler in handlers_of(&event.aggregate_type) {
                let links = linked.entry(handler).or_insert_with(|| self.linked_by(handler));
                let key = (event.trace_id.as_str(), event.span_id.as_str());
                if !links.contains(&key) {
                    return Some(format!("no {handler} leads back to {key:?}"));
                }
            }
        }
        None
    }

    /// No trace is long, no link and no parent leads nowhere, except in the traces that a crash cut off.
    fn is_sound(&self, cut_off: &BTreeSet<String>) {
        for (trace_id, spans) in &self.traces {
            assert!(spans.len() <= MOST_SPANS, "trace {trace_id} has {} spans", spans.len());
        }
        for span in self.spans.values() {
            for (trace_id, span_id, kind) in &span.links {
                let leads_somewhere = self.spans.contains_key(&(trace_id.clone(), span_id.clone()));
                assert!(leads_somewhere || cut_off.contains(trace_id), "{span:?} links to nothing");
                assert!(!kind.is_empty(), "{span:?}");
            }
            let parent = (span.trace_id.clone(), span.parent_id.clone());
            let has_parent = span.parent_id.is_empty() || self.spans.contains_key(&parent);
            assert!(has_parent || cut_off.contains(&span.trace_id), "{span:?} is an orphan");
        }
    }
}

/// Everybody who handles an event of a kind after it was recorded.
fn handlers_of(aggregate_type: &str) -> &'static [&'static str] {
    match aggregate_type {
        "payment" => &["projection.apply", "send payments.events", "process payments.events"],
        _ => &["projection.apply", "send accounts.events", "process accounts.events"],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_leads_to_its_span_and_every_handler_leads_back() {
    let stage = Stage::start("causality", "1").await;
    stage.load().await;
    stage.handled().await;
    // A crash in the middle of a payment; what was told before it has been sent.
    stage.scene.sandbox_behaves(&json!({ "stalled": true })).await;
    assert_eq!(stage.scene.client.pay(&stage.payment("crashed")).await.status, 202);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cut_off: BTreeSet<String> = log_of(&stage.scene)
        .await
        .into_iter()
        .filter(|event| event.correlation_id == "crashed")
        .map(|event| event.trace_id)
        .collect();
    let stage = Stage { scene: stage.scene.killed_and_started_again(), ..stage };
    stage.scene.sandbox_behaves(&json!({})).await;
    let settled = stage.scene.client.settled("crashed", Duration::from_secs(20)).await;
    assert_eq!(settled["status"], "completed");
    stage.handled().await;
    stage.tool(&["replay", "--to-kafka", "again", "--json"]);
    stage.tool(&["projections", "rebuild", "payments", "--json"]);
    let log = log_of(&stage.scene).await;
    assert!(log.len() > 300, "{}", log.len());
    let Stage { scene, collector, receiver, .. } = stage;
    scene.stopped();

    let told = Told::by(&collector);
    told.is_sound(&cut_off);
    for event in &log {
        assert!(event.kept);
        let key = (event.trace_id.clone(), event.span_id.clone());
        let recording = told.spans.get(&key).map(|span| span.name.as_str());
        assert_eq!(recording, Some("eventstore.append"), "{key:?} of {}", event.correlation_id);
    }
    let names: BTreeSet<&str> = told.spans.values().map(|span| span.name.as_str()).collect();
    let wanted = ["payment.recover", "payments.replay", "projection.rebuild", "notification.send"];
    assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(told.not_told_of(&log), None);
    let kinds: BTreeSet<&str> =
        told.spans.values().flat_map(|span| &span.links).map(|(.., kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["caused_by", "compensates", "replay_of", "retry_of"].into());
    // Whoever asks what became of a charge leads back to the call that made it.
    let inquiries: Vec<&Span> = told.spans.values().filter(|span| span.name == "channel.inquire").collect();
    let asks_of = |name: &str| {
        let links = inquiries.iter().flat_map(|span| &span.links);
        let asked = links.filter_map(|(trace, span, _)| told.spans.get(&(trace.clone(), span.clone())));
        asked.filter(|span| span.name == name).count()
    };
    assert!(asks_of("channel.pay") >= 2, "{inquiries:?}");
    // One attempt for each message: what was notified leads back as well.
    let attempts = told.spans.values().filter(|span| span.name == "notification.send").count();
    assert!(attempts >= receiver.received().len(), "{attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_tenth_a_payment_is_told_whole_or_not_at_all() {
    let stage = Stage::start("causality-tenth", "0.1").await;
    stage.load().await;
    stage.handled().await;
    let log = log_of(&stage.scene).await;
    let Stage { scene, collector, .. } = stage;
    scene.stopped();
    let told = Told::by(&collector);
    told.is_sound(&BTreeSet::new());
    let (mut kept, mut dropped) = (HashSet::new(), HashSet::new());
    for event in &log {
        let key = (event.trace_id.clone(), event.span_id.clone());
        if event.kept {
            assert!(told.spans.contains_key(&key), "{key:?} says that it is kept");
            kept.insert(event.trace_id.as_str());
        } else {
            assert!(!told.traces.contains_key(&event.trace_id), "{key:?} says that it is not kept");
            dropped.insert(event.trace_id.as_str());
        }
    }
    assert!(kept.is_disjoint(&dropped));
    assert_eq!(told.not_told_of(&log), None);
    let share = kept.len() * 100 / (kept.len() + dropped.len());
    assert!((4..=20).contains(&share), "{share} % of {} traces", kept.len() + dropped.len());
}
