//! The log carried elsewhere: exported, imported into a new database, told again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::parts::tool;
use crate::support::process::{Server, program};
use crate::support::read_models::{caught_up, fill, read_models_are_right};
use crate::support::scene::PATIENCE;
use crate::support::{Books, Client, Payment, Scene, TestDatabase, eventually};

/// An engine that gives up on a silent channel within two seconds.
const SOON: &[(&str, &str)] = &[
    ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "1200"),
    ("PAYMENTS_SAGA__REVIEW_AFTER_MS", "1500"),
    ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "800"),
];

/// A payment of every ending there is, in two currencies.
async fn every_ending(scene: &Scene) {
    scene.account("alice", "USD", "1000.00").await;
    scene.account("bob", "JPY", "5000").await;
    let methods = ["credit_card", "card_declined", "card_high_risk", "card_lost_answer", "card_never_known"];
    let payments = methods.map(|method| Payment::of("alice", &format!("P-{method}"), "7.53").by(method));
    join_all(payments.iter().map(|payment| scene.client.pay(payment))).await;
    let manual = json!({ "payment_id": "P-manual", "user_id": "alice", "amount": "7.53", "currency": "USD",
                         "payment_method": "credit_card", "capture": "manual" });
    assert_eq!(scene.client.post("/api/v1/payments", "manual", &manual).await.status, 201);
    for payment in &payments {
        scene.client.settled(&payment.payment_id, PATIENCE).await;
    }
    let names: Vec<String> = sqlx::query_scalar("select distinct event_type from events")
        .fetch_all(&mut connect(&scene.database_url()).await)
        .await
        .unwrap();
    for ending in
        ["PaymentCompleted", "PaymentFailed", "PaymentRejected", "PaymentAuthorized", "ReviewRequired"]
    {
        assert!(names.iter().any(|name| name == ending), "{ending} is not in {names:?}");
    }
}

