//! Jaeger shows a payment across services, and what became of it later.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::collector::Span;
use crate::support::jaeger::Jaeger;
use crate::support::kafka::Broker;
use crate::support::process::Server;
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, register};
use crate::support::{Client, Payment, SandboxProcess, Scene, TestDatabase, eventually};

/// Whose work something is, and its span's name.
type Step = (&'static str, &'static str);

/// What every payment that gets as far as the channel does.
const EVERY: &[Step] = &[
    ("api", "POST /api/v1/payments"),
    ("api", "payment.idempotency_check"),
    ("api", "payment.process"),
    ("api", "risk.check"),
    ("sandbox", "POST /v1/risk/evaluations"),
    ("api", "account.hold"),
    ("api", "channel.pay"),
    ("sandbox", "POST /v1/charges"),
    ("api", "eventstore.append"),
];

/// A payment method, the status of the answer, and what its payment does beyond [`EVERY`].
const WAYS: [(&str, u16, &[Step]); 3] = [
    ("card", 201, &[("api", "account.capture")]),
    ("card_declined", 422, &[("api", "account.release")]),
    (
        "card_lost_answer",
        201,
        &[
            ("api", "channel.inquire"),
            ("sandbox", "GET /v1/charges/{idempotency_key}"),
            ("api", "account.capture"),
        ],
    ),
];

/// Who handles the events of a payment after they were recorded, each in a trace of its own.
const LATER: [Step; 4] = [
    ("projector", "projection.apply"),
    ("relay", "send payments.events"),
    ("notifier", "process payments.events"),
    ("notifier", "notification.send"),
];

/// Makes a payment; its trace.
async fn pay(client: &Client, method: &str, status: u16) -> String {
    let paid = client.pay(&Payment::of("alice", method, "1.00").by(method)).await;
    assert_eq!(paid.status, status, "{}", paid.text);
    paid.header("trace-id").to_owned()
}

/// Waits until Jaeger has the whole trace of a payment, which is one tree across services.
async fn is_told(jaeger: &Jaeger, trace_id: &str, wanted: &BTreeSet<(String, String)>) {
    let done = |spans: &[Span]| -> BTreeSet<(String, String)> {
        spans.iter().map(|span| (span.service.clone(), span.name.clone())).collect()
    };
    let what = format!("trace {trace_id} has {wanted:?}");
    eventually(&what, async || done(&jaeger.trace(trace_id).await) == *wanted).await;
    let spans = jaeger.trace(trace_id).await;
    assert!(spans.iter().all(|span| span.trace_id == trace_id), "{spans:#?}");
    let parent = |of: &Span| spans.iter().find(|span| span.span_id == of.parent_id);
    let roots: Vec<&str> =
        spans.iter().filter(|span| parent(span).is_none()).map(|span| span.name.as_str()).collect();
    assert_eq!(roots, ["POST /api/v1/payments"], "{spans:#?}");
    for (asked, by) in [("POST /v1/risk/evaluations", "risk.check"), ("POST /v1/charges", "channel.pay")] {
        let asked = spans.iter().find(|span| span.name == asked).unwrap();
        assert_eq!(parent(asked).map(|parent| parent.name.as_str()), Some(by), "{asked:?}");
    }
    // Whoever does not know the id finds it by what was done, where, and when.
    let found = jaeger.find("payments-sandbox", "POST /v1/charges").await;
    assert!(found.iter().any(|span| span.trace_id == trace_id && span.name == "payment.process"));
}

/// Waits until Jaeger has a trace of a handler whose span links back to the trace of a payment.
async fn leads_back(jaeger: &Jaeger, service: &str, name: &str, trace_id: &str) {
    eventually(&format!("{service}: {name} links to {trace_id}"), async || {
        let recorded = jaeger.trace(trace_id).await;
        let recording =
            |id: &str| recorded.iter().any(|span| span.span_id == id && span.name == "eventstore.append");
        let spans = jaeger.find(service, name).await;
        spans.iter().filter(|span| span.name == name && span.trace_id != trace_id).any(|span| {
            let to = |(of_trace, of_span, kind): &(String, String, String)| {
                of_trace == trace_id && recording(of_span) && kind == "caused_by"
            };
            span.links.iter().any(to) && span.says("origin.trace_id") == trace_id
        })
    })
    .await;
}

