//! The log in Kafka: in order, whole, readable by clients that are not ours.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::kafka::Broker;
use crate::support::parts::Parts;
use crate::support::process::{Server, program};
use crate::support::read_models::fill;
use crate::support::{Payment, eventually};

/// Where the log goes.
pub(crate) const TOPICS: &[&str] = &["payments.events", "accounts.events"];

/// A process that publishes the log of these parts.
fn relay(parts: &Parts, broker: &Broker) -> Server {
    let log = parts.database.folder().join("relay.log");
    let settings = [("PAYMENTS_KAFKA__BROKERS", broker.address())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    Server::start_with("relay", &parts.database.url(), &parts.sandbox, &log, &settings)
}

/// `payments ...` with this broker; exit status, stdout, stderr.
fn tool(parts: &Parts, broker: &Broker, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    command.args(arguments).env("DATABASE_URL", parts.database.url());
    let output = command.env("PAYMENTS_KAFKA__BROKERS", broker.address()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Fails the test unless the topics have the whole log up to a position, in order.
pub(crate) fn is_whole(found: &Value, head: i64) {
    assert_eq!(found["positions"], json!([1, head, head]), "{found}");
    assert_eq!(found["disorder"], Value::Null, "{found}");
}

/// `payments relay status --json`.
pub(crate) fn status(database_url: &str) -> Value {
    let (_, stdout, stderr) = crate::support::parts::tool(database_url, &["relay", "status", "--json"]);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_not_ours_reads_the_log_in_order() {
    let (parts, broker) = (Parts::start("relay-order").await, Broker::start("relay-order"));
    fill(&parts.database, 100_000).await;
    let (code, stdout, _) = parts.tool(&["relay", "status"]);
    assert_eq!(code, Some(3), "{stdout}");
    assert!(stdout.contains("never published"), "{stdout}");
    let relay = relay(&parts, &broker);
    let url = parts.database.url();
    eventually("the log is published", async || {
        let status = status(&url);
        status["lag"] == 0 && status["working"] == true
    })
    .await;
    // What comes while it works is published as well, with the trace of its request.
    parts.client.funded("alice", "10.00").await;
    let paid = parts.client.pay(&Payment::of("alice", "relayed", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let head = paid.body["position"].as_i64().unwrap();
    eventually("the payment is published", async || status(&url)["position"] == head).await;
    let found = broker.read(TOPICS);
    assert!(head > 100_000);
    assert_eq!(found["messages"], head, "nothing failed, so nothing was told twice: {found}");
    is_whole(&found, head);
    for header in ["ce_id", "ce_hash", "content-type", "position", "traceparent"] {
        assert!(found["headers"].as_array().unwrap().contains(&json!(header)), "{header}: {found}");
    }

    let ready = reqwest::get(format!("{}/readyz", relay.url())).await.unwrap();
    let ready: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    assert_eq!(ready["relay"], json!({ "position": head, "lag": 0, "lag_ms": 0, "working": true }));
    let metrics = reqwest::get(format!("{}/metrics", relay.url())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("relay_position {head}\n")), "{metrics}");
    relay.stop();
    eventually("nobody is at it", async || status(&url)["working"] == false).await;
    assert_eq!(parts.tool(&["relay", "status"]).0, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_to_a_topic_of_its_own_and_says_that_it_is_one() {
    let (parts, broker) = (Parts::start("relay-replay").await, Broker::start("relay-replay"));
    fill(&parts.database, 7_000).await;
    let head = parts.client.head().await;
    let (code, stdout, stderr) = tool(&parts, &broker, &["replay", "--to-kafka", "again", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["events"], head, "{stdout}");
    let found = broker.read(&["again"]);
    is_whole(&found, head);
    assert_eq!((&found["messages"], &found["replays"]), (&json!(head), &json!(head)), "{found}");

    let part = ["replay", "--to-kafka", "part", "--from", "10", "--to", "29", "--json"];
    assert_eq!(tool(&parts, &broker, &part).0, Some(0));
    assert_eq!(broker.read(&["part"])["positions"], json!([10, 29, 20]));

    let live = ["replay", "--to-kafka", "payments.events"];
    let (code, _, stderr) = tool(&parts, &broker, &live);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--force"), "{stderr}");
    let (code, _, stderr) = tool(&parts, &broker, &[&live[..], &["--to", "5", "--force"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(broker.read(&["payments.events"])["replays"], 5);
    let (code, _, stderr) = parts.tool(&["replay", "--to-kafka", "again"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("PAYMENTS_KAFKA__BROKERS"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_or_a_setting_that_is_wrong_is_named() {
    let (parts, broker) = (Parts::start("relay-wrong").await, Broker::start("relay-wrong"));
    let create = ["--create", "--topic", "payments.events", "--partitions", "2"];
    let made = broker.tool("org.apache.kafka.tools.TopicCommand", &create).status().unwrap();
    assert!(made.success());
    parts.client.funded("alice", "10.00").await;
    let relay = relay(&parts, &broker);
    let log = parts.database.folder().join("relay.log");
    eventually("the relay says what is wrong", async || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("payments.events has 2 partitions and kafka.partitions is 6")
    })
    .await;
    assert_eq!(status(&parts.database.url())["position"], 0);
    relay.stop();

    for (name, value, said) in [
        ("PAYMENTS_KAFKA__BROKERS", "nowhere", "kafka.brokers must be `host:port`"),
        ("PAYMENTS_KAFKA__PARTITIONS", "0", "kafka.partitions must be 1 to 100000"),
        ("PAYMENTS_KAFKA__ACCOUNTS_TOPIC", "payments.events", "kafka.accounts_topic"),
        ("PAYMENTS_KAFKA__CLIENT__ACKS", "1", "kafka.client.acks cannot be set"),
        ("PAYMENTS_KAFKA__CLIENT__SASL_MECHANISMUS", "hunter2", "kafka.client.sasl_mechanismus is refused"),
        (
            "PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD_FILE",
            "/nowhere/secret",
            "kafka.client.sasl_password_file names a file",
        ),
    ] {
        let mut command = Command::new(program());
        command.args(["relay", "status"]).env("DATABASE_URL", parts.database.url());
        command.env("PAYMENTS_KAFKA__BROKERS", broker.address()).env(name, value);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains("hunter2"), "{name}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_go_on_without_the_broker_and_are_published_when_it_is_back() {
    let (parts, mut broker) = (Parts::start("relay-outage").await, Broker::start("relay-outage"));
    let relay = relay(&parts, &broker);
    let url = parts.database.url();
    parts.client.funded("alice", "100.00").await;
    eventually("the log is published", async || status(&url)["lag"] == 0).await;
    broker.kill();
    for number in 0..50 {
        let paid = parts.client.pay(&Payment::of("alice", &format!("dark{number}"), "1.00")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let meanwhile = status(&url);
    assert!(meanwhile["lag"].as_i64().unwrap() >= 50 * 7, "{meanwhile}");
    assert!(meanwhile["lag_ms"].as_i64().unwrap() >= 1_000, "{meanwhile}");
    broker.start_again();
    eventually("the relay has caught up by itself", async || status(&url)["lag"] == 0).await;
    let head = parts.client.head().await;
    is_whole(&broker.read(TOPICS), head);
    relay.stop();
}