/// A few payments, and where a log of theirs is exported to.
pub(crate) async fn exported(name: &str, payments: u32) -> (Scene, PathBuf) {
    let scene = Scene::start(name);
    scene.account("alice", "USD", "1000.00").await;
    for number in 0..payments {
        let paid = scene.client.pay(&Payment::of("alice", &format!("p{number}"), "7.53")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
    }
    let file = scene.path().join("log.ndjson");
    run(&scene.database_url(), &["events", "export", text(&file)]);
    (scene, file)
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs what must go well; its standard output.
pub(crate) fn run(url: &str, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = tool(url, arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {stdout}{stderr}");
    stdout
}

/// Every column of every event, and of the head.
pub(crate) async fn rows(url: &str) -> (Vec<String>, String) {
    let mut connection = connect(url).await;
    let events = sqlx::query_scalar("select e::text from events e order by position");
    let events = events.fetch_all(&mut connection).await.unwrap();
    let head = sqlx::query_scalar("select h::text from event_log_head h");
    (events, head.fetch_one(&mut connection).await.unwrap())
}

/// Fails the test unless a log is empty.
pub(crate) async fn is_empty(url: &str, after: &str) {
    let empty: bool = sqlx::query_scalar(
        "select not exists (select from events) and position = 0 and recorded_at = '-infinity'
           from event_log_head",
    )
    .fetch_one(&mut connect(url).await)
    .await
    .unwrap();
    assert!(empty, "after {after} there is something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_exported_imported_and_goes_on_elsewhere() {
    let scene = Scene::start_with("transfer", SOON);
    every_ending(&scene).await;
    let (url, folder) = (scene.database_url(), scene.path().to_owned());
    let (first, compressed) = (folder.join("log.ndjson"), folder.join("log.ndjson.gz"));
    run(&url, &["events", "export", text(&first)]);
    let told: Value =
        serde_json::from_str(&run(&url, &["events", "export", text(&compressed), "--json"])).unwrap();
    let origin = rows(&url).await;
    assert_eq!(told["exported"]["events"], origin.0.len(), "{told}");
    assert!(fs::metadata(&compressed).unwrap().len() * 2 < fs::metadata(&first).unwrap().len());
    let leftover = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name());
    assert!(leftover.into_iter().all(|name| !name.to_str().unwrap().ends_with(".part")));

    let database = TestDatabase::start("transfer-there").await;
    let there = database.url();
    let told: Value =
        serde_json::from_str(&run(&there, &["events", "import", text(&compressed), "--json"])).unwrap();
    assert_eq!(told["imported"]["events"], origin.0.len(), "{told}");
    assert_eq!(rows(&there).await, origin, "every column of every event, and the head");
    assert_eq!(run(&there, &["events", "verify"]), run(&url, &["events", "verify"]));
    let second = folder.join("second.ndjson");
    run(&there, &["events", "export", text(&second)]);
    assert_eq!(fs::read(&second).unwrap(), fs::read(&first).unwrap(), "one log is exported to one file");

    // A log that is there is not written over.
    let (status, _, refusal) = tool(&there, &["events", "import", text(&first)]);
    assert_eq!(status, Some(1));
    assert!(refusal.contains("the log of this database is not empty"), "{refusal}");
    assert_eq!(rows(&there).await, origin);

    let server = Server::start(&there, scene.sandbox(), &database.folder().join("server.log"));
    let client = Client::new(server.url());
    let known = client.pay(&Payment::of("alice", "P-credit_card", "7.53")).await;
    assert_eq!(known.status, 409, "a payment that was imported is not made twice: {}", known.text);
    let paid = client.pay(&Payment::of("alice", "P-there", "7.53")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    caught_up(&there).await;
    let books = Books::audit(&there).await;
    read_models_are_right(&there, &books).await;
    assert!(books.events > i64::try_from(origin.0.len()).unwrap());
    let verified = run(&there, &["events", "verify"]);
    assert!(verified.contains("unbroken from position 1"), "the chain goes on: {verified}");
    server.stop();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_cloud_event() {
    let (scene, file) = exported("transfer-lines", 1).await;
    let lines = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, events) = lines.split_last().unwrap();
    let log = scene.client.get("/api/v1/events").await.body["data"].as_array().unwrap().clone();
    assert_eq!(events.len(), log.len());
    for (event, shown) in events.iter().zip(&log) {
        assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("payments")));
        assert_eq!(event["type"], format!("payments.{}", shown["type"].as_str().unwrap()));
        assert_eq!(event["position"], shown["position"].to_string());
        for (attribute, field) in [
            ("id", &shown["event_id"]),
            ("subject", &shown["aggregate"]["id"]),
            ("aggregatetype", &shown["aggregate"]["type"]),
            ("time", &shown["recorded_at"]),
            ("eventversion", &shown["version"]),
            ("correlationid", &shown["correlation_id"]),
            ("causationid", &shown["causation_id"]),
            ("actor", &shown["actor"]),
            ("traceparent", &shown["traceparent"]),
        ] {
            assert_eq!(&event[attribute], field, "{attribute}");
        }
        let plain = |name: &String| name.chars().all(|c| c.is_ascii_lowercase());
        assert!(event.as_object().unwrap().keys().all(plain), "{event}");
    }
    assert_eq!(end["type"], "payments.LogExported");
    assert_eq!(end["data"]["events"], log.len());

    let url = scene.database_url();
    let part = run(&url, &["events", "export", "-", "--from", "2", "--to", "3"]);
    assert_eq!(part.lines().count(), 3, "two events and the end: {part}");
    let whole = fs::read_to_string(&file).unwrap();
    assert!(part.lines().zip(whole.lines().skip(1)).take(2).all(|(there, here)| there == here));
    for (arguments, status, words) in [
        (&["--to", "100000"][..], 1, "the log ends at position"),
        (&["--from", "100000"], 1, "the log ends at position"),
        (&["--from", "5", "--to", "4"], 2, "must not be less than --from"),
        (&["--from", "0"], 2, "--from"),
    ] {
        let (found, _, said) = tool(&url, &[&["events", "export", "-"], arguments].concat());
        assert_eq!(found, Some(status), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let (status, _, said) = tool(&url, &["events", "export", "/dev/null"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("/dev/null is no file"), "{said}");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_leaves_nothing_and_can_be_given_again() {
    const EVENTS: i64 = 14_000;
    let origin = TestDatabase::start("transfer-killed-from").await;
    drop(origin.store(Default::default()).await);
    fill(&origin, EVENTS).await;
    let file = origin.folder().join("log.ndjson");
    run(&origin.url(), &["events", "export", text(&file)]);
    let database = TestDatabase::start("transfer-killed").await;
    let there = database.url();
    let lines = fs::read_to_string(&file).unwrap();
    let most: usize = lines.split_inclusive('\n').take(12_000).map(str::len).sum();

    let mut command = Command::new(program());
    command.args(["events", "import", "-"]).env("DATABASE_URL", &there).stdin(Stdio::piped());
    let mut import = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(&lines.as_bytes()[..most]).unwrap();
    let mut watcher = connect(&there).await;
    let locks = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
                  where c.relname = 'events' and l.mode = 'RowExclusiveLock' and l.pid <> pg_backend_pid()";
    eventually("events are being loaded", async || {
        sqlx::query_scalar::<_, i64>(locks).fetch_one(&mut watcher).await.unwrap() == 1
    })
    .await;
    let appends = sqlx::query("select from event_log_head for update nowait").execute(&mut watcher).await;
    let busy = appends.unwrap_err().into_database_error().unwrap();
    assert_eq!(busy.code().as_deref(), Some("55P03"), "nobody appends meanwhile");
    import.kill().unwrap();
    import.wait().unwrap();
    eventually("the server has noticed", async || {
        sqlx::query_scalar::<_, i64>(locks).fetch_one(&mut watcher).await.unwrap() == 0
    })
    .await;
    is_empty(&there, "an import that was killed").await;

    run(&there, &["events", "import", text(&file)]);
    assert_eq!(rows(&there).await, rows(&origin.url()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_again_as_they_are_wanted() {
    let (scene, file) = exported("transfer-replay", 40).await;
    let url = scene.database_url();
    let whole = fs::read_to_string(&file).unwrap();
    let events = whole.lines().count() - 1;
    let replayed = run(&url, &["replay"]);
    let marked: Vec<String> = whole
        .lines()
        .take(events)
        .map(|line| line.replacen(r#","data":"#, r#","replay":true,"data":"#, 1))
        .collect();
    assert_eq!(replayed.lines().collect::<Vec<_>>(), marked, "in order, each marked, and nothing else");

    let parsed = |output: &str| -> Vec<Value> {
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let some = parsed(&run(&url, &["replay", "--type", "PaymentCompleted", "--type", "payments.FundsHeld"]));
    let mut counts = BTreeMap::<&str, u32>::new();
    for event in &some {
        *counts.entry(event["type"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("payments.FundsHeld", 40), ("payments.PaymentCompleted", 40)]));
    let one = parsed(&run(&url, &["replay", "--aggregate", "p7", "--from", "20"]));
    assert_eq!(one.len(), 4, "{one:?}");
    assert!(one.iter().all(|event| event["subject"] == "p7"));

    let counted = run(&url, &["replay", "--dry-run", "--json", "--type", "FundsHeld", "--type", "Nothing"]);
    let counted: Value = serde_json::from_str(&counted).unwrap();
    let expected =
        json!({ "from": 1, "to": events, "events": 40, "types": { "FundsHeld": 40, "Nothing": 0 } });
    assert_eq!(counted, expected);
    let counted = run(&url, &["replay", "--dry-run", "--from", "1", "--to", "3"]);
    assert!(counted.contains("3 events of positions 1 to 3 would be sent"), "{counted}");
    let untouched: (i64,) = sqlx::query_as("select position from event_log_head")
        .fetch_one(&mut connect(&url).await)
        .await
        .unwrap();
    assert_eq!(untouched.0, i64::try_from(events).unwrap(), "nothing was recorded");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let (scene, file) = exported("transfer-pipe", 60).await;
    assert!(fs::metadata(&file).unwrap().len() > 256 * 1024, "more than a pipe holds");
    for arguments in [&["replay"][..], &["events", "export", "-"], &["events", "export", "-", "--gzip"]] {
        let mut child = Command::new(program())
            .args(arguments)
            .env("DATABASE_URL", scene.database_url())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::with_capacity(64, child.stdout.take().unwrap());
        assert!(!output.fill_buf().unwrap().is_empty());
        drop(output);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("pipe"), "{arguments:?}: {said}");
    }
    scene.end_settled().await;
}
