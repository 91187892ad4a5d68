//! Webhooks told by Kafka: the consumer kit on a real broker. Each event has its effect once, and what is no
//! event is put aside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::relay::status;
use crate::support::kafka::{Broker, peer};
use crate::support::parts::Parts;
use crate::support::process::Server;
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, register};
use crate::support::{Payment, eventually};

const KILLS: usize = 4;
const GROUP: &str = "webhooks";

/// A process with Kafka.
fn with_kafka(parts: &Parts, broker: &Broker, role: &str) -> Server {
    let log = parts.database.folder().join(format!("{role}.log"));
    let brokers = broker.address();
    let settings = [EAGER, &[("PAYMENTS_KAFKA__BROKERS", brokers.as_str())]].concat();
    Server::start_with(role, &parts.database.url(), &parts.sandbox, &log, &settings)
}

async fn pay(parts: &Parts, name: &str, count: usize) {
    for number in 0..count {
        let payment = Payment::of("alice", &format!("{name}{number}"), "0.01");
        assert_eq!(parts.client.pay(&payment).await.status, 201);
    }
}

/// How many deliveries there are, and how many of them have come to their receiver.
async fn deliveries(parts: &Parts) -> (i64, i64) {
    let query = "select count(*), count(*) filter (where status = 'delivered') from webhook_deliveries";
    sqlx::query_as(query).fetch_one(&mut parts.database.connect().await).await.unwrap()
}

