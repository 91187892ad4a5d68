//! Webhooks as they should go: registered, sent, signed, seen.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::authority::Authority;
use crate::support::folder::Folder;
use crate::support::receiver::{Receiver, Say, verify};
use crate::support::webhooks::{EAGER, list, register, start};
use crate::support::{Payment, Scene, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_signed_and_seen_by_its_payment() {
    let scene = start("webhooks-sent");
    let receiver = Receiver::start().await;
    scene.account("alice", "USD", "100.00").await;
    scene.client.pay(&Payment::of("alice", "before", "1.00")).await;
    let hook = register(&scene.client, &receiver.url_by_name(), &["PaymentCompleted"]).await;
    scene.client.pay(&Payment::of("alice", "p1", "7.53")).await;
    eventually("it has come", async || receiver.count() > 0).await;
    let got = &receiver.received()[0];

    let story = scene.client.get("/api/v1/payments/p1/events").await.body;
    let events = story["data"].as_array().unwrap();
    let event = events.iter().find(|event| event["type"] == "PaymentCompleted").unwrap();
    let message = got.json();
    assert_eq!((got.path.as_str(), got.id()), ("/hook", event["event_id"].as_str().unwrap()));
    assert_eq!((&message["type"], &message["timestamp"]), (&event["type"], &event["recorded_at"]));
    for field in ["event_id", "position", "sequence", "aggregate", "payload", "correlation_id", "trace_id"] {
        assert_eq!(message["data"][field], event[field], "{field}");
    }
    assert_eq!(message["data"]["payment_id"], "p1");
    assert_eq!(message["data"]["payload"]["captured"], json!({ "amount": "7.53", "currency": "USD" }));
    assert_eq!(got.header("traceparent"), event["traceparent"].as_str().unwrap());
    assert_eq!(got.header("content-type"), "application/json");

    // The receivers' own library takes it, and not when a byte of it was changed or another secret signed.
    let message = got.for_verification(&hook.secret);
    let mut tampered = message.clone();
    tampered["body"] = json!(got.body.replace("7.53", "7.54"));
    let other = got.for_verification("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let said = verify(&[message, tampered, other]);
    assert_eq!(said[0], "verified PaymentCompleted");
    assert!(said[1].starts_with("refused") && said[2].starts_with("refused"), "{said:?}");

    eventually("it is delivered", async || hook.count(&scene.client, "delivered").await == 1).await;
    let of_payment = list(&scene.client, "/api/v1/payments/p1/deliveries").await;
    assert_eq!(of_payment, hook.deliveries(&scene.client).await);
    let delivery = &of_payment[0];
    assert_eq!((&delivery["event_id"], &delivery["attempts"]), (&event["event_id"], &json!(1)));
    assert_eq!((&delivery["last_status"], &delivery["last_error"]), (&json!(200), &json!(null)));
    // From before it was registered nothing is sent.
    assert_eq!(receiver.count(), 1);
    assert_eq!(
        list(&scene.client, "/api/v1/payments/before/deliveries").await,
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(scene.client.get("/api/v1/payments/nobody/deliveries").await.status, 404);
    let metrics = scene.client.get("/metrics").await.text;
    assert!(metrics.contains("webhook_deliveries_total{outcome=\"delivered\"} 1"), "{metrics}");

    // The secret was shown once.
    for path in ["/api/v1/webhooks".to_owned(), hook.path(), format!("{}/deliveries", hook.path())] {
        let shown = scene.client.get(&path).await;
        assert_eq!(shown.status, 200, "{path}");
        assert!(!shown.text.contains("whsec_") && !shown.text.contains("\"secret\""), "{}", shown.text);
    }
    let log = scene.stopped();
    assert!(!log.contains("whsec_") && !log.contains(hook.secret.trim_start_matches("whsec_")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_registration_registers_nothing() {
    let scene = start("webhooks-repeat");
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "event_types": ["*"], "description": "books" });
    let first = scene.client.post("/api/v1/webhooks", "k", &body).await;
    let again = scene.client.post("/api/v1/webhooks", "k", &body).await;
    assert_eq!((first.status, again.status, again.replayed), (201, 201, true), "{}", again.text);
    assert_eq!(first.text, again.text, "byte for byte");
    assert_eq!(list(&scene.client, "/api/v1/webhooks").await.len(), 1);
    let other = json!({ "url": receiver.url(), "event_types": ["FundsHeld"] });
    let refused = scene.client.post("/api/v1/webhooks", "k", &other).await;
    assert_eq!((refused.status, refused.code()), (422, "idempotency_key_reused"));
    assert_eq!(scene.client.post("/api/v1/webhooks", "", &body).await.code(), "idempotency_key_missing");
    // A key is one for all requests, payments among them.
    let used = scene.client.pay(&Payment { key: "k".to_owned(), ..Payment::of("alice", "p1", "1.00") }).await;
    assert_eq!((used.status, used.code()), (422, "idempotency_key_reused"));

    // Two at once are one as well.
    let both = json!({ "url": receiver.url(), "event_types": ["FundsHeld"] });
    let twice = || scene.client.post("/api/v1/webhooks", "k2", &both);
    let (one, two) = tokio::join!(twice(), twice());
    assert_eq!((one.status, one.text), (201, two.text));
    assert_eq!(list(&scene.client, "/api/v1/webhooks").await.len(), 2);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rotation_lasts_both_secrets_sign() {
    let scene = start("webhooks-rotation");
    let receiver = Receiver::start().await;
    scene.account("alice", "USD", "100.00").await;
    let hook = register(&scene.client, &receiver.url(), &["PaymentCompleted"]).await;
    let path = format!("{}/rotate-secret", hook.path());
    let rotated = scene.client.post(&path, "rotate", &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, hook.secret);
    assert!(rotated.body["previous_secret_until"].is_string(), "{}", rotated.text);
    // Lost answers happen: a repeat is no second rotation.
    assert_eq!(scene.client.post(&path, "rotate", &json!({})).await.text, rotated.text);

    scene.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    eventually("it has come", async || receiver.count() > 0).await;
    let got = &receiver.received()[0];
    assert_eq!(got.header("webhook-signature").split(' ').count(), 2);
    let said = verify(&[got.for_verification(&hook.secret), got.for_verification(&new)]);
    assert_eq!(said, ["verified PaymentCompleted", "verified PaymentCompleted"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_what_it_asked_for_and_nothing_while_it_is_off() {
    let scene = start("webhooks-filter");
    let (all, few) = (Receiver::start().await, Receiver::start().await);
    scene.account("alice", "USD", "100.00").await;
    // The first payment opens the account of the channel.
    scene.client.pay(&Payment::of("alice", "before", "1.00")).await;
    let everything = register(&scene.client, &all.url(), &["*"]).await;
    let holds = register(&scene.client, &few.url(), &["FundsHeld", "HoldCaptured"]).await;
    scene.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    eventually("all have come", async || all.count() == 7 && few.count() == 2).await;
    let story = scene.story("p1").await;
    let mut sent: Vec<_> =
        all.received().iter().map(|got| got.json()["data"]["position"].as_i64().unwrap()).collect();
    sent.sort_unstable();
    assert_eq!(sent, story.iter().map(|(_, position)| *position).collect::<Vec<_>>());
    // Every one is of this payment, those of the accounts as well.
    assert_eq!(list(&scene.client, "/api/v1/payments/p1/deliveries").await.len(), 9);

    let off = scene.client.patch(&holds.path(), &json!({ "status": "disabled" })).await;
    assert_eq!((off.status, &off.body["status"]), (200, &json!("disabled")), "{}", off.text);
    let changed = json!({ "event_types": ["PaymentCompleted"], "description": "only ends" });
    assert_eq!(scene.client.patch(&everything.path(), &changed).await.body["description"], "only ends");
    scene.client.pay(&Payment::of("alice", "p2", "1.00")).await;
    eventually("the end has come", async || all.count() == 8).await;
    let on = scene.client.patch(&holds.path(), &json!({ "status": "enabled" })).await;
    assert_eq!(on.body["status"], "enabled", "{}", on.text);
    assert_eq!(scene.client.delete(&everything.path()).await.status, 204);
    assert_eq!(scene.client.get(&everything.path()).await.code(), "webhook_not_found");
    assert_eq!(scene.client.delete(&everything.path()).await.status, 404);
    scene.client.pay(&Payment::of("alice", "p3", "1.00")).await;
    eventually("the holds of the third have come", async || few.count() == 4).await;
    let ids: Vec<_> = few.received().iter().map(|got| got.json()["data"]["payment_id"].clone()).collect();
    assert_eq!(ids, ["p1", "p1", "p3", "p3"]);
    assert_eq!(all.count(), 8);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_holds_nobody_up() {
    let scene = start("webhooks-slow");
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.always_says(Say::Nothing);
    scene.account("alice", "USD", "100.00").await;
    // The first payment opens the account of the channel.
    scene.client.pay(&Payment::of("alice", "before", "1.00")).await;
    let hanging = register(&scene.client, &slow.url(), &["*"]).await;
    register(&scene.client, &quick.url(), &["*"]).await;
    let mut took = vec![];
    for number in 0..5 {
        let began = Instant::now();
        scene.client.pay(&Payment::of("alice", &format!("p{number}"), "1.00")).await;
        eventually("the quick one has it", async || quick.count() == 7 * (number + 1)).await;
        took.push(began.elapsed());
    }
    assert!(
        took.iter().all(|took| *took < Duration::from_millis(700)),
        "sooner than the other's limit: {took:?}"
    );
    eventually("the slow one is known", async || {
        let shown = scene.client.get(&hanging.path()).await;
        shown.body["failures"].as_i64().unwrap() > 0
    })
    .await;
    let deliveries = hanging.deliveries(&scene.client).await;
    let late = deliveries.iter().find(|delivery| !delivery["last_error"].is_null()).unwrap();
    assert_eq!(late["last_error"], "no answer within 800 ms");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_ends_before_the_engine_does() {
    let scene = start("webhooks-drain");
    let receiver = Receiver::start().await;
    receiver.always_says(Say::Late(Duration::from_millis(500)));
    scene.account("alice", "USD", "100.00").await;
    register(&scene.client, &receiver.url(), &["PaymentCompleted"]).await;
    scene.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    eventually("it is under way", async || receiver.count() == 1).await;
    let scene = scene.stopped_and_started_again();
    let deliveries = list(&scene.client, "/api/v1/payments/p1/deliveries").await;
    assert_eq!((&deliveries[0]["status"], &deliveries[0]["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!(receiver.count(), 1);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_told_by_tls_where_its_certificate_is_trusted_and_else_not_at_all() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    let (known, unknown) =
        (Receiver::start_secured(&trusted).await, Receiver::start_secured(&stranger).await);
    let folder = Folder::new("webhooks-tls-authority");
    let file = trusted.file(folder.path()).to_str().unwrap().to_owned();
    // The environment outlives the test's processes.
    let settings = [EAGER, &[("SSL_CERT_FILE", file.leak() as &'static str)]].concat();
    let scene = Scene::start_with("webhooks-tls", &settings);
    scene.account("alice", "USD", "100.00").await;
    register(&scene.client, &known.url_by_name(), &["PaymentCompleted"]).await;
    let refused = register(&scene.client, &unknown.url_by_name(), &["PaymentCompleted"]).await;
    scene.client.pay(&Payment::of("alice", "p1", "7.53")).await;
    eventually("it has come", async || known.count() == 1).await;
    assert_eq!(known.received()[0].json()["type"], "PaymentCompleted");
    eventually("the other is given up", async || refused.count(&scene.client, "dead").await == 1).await;
    let why = refused.deliveries(&scene.client).await[0]["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(unknown.count(), 0);
    scene.stopped();
}
