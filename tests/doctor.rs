//! `payments doctor`: what is well is said to be, and what is not is named with what to do, each thing by its own
//! check. `payments migrate`: the schema alone.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use sqlx::Connection;

use crate::support::kafka::{Broker, free_port};
use crate::support::parts::tool;
use crate::support::process::{Server, postmaster_pid, program, signal};
use crate::support::{SandboxProcess, TestDatabase, eventually};

/// What the doctor says in this environment: its exit status, and its checks by name.
fn doctor(environment: &[(&str, &str)]) -> (Option<i32>, BTreeMap<String, Vec<Value>>) {
    let output = Command::new(program())
        .args(["doctor", "--json"])
        .env_remove("DATABASE_URL")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("hunter2"), "a secret is repeated: {said}");
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said} {}", String::from_utf8_lossy(&output.stderr)));
    let mut checks: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for check in report["checks"].as_array().unwrap() {
        let is_told = check["status"] == "ok" || check["next"].as_str().is_some_and(|next| next.len() > 5);
        assert!(is_told, "nothing is said to do about {check}");
        checks.entry(check["name"].as_str().unwrap().to_owned()).or_default().push(check.clone());
    }
    (output.status.code(), checks)
}

/// The one check of a name: its status and what was found.
fn one<'checks>(checks: &'checks BTreeMap<String, Vec<Value>>, name: &str) -> (&'checks str, &'checks str) {
    let [check] = &checks.get(name).unwrap_or_else(|| panic!("{name} is not among {checks:?}"))[..] else {
        panic!("{name}: {checks:?}")
    };
    (check["status"].as_str().unwrap(), check["detail"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_well_is_said_to_be() {
    let database = TestDatabase::start("doctor").await;
    let sandbox = SandboxProcess::start(database.folder());
    let broker = Broker::start("doctor");
    let (url, address) = (database.url(), broker.address());
    let (status, said, _) = tool(&url, &["migrate"]);
    assert_eq!(status, Some(0));
    assert!(said.starts_with("applied ") && said.contains("the schema is at migration "), "{said}");
    let (status, said, _) = tool(&url, &["migrate"]);
    assert_eq!((status, said.starts_with("the schema is up to date: migration ")), (Some(0), true), "{said}");

    let log = database.folder().join("relay.log");
    let kafka = [("PAYMENTS_KAFKA__BROKERS", address.as_str())];
    let relay = Server::start_with("relay", &url, &sandbox, &log, &kafka);
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("PAYMENTS_KAFKA__BROKERS", address.as_str()),
        ("PAYMENTS_RISK_URL", sandbox.url()),
        ("PAYMENTS_CHANNEL_URL", sandbox.url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        // Whatever the limit of the machine that runs the test is.
        ("PAYMENTS_HTTP__MAX_IN_FLIGHT", "10"),
    ];
    eventually("the relay has made its topics", async || {
        doctor(&environment).1["topics"].iter().all(|check| check["status"] == "ok")
    })
    .await;
    let (status, checks) = doctor(&environment);
    let expected = [
        "channel",
        "clock",
        "collector",
        "database",
        "durability",
        "kafka",
        "migrations",
        "open files",
        "rights",
        "risk",
        "settings",
        "topics",
    ];
    assert_eq!(checks.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let ailing: Vec<_> = checks.values().flatten().filter(|check| check["status"] != "ok").collect();
    assert!(status == Some(0) && ailing.is_empty(), "{status:?} {ailing:?}");
    assert_eq!(
        (checks["topics"].len(), checks["clock"].len()),
        (2, 3),
        "the database's clock, and two services'"
    );

    // For a person, and for a database whose address is in a file.
    let file = database.folder().join("database-url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let output = Command::new(program()).arg("doctor").env("DATABASE_URL_FILE", &file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.lines().any(|line| line.starts_with("ok       database     PostgreSQL ")), "{said}");
    // Only what is configured is looked at.
    assert!(!said.contains("kafka") && !said.contains("collector") && !said.contains("risk"), "{said}");
    relay.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_well_is_named_with_what_to_do() {
    let database = TestDatabase::start("doctor-ill").await;
    let url = database.url();
    let nobody = format!("127.0.0.1:{}", free_port());
    let (status, checks) = doctor(&[("DATABASE_URL", url.as_str())]);
    assert_eq!((status, one(&checks, "migrations").0), (Some(1), "failed"));
    assert!(one(&checks, "migrations").1.contains("0001_event_log"), "{checks:?}");
    assert_eq!(one(&checks, "database").0, "ok");

    assert_eq!(tool(&url, &["migrate"]).0, Some(0));
    let mut owner = database.connect().await;
    for statement in [
        "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)",
        // Also an owner can be without a right.
        "revoke insert on read_models.account_entries from current_user",
        "alter role current_user set synchronous_commit = off",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
    let (status, said, told) = tool(&url, &["events", "list"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(told.contains("it lacks 00") && told.contains("payments migrate"), "{told}");

    let (collector, brokers) = (format!("http://user:hunter2@{nobody}"), nobody.as_str());
    let service = format!("http://{nobody}");
    let (status, checks) = doctor(&[
        ("DATABASE_URL", url.as_str()),
        ("PAYMENTS_KAFKA__BROKERS", brokers),
        ("PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD", "hunter2"),
        ("PAYMENTS_RISK_URL", service.as_str()),
        ("PAYMENTS_CHANNEL_URL", "ftp://user:hunter2@channel"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("PAYMENTS_HTTP__MAX_IN_FLIGHT", "1000000"),
    ]);
    assert_eq!(status, Some(1));
    for (name, expected, words) in [
        ("migrations", "failed", "the schema lacks 00"),
        ("rights", "failed", "may not read or add to read_models.account_entries"),
        ("durability", "warning", "synchronous_commit is off"),
        ("kafka", "failed", brokers),
        ("risk", "failed", "cannot be reached"),
        ("channel", "failed", "begins with neither http:// nor https://"),
        ("collector", "warning", brokers),
    ] {
        let (status, detail) = one(&checks, name);
        assert_eq!(status, expected, "{name}: {detail}");
        assert!(detail.contains(words), "{name}: {detail}");
    }
    assert!(!checks.contains_key("topics"), "there is nobody to ask for topics");

    let folder = database.folder();
    let mut conf = OpenOptions::new().append(true).open(folder.join("postgres/payments.conf")).unwrap();
    conf.write_all(b"fsync = off\n").unwrap();
    signal("HUP", postmaster_pid(folder));
    eventually("the server has read it", async || {
        let (_, checks) = doctor(&[("DATABASE_URL", url.as_str())]);
        let (status, detail) = one(&checks, "durability");
        status == "failed" && detail.contains("fsync is off")
    })
    .await;

    let away = format!("postgres://payments:hunter2@{nobody}/payments");
    let (status, checks) = doctor(&[("DATABASE_URL", away.as_str())]);
    assert_eq!((status, one(&checks, "database").0), (Some(1), "failed"));
    assert!(one(&checks, "database").1.contains("refused"), "{checks:?}");
    let (status, checks) = doctor(&[]);
    assert_eq!((status, one(&checks, "database").0), (Some(1), "failed"));
    assert!(one(&checks, "database").1.contains("DATABASE_URL"), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_named() {
    let database = TestDatabase::start("doctor-topics").await;
    let broker = Broker::start("doctor-topics");
    let (url, address) = (database.url(), broker.address());
    assert_eq!(tool(&url, &["migrate"]).0, Some(0));
    let made = ["--create", "--topic", "payments.events", "--partitions", "3"];
    assert!(broker.tool("org.apache.kafka.tools.TopicCommand", &made).status().unwrap().success());
    let (status, checks) = doctor(&[("DATABASE_URL", &url), ("PAYMENTS_KAFKA__BROKERS", &address)]);
    let topics: Vec<_> = checks["topics"].iter().map(|check| (&check["status"], &check["detail"])).collect();
    assert_eq!(status, Some(1), "{topics:?}");
    assert_eq!(topics[0].0, "failed");
    assert!(topics[0].1.as_str().unwrap().contains("payments.events has 3 partitions"), "{topics:?}");
    assert_eq!(
        (topics[1].0, topics[1].1),
        (&Value::from("warning"), &Value::from("accounts.events is not there"))
    );
}
