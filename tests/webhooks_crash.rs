//! A notifier, or its PostgreSQL, is killed again and again: each event comes, and under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use sqlx::{Connection, PgConnection};

use crate::support::parts::Parts;
use crate::support::process::{Server, signal};
use crate::support::receiver::Receiver;
use crate::support::scene::PATIENCE;
use crate::support::webhooks::{EAGER, register, start};
use crate::support::{Client, Payment, Scene, eventually};

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

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_whenever_postgres_is_killed() {
    let scene = start("webhooks-postgres");
    let receiver = Receiver::start().await;
    scene.fund("u", 10).await;
    let hook = register(&scene.client, &receiver.url(), &["PaymentCompleted"]).await;
    for round in 0..3 {
        let name = |number| format!("r{round}-{number}");
        let pays = (0..100).map(|n| Payment::of(&format!("u{}", n % 10), &name(n), "0.01"));
        join_all(pays.map(async |payment| scene.client.pay(&payment).await)).await;
        // Some of them are on their way now.
        let before = started_at(&scene).await;
        signal("KILL", scene.postmaster_pid());
        eventually("another one has started", async || {
            let now = started_at(&scene).await;
            now.is_some() && now != before
        })
        .await;
        scene.client.ready(PATIENCE).await;
    }
    scene.settled().await;
    let books = completed(&scene).await;
    eventually("all are delivered", async || hook.count(&scene.client, "delivered").await == books.len())
        .await;
    let came: BTreeSet<String> = receiver.received().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(came, books, "none is missing, none is made up");
    scene.end().await;
}

/// When the PostgreSQL that answers has started.
async fn started_at(scene: &Scene) -> Option<String> {
    let mut connection = PgConnection::connect(&scene.database_url()).await.ok()?;
    let query = sqlx::query_scalar("select pg_postmaster_start_time()::text");
    query.fetch_one(&mut connection).await.ok()
}

/// The events of the log that say that a payment is completed.
async fn completed(scene: &Scene) -> BTreeSet<String> {
    let mut connection = PgConnection::connect(&scene.database_url()).await.unwrap();
    let query = "select event_id::text from events where event_type = 'PaymentCompleted'";
    sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap().into_iter().collect()
}

async fn delivered(parts: &Parts) -> usize {
    let query = "select count(*) from webhook_deliveries where status = 'delivered'";
    let count: i64 = sqlx::query_scalar(query).fetch_one(&mut parts.database.connect().await).await.unwrap();
    usize::try_from(count).unwrap()
}