/// How far the handler is, per topic and partition.
async fn marks(parts: &Parts) -> Vec<(String, i32, i64)> {
    let query = "select topic, partition, position from consumed where topic <> '(log)' order by 1, 2";
    sqlx::query_as(query).fetch_all(&mut parts.database.connect().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_its_effect_once_whenever_the_consumer_is_killed() {
    let (parts, broker) = (Parts::start_with("consumer", EAGER).await, Broker::start("consumer"));
    let receiver = Receiver::start().await;
    let relay = with_kafka(&parts, &broker, "relay");
    parts.client.funded("alice", "1000.00").await;
    register(&parts.client, &receiver.url(), &["PaymentCompleted"]).await;
    // What is tried to be kept, before a constraint can mend what the consumer would do twice.
    let record = "create table tried (event_id uuid);
         create function record_try() returns trigger language plpgsql as
             $$ begin insert into tried values (new.event_id); return new; end $$;
         create trigger record_try before insert on webhook_deliveries
             for each row execute function record_try()";
    sqlx::raw_sql(record).execute(&mut parts.database.connect().await).await.unwrap();
    let killed = AtomicBool::new(false);
    let killing = async {
        for kill in 0..KILLS {
            let running = with_kafka(&parts, &broker, "notifier");
            let before = deliveries(&parts).await.0;
            eventually("it has consumed something", async || deliveries(&parts).await.0 > before).await;
            tokio::time::sleep(Duration::from_millis(11 * u64::try_from(kill).unwrap())).await;
            running.kill();
        }
        killed.store(true, Ordering::Relaxed);
        with_kafka(&parts, &broker, "notifier")
    };
    let paying = async {
        let mut paid = 0;
        while !killed.load(Ordering::Relaxed) {
            pay(&parts, &format!("r{paid}-"), 10).await;
            paid += 10;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        paid
    };
    let (last, paid): (Server, i64) = tokio::join!(killing, paying);
    eventually("all are delivered", async || deliveries(&parts).await == (paid, paid)).await;
    let came: BTreeSet<String> = receiver.received().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(i64::try_from(came.len()).unwrap(), paid, "none is missing, none is made up");
    last.stop();

    // A crash between effect and commit: the group begins again at the topics' beginnings.
    let before = marks(&parts).await;
    let back = ["--group", GROUP, "--all-topics", "--reset-offsets", "--to-earliest", "--execute"];
    let reset =
        broker.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &back).output().unwrap();
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stdout));
    let again = with_kafka(&parts, &broker, "notifier");
    pay(&parts, "later", 5).await;
    eventually("it has seen all of it again, and more", async || {
        deliveries(&parts).await == (paid + 5, paid + 5)
    })
    .await;
    let query = "select count(*) from tried";
    let tried: i64 = sqlx::query_scalar(query).fetch_one(&mut parts.database.connect().await).await.unwrap();
    assert_eq!(tried, paid + 5, "each event had its effect once, without a constraint's help");
    let after = marks(&parts).await;
    assert_eq!(before.len(), after.len(), "{before:?} {after:?}");
    assert!(before.iter().zip(&after).all(|(before, after)| before.2 <= after.2), "{before:?} {after:?}");
    again.stop();
    relay.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_put_aside_with_the_reason() {
    let (parts, broker) = (Parts::start_with("poison", EAGER).await, Broker::start("poison"));
    let receiver = Receiver::start().await;
    let relay = with_kafka(&parts, &broker, "relay");
    parts.client.funded("alice", "100.00").await;
    register(&parts.client, &receiver.url(), &["PaymentCompleted"]).await;
    let url = parts.database.url();
    eventually("the log is published", async || status(&url)["lag"] == 0).await;
    let address = broker.address();
    for partition in ["0", "1", "2", "3", "4", "5"] {
        peer("send.py", &[&address, "payments.events", partition, "bad", "no event", "origin=elsewhere"]);
    }
    let notifier = with_kafka(&parts, &broker, "notifier");
    pay(&parts, "behind", 20).await;
    eventually("events behind it are delivered", async || deliveries(&parts).await == (20, 20)).await;

    let aside = peer("read_raw.py", &[&address, "payments.events.webhooks.dead-letters"]);
    let aside = aside.as_array().unwrap();
    assert_eq!(aside.len(), 6, "{aside:?}");
    for message in aside {
        assert_eq!((&message["key"], &message["value"]), (&"bad".into(), &"no event".into()));
        let header = |name: &str| message["headers"][name].as_str().unwrap();
        assert!(header("dead-letter-reason").contains("ce_specversion"), "{message}");
        assert_eq!((header("origin"), header("dead-letter-group")), ("elsewhere", GROUP));
        assert_eq!(header("dead-letter-topic"), "payments.events");
    }
    let metrics = reqwest::get(format!("{}/metrics", notifier.url())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("dead_letters_total{topic=\"payments.events\"} 6"), "{metrics}");
    notifier.stop();
    relay.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_partitions_and_outlive_the_broker_and_the_database() {
    let (parts, mut broker) = (Parts::start_with("group", EAGER).await, Broker::start("group"));
    let receiver = Receiver::start().await;
    let relay = with_kafka(&parts, &broker, "relay");
    parts.client.funded("alice", "100.00").await;
    register(&parts.client, &receiver.url(), &["PaymentCompleted"]).await;
    let first = with_kafka(&parts, &broker, "notifier");
    pay(&parts, "one", 20).await;
    let second = with_kafka(&parts, &broker, "notifier");
    pay(&parts, "two", 40).await;
    broker.kill();
    pay(&parts, "dark", 20).await;
    broker.start_again();
    // Everybody's connections to the database break, and new ones are refused for a while.
    let mut connection = parts.database.connect().await;
    let query = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()
                    and backend_type = 'client backend'";
    for _ in 0..5 {
        sqlx::query(query).execute(&mut connection).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    pay(&parts, "three", 20).await;
    first.stop();
    pay(&parts, "four", 20).await;
    eventually("all are delivered", async || deliveries(&parts).await == (120, 120)).await;
    let ids: BTreeSet<String> = receiver.received().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(ids.len(), 120);
    second.stop();
    relay.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_stopped_ends_what_it_has_begun_and_leaves_at_once() {
    let (parts, broker) = (Parts::start_with("drain", EAGER).await, Broker::start("drain"));
    let receiver = Receiver::start().await;
    let relay = with_kafka(&parts, &broker, "relay");
    parts.client.funded("alice", "100.00").await;
    register(&parts.client, &receiver.url(), &["PaymentCompleted"]).await;
    let address = broker.address();
    for round in 0..3 {
        let notifier = with_kafka(&parts, &broker, "notifier");
        pay(&parts, &format!("before{round}-"), 10).await;
        let begun = deliveries(&parts).await.0;
        eventually("it is at work", async || deliveries(&parts).await.0 > begun).await;
        let meanwhile = format!("while{round}-");
        let ((), ()) = tokio::join!(pay(&parts, &meanwhile, 30), async {
            tokio::task::spawn_blocking(move || notifier.stop()).await.unwrap();
        });
        // What it has handled is committed: nothing is told to the next one that this one knew of.
        let handled: Vec<Value> = marks(&parts)
            .await
            .into_iter()
            .map(|(topic, partition, at)| json!([topic, partition, at]))
            .collect();
        let committed = peer("group_marks.py", &[&address, GROUP, "accounts.events", "payments.events"]);
        assert_eq!(committed, Value::Array(handled), "round {round}");
        let describe = ["--describe", "--group", GROUP, "--members"];
        let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let members = broker.tool(tool, &describe).output().unwrap();
        let members = String::from_utf8(members.stdout).unwrap();
        assert!(!members.contains("payments"), "nobody is left in the group: {members}");
    }
    let last = with_kafka(&parts, &broker, "notifier");
    eventually("all are delivered", async || deliveries(&parts).await == (120, 120)).await;
    last.stop();
    relay.stop();
}
