//! Events become deliveries once, whoever tells of them and however often.

use std::time::Duration;

use adapter_postgres::database::Database;
use adapter_postgres::inbox::Inbox;
use adapter_postgres::log::EventLog;
use adapter_postgres::webhooks::{PostgresWebhooks, WebhookEffect};
use commands::consuming::{HandleError, Handler, Source};
use commands::ports::{EventReader, RecordedEvent};
use commands::webhooks::ports::{
    ClaimLimits, Deliveries, DeliveryCounts, DeliveryQueue, Settled, WebhookEndpoints,
};
use commands::webhooks::schedule::Outcome;

use crate::support::Payment;
use crate::support::parts::Parts;
use crate::support::webhooks::{EAGER, list, register};

/// A payment's events in the log, an endpoint for all of them, and nobody who handles them.
struct Stage {
    parts: Parts,
    database: Database,
    events: Vec<RecordedEvent>,
}

impl Stage {
    async fn set(name: &str) -> Self {
        let parts = Parts::start_with(name, EAGER).await;
        parts.client.funded("alice", "100.00").await;
        register(&parts.client, "http://127.0.0.1:9/hook", &["*"]).await;
        let head = parts.client.head().await;
        parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
        let database = Database::connect(&parts.database.url(), 4).await.unwrap();
        let events = EventLog::new(&database).behind(head, 100).await.unwrap();
        Self { parts, database, events }
    }

    fn inbox(&self) -> Inbox<WebhookEffect> {
        Inbox::new(&self.database, WebhookEffect)
    }

    fn webhooks(&self) -> PostgresWebhooks {
        PostgresWebhooks::new(&self.database)
    }

    async fn pending(&self) -> usize {
        usize::try_from(self.webhooks().counts().await.unwrap().pending).unwrap()
    }
}

fn partition(number: i32) -> Source {
    Source { topic: "payments.events".into(), partition: number }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_one_delivery_from_whichever_source_it_comes() {
    let stage = Stage::set("inbox-once").await;
    let (inbox, events) = (stage.inbox(), &stage.events);
    assert!(!inbox.pass_over_log().await.unwrap(), "somebody is registered");
    inbox.handle(&Source::log(), &events[..3]).await.unwrap();
    assert_eq!(stage.pending().await, 3);
    assert_eq!(inbox.position(&Source::log()).await.unwrap(), events[2].position);
    // Told again, from the beginning, and by two at once.
    let (log, other) = (Source::log(), stage.inbox());
    let (one, two) = tokio::join!(inbox.handle(&log, events), other.handle(&log, events));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(stage.pending().await, events.len());
    // A broker has other positions, and the same events.
    assert_eq!(inbox.position(&partition(2)).await.unwrap(), 0);
    inbox.handle(&partition(2), events).await.unwrap();
    assert_eq!(inbox.position(&partition(2)).await.unwrap(), events.last().unwrap().position);
    assert_eq!(stage.pending().await, events.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_sent_is_named_and_keeps_back_no_other() {
    let stage = Stage::set("inbox-poisoned").await;
    let (inbox, mut events) = (stage.inbox(), stage.events.clone());
    events[2].payload = "{".to_owned();
    let refused = inbox.handle(&partition(0), &events).await.unwrap_err();
    assert!(
        matches!(&refused, HandleError::Poisoned { position, .. } if *position == events[2].position),
        "{refused}"
    );
    assert_eq!(stage.pending().await, 2, "those before it were handled");
    inbox.handle(&partition(0), &events[3..]).await.unwrap();
    assert_eq!(stage.pending().await, events.len() - 1);
    assert_eq!(inbox.position(&partition(0)).await.unwrap(), events.last().unwrap().position);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_taken_up_by_another_when_it_has_ended() {
    let stage = Stage::set("inbox-lease").await;
    stage.inbox().handle(&Source::log(), &stage.events).await.unwrap();
    let webhooks = stage.webhooks();
    let within = |per_endpoint, lease_ms| ClaimLimits {
        per_endpoint,
        most: 100,
        lease: Duration::from_millis(lease_ms),
    };
    let limits = |lease_ms| within(3, lease_ms);
    let first = webhooks.claim(limits(60_000)).await.unwrap();
    assert_eq!(first.len(), 3, "no more than its bound");
    assert!(webhooks.claim(limits(60_000)).await.unwrap().is_empty());
    let settled = |claimed: &commands::webhooks::ports::Claimed, outcome| Settled {
        id: claimed.id,
        attempt: claimed.attempt,
        status: None,
        error: None,
        hold: None,
        outcome,
    };
    webhooks.settle(&[settled(&first[0], Outcome::Delivered)]).await.unwrap();
    let second = webhooks.claim(limits(1)).await.unwrap();
    assert_eq!(second.len(), 1, "there is room for one");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let rest = webhooks.claim(within(100, 60_000)).await.unwrap();
    let again = rest.iter().find(|claimed| claimed.id == second[0].id).unwrap();
    assert_eq!((again.attempt, &again.outgoing.body), (2, &second[0].outgoing.body));
    // Whoever lost its claim may still say that it was delivered, and nothing else.
    webhooks.settle(&[settled(&second[0], Outcome::Dead)]).await.unwrap();
    assert_eq!(webhooks.counts().await.unwrap().dead, 0);
    webhooks.settle(&[settled(&second[0], Outcome::Delivered)]).await.unwrap();
    assert_eq!(stage.pending().await, stage.events.len() - 2);

    assert_eq!(webhooks.forget_ended(Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(webhooks.forget_ended(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(stage.pending().await, stage.events.len() - 2);
    // What is given up with its endpoint is told of for as long, and alarms nobody.
    let endpoint = webhooks.endpoints(None).await.unwrap().remove(0);
    assert_eq!(stage.parts.client.delete(&format!("/api/v1/webhooks/{}", endpoint.id)).await.status, 204);
    assert_eq!(webhooks.counts().await.unwrap(), DeliveryCounts::default());
    let given_up = list(&stage.parts.client, "/api/v1/deliveries?status=dead").await;
    assert_eq!(given_up.len(), stage.events.len() - 2);
    assert_eq!(given_up[0]["last_error"], "the endpoint was deleted");
    assert_eq!(webhooks.forget_ended(Duration::ZERO).await.unwrap(), given_up.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_is_registered_the_log_is_passed_over() {
    let parts = Parts::start("inbox-idle").await;
    let database = Database::connect(&parts.database.url(), 4).await.unwrap();
    let inbox = Inbox::new(&database, WebhookEffect);
    parts.client.funded("alice", "100.00").await;
    assert!(inbox.pass_over_log().await.unwrap());
    assert_eq!(inbox.position(&Source::log()).await.unwrap(), parts.client.head().await);
    assert!(inbox.pass_over_log().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_log_is_told_to_nobody() {
    let stage = Stage::set("inbox-exported").await;
    let file = stage.parts.database.folder().join("log.ndjson");
    let (status, _, errors) = stage.parts.tool(&["events", "export", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{errors}");
    let parts = Parts::start_with("inbox-imported", EAGER).await;
    register(&parts.client, "http://127.0.0.1:9/hook", &["*"]).await;
    let (status, _, errors) = parts.tool(&["events", "import", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{errors}");
    let database = Database::connect(&parts.database.url(), 4).await.unwrap();
    Inbox::new(&database, WebhookEffect).handle(&Source::log(), &stage.events).await.unwrap();
    let counts = PostgresWebhooks::new(&database).counts().await.unwrap();
    assert_eq!((counts.pending, counts.dead), (0, 0));
}
