//! A notifier that is killed again and again: each event comes, and under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::parts::Parts;
use crate::support::process::Server;
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, register};
use crate::support::{Client, Payment, eventually};

/// Often enough that some are killed at each point of their work.
const KILLS: usize = 10;

fn notifier(parts: &Parts) -> Server {
    let log = parts.database.folder().join("notifier.log");
    Server::start_with("notifier", &parts.database.url(), &parts.sandbox, &log, EAGER)
}

async fn pay_on(client: &Client, name: &str) -> usize {
    let mut paid = 0;
    while paid < 400 {
        let payment = Payment::of("alice", &format!("{name}-{paid}"), "0.01");
        assert_eq!(client.pay(&payment).await.status, 201);
        paid += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    paid
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_whenever_the_notifier_is_killed() {
    let parts = Parts::start_with("webhooks-killed", EAGER).await;
    let receiver = Receiver::start().await;
    parts.client.funded("alice", "1000.00").await;
    let hook = register(&parts.client, &receiver.url(), &["PaymentCompleted", "HoldCaptured"]).await;
    let paying = async {
        let (one, two) = tokio::join!(pay_on(&parts.client, "a"), pay_on(&parts.client, "b"));
        one + two
    };
    let killing = async {
        for kill in 0..KILLS {
            let running = notifier(&parts);
            let before = receiver.count();
            eventually("something has come since it started", async || receiver.count() > before).await;
            tokio::time::sleep(Duration::from_millis(7 * u64::try_from(kill).unwrap())).await;
            running.kill();
        }
        notifier(&parts)
    };
    let (paid, last) = tokio::join!(paying, killing);
    eventually("all are delivered", async || {
        hook.count(&parts.client, "pending").await == 0 && delivered(&parts).await == 2 * paid
    })
    .await;

    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for got in receiver.received() {
        assert_eq!(got.id(), got.json()["data"]["event_id"]);
        bodies.entry(got.id().to_owned()).or_default().insert(got.body);
    }
    assert_eq!(bodies.len(), 2 * paid, "none is missing, none is made up");
    assert!(bodies.values().all(|bodies| bodies.len() == 1), "a repeat has the same body");
    last.stop();
}

async fn delivered(parts: &Parts) -> usize {
    let query = "select count(*) from webhook_deliveries where status = 'delivered'";
    let count: i64 = sqlx::query_scalar(query).fetch_one(&mut parts.database.connect().await).await.unwrap();
    usize::try_from(count).unwrap()
}