/// An engine in parts that tell Jaeger of themselves under names of their own.
struct Stage {
    client: Client,
    // The first to go: they work on what the others are.
    api: Server,
    _others: Vec<Server>,
    sandbox: SandboxProcess,
    _database: TestDatabase,
    receiver: Receiver,
    _broker: Broker,
    jaeger: Jaeger,
}

impl Stage {
    async fn start(name: &str) -> Self {
        let (jaeger, broker) = (Jaeger::start(name).await, Broker::start(name));
        let database = TestDatabase::start(name).await;
        let sandbox = SandboxProcess::start_with(database.folder(), &jaeger.settings());
        let (url, kafka) = (database.url(), broker.address());
        let play = |role: &str| {
            let service = format!("payments-{role}");
            let own = [("OTEL_SERVICE_NAME", service.as_str()), ("PAYMENTS_KAFKA__BROKERS", kafka.as_str())];
            let settings = [EAGER, &jaeger.settings(), &own].concat();
            let log = database.folder().join(format!("{role}.log"));
            Server::start_with(role, &url, &sandbox, &log, &settings)
        };
        let api = play("api");
        let others = ["saga", "projector", "relay", "notifier"].map(play).into();
        let (client, receiver) = (Client::new(api.url()), Receiver::start().await);
        client.funded("alice", "100.00").await;
        register(&client, &receiver.url(), &["PaymentCompleted", "PaymentFailed"]).await;
        Self { client, api, _others: others, sandbox, _database: database, receiver, _broker: broker, jaeger }
    }
}

async fn behaves(sandbox: &SandboxProcess, behaviour: &Value) {
    let url = format!("{}/v1/behaviour", sandbox.url());
    let answer = reqwest::Client::new().put(url).json(behaviour).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_each_payment_across_services_and_what_came_of_it() {
    let stage = Stage::start("jaeger-roles").await;
    let jaeger = &stage.jaeger;
    for (method, status, further) in WAYS {
        let trace_id = pay(&stage.client, method, status).await;
        let steps = EVERY.iter().chain(further);
        let wanted = steps.map(|(role, name)| (format!("payments-{role}"), (*name).to_owned())).collect();
        is_told(jaeger, &trace_id, &wanted).await;
        for (role, name) in LATER {
            leads_back(jaeger, &format!("payments-{role}"), name, &trace_id).await;
        }
    }
    assert_eq!(stage.receiver.count(), WAYS.len());

    // The process that has taken the payment dies, and another one takes the payment up.
    behaves(&stage.sandbox, &json!({ "stalled": true })).await;
    let abandoned = pay(&stage.client, "abandoned", 202).await;
    // A first inquiry has ended: what was recorded before it has been told.
    eventually("it is told so far", async || {
        jaeger.trace(&abandoned).await.iter().any(|span| span.name == "channel.inquire")
    })
    .await;
    stage.api.kill();
    behaves(&stage.sandbox, &json!({})).await;
    leads_back(jaeger, "payments-saga", "payment.recover", &abandoned).await;

    let everybody = ["api", "notifier", "projector", "relay", "saga", "sandbox"];
    assert_eq!(jaeger.services().await, everybody.map(|role| format!("payments-{role}")).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_an_engine_in_one_process_as_one_service() {
    let jaeger = Jaeger::start("jaeger-dev").await;
    let scene = Scene::start_with("jaeger-dev", &[EAGER, &jaeger.settings()].concat());
    let receiver = Receiver::start().await;
    scene.account("alice", "USD", "100.00").await;
    register(&scene.client, &receiver.url(), &["PaymentCompleted", "PaymentFailed"]).await;
    for (method, status, further) in WAYS {
        let trace_id = pay(&scene.client, method, status).await;
        let service = |role: &str| if role == "sandbox" { "payments-sandbox" } else { "payments" }.to_owned();
        let steps = EVERY.iter().chain(further);
        let wanted = steps.map(|(role, name)| (service(role), (*name).to_owned())).collect();
        is_told(&jaeger, &trace_id, &wanted).await;
        for name in ["projection.apply", "notification.send"] {
            leads_back(&jaeger, "payments", name, &trace_id).await;
        }
    }
    assert_eq!(jaeger.services().await, ["payments", "payments-sandbox"].map(str::to_owned).into());
    scene.end_settled().await;
}
