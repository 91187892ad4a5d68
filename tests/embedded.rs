//! `payments dev` as a user meets it: starting, stopping, starting again, and what stands in its way.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::folder::{Folder, alive};
use crate::support::process::{postmaster_pid, program, signal};
use crate::support::{Client, Engine, Payment, eventually};

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// `payments` with these arguments, its output within reach, in a process group of its own.
fn spawn(arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    Command::new(program())
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Waits for the end of a process, and kills one that goes on.
fn end_of(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts what must not start, and returns what the user is told.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut child = spawn(arguments, environment);
    let status = end_of(&mut child);
    assert_eq!(status.code(), Some(1), "{arguments:?}");
    let (mut output, mut told) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(output, "", "it was never ready");
    let last = told.lines().filter(|line| line.starts_with("payments: ")).collect::<Vec<_>>();
    assert_eq!(last.len(), 1, "the reason stands on a line of its own: {told}");
    told
}

fn dev(data: &Path) -> [&str; 5] {
    ["dev", "--port", "0", "--data-dir", data.to_str().unwrap()]
}

#[test]
fn ready_is_a_line_of_its_own_and_a_signal_ends_everything_with_status_0() {
    for name in ["TERM", "INT"] {
        let folder = Folder::new("signals");
        let mut child = spawn(&dev(&folder.data()), &[("PAYMENTS_LOG__FILTER", "error")]);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("ready http://").unwrap();
        assert!(std::net::TcpStream::connect(address).is_ok(), "it serves when it says so");
        let postgres = postmaster_pid(&folder.data());
        assert!(alive(postgres));

        // As a terminal does it: to the whole group of the engine. PostgreSQL is not in it.
        let group = format!("-{}", child.id());
        assert!(Command::new("kill").args([&format!("-{name}"), "--", &group]).status().unwrap().success());
        assert_eq!(end_of(&mut child).code(), Some(0), "{name}");
        assert!(!alive(postgres), "PostgreSQL ends with its engine");
        assert!(!folder.data().join("postgres/postmaster.pid").exists(), "it was stopped in order");
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing else is on stdout");
        let log = std::fs::read_to_string(folder.data().join("postgres.log")).unwrap();
        assert!(!log.contains("not properly shut down"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_accounts_payments_and_keys() {
    let folder = Folder::new("restart");
    let data = folder.made();
    let engine = Engine::start_alone(&data);
    let client = Client::new(engine.url());
    let account = client.funded("alice", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53");
    let paid = client.pay(&payment).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let balance = format!("/api/v1/accounts/{account}?min_position={}", paid.body["position"]);
    let reads = ["/api/v1/payments/p1", "/api/v1/payments/p1/events", &balance];
    let mut before = vec![];
    for path in reads {
        before.push(client.get(path).await.text);
    }
    engine.stop();

    let engine = Engine::start_alone(&data);
    let client = Client::new(engine.url());
    for (path, before) in reads.iter().zip(before) {
        assert_eq!(client.get(path).await.text, before, "{path}");
    }
    let repeat = client.pay(&payment).await;
    assert_eq!((repeat.text, repeat.replayed), (paid.text, true));
    let next = client.pay(&Payment::of("alice", "p2", "2.47")).await;
    assert_eq!(next.body["balance"]["available"], "90.00", "{}", next.text);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_payment_under_way() {
    let folder = Folder::new("drain");
    let data = folder.made();
    let engine = Engine::start_alone(&data);
    let client = Client::new(engine.url());
    let account = client.funded("alice", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53").by("card_slow");
    let pid = engine.pid();
    let stop = async {
        eventually("the payment is under way", async || client.payment("p1").await.status == 200).await;
        signal("TERM", pid);
    };
    let (paid, ()) = futures::future::join(client.pay(&payment), stop).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    engine.stop();

    let engine = Engine::start_alone(&data);
    let client = Client::new(engine.url());
    let read = client.account(&account).await;
    assert_eq!((&read.body["available"], &read.body["held"]), (&json!("92.47"), &json!("0.00")));
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_on_the_folder_is_told_who_has_it() {
    let folder = Folder::new("second");
    let data = folder.made();
    let engine = Engine::start_alone(&data);
    let told = refused(&dev(&data), &[]);
    assert!(told.contains(data.to_str().unwrap()), "{told}");
    assert!(told.contains(&format!("process {}", engine.pid())) && told.contains("--data-dir"), "{told}");
    // The first one did not notice.
    Client::new(engine.url()).funded("alice", "1.00").await;
    engine.stop();
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_made() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = folder.data();
    let told = refused(&["dev", "--port", &port, "--data-dir", data.to_str().unwrap()], &[]);
    assert!(told.contains(&format!("127.0.0.1:{port}")) && told.contains("--port"), "{told}");
    assert!(!data.exists());
}

#[test]
fn a_wrong_setting_is_named_before_anything_is_made() {
    let folder = Folder::new("settings");
    let data = folder.data();
    for (name, value, expected) in [
        ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "soon", "payment_timeout_ms"),
        ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "0", "saga.payment_timeout_ms"),
        ("PAYMENTS_SAGA__TAKEOVER_AFTER_MS", "100", "saga.takeover_after_ms"),
        ("PAYMENTS_SAGA__TIMEOUT", "100", "timeout"),
        ("PAYMENTS_SAGA__DEGRADED_LIMITS__USD", "\"7.005\"", "saga.degraded_limits.USD"),
        ("PAYMENTS_STORE__CONNECTIONS", "1", "store.connections"),
        ("PAYMENTS_CONFIG", "/nowhere/payments.toml", "/nowhere/payments.toml"),
    ] {
        let told = refused(&dev(&data), &[(name, value)]);
        // A variable of the environment is named as it is written there, in capitals.
        let named = told.to_lowercase().contains(&expected.to_lowercase());
        assert!(named, "{name}={value}: {told}");
        assert!(!data.exists(), "{name}={value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_outlives_its_engine_is_adopted() {
    let folder = Folder::new("adopted");
    let data = folder.made();
    let engine = Engine::start_alone(&data);
    let account = Client::new(engine.url()).funded("alice", "7.00").await;
    let postgres = engine.postmaster_pid();
    engine.kill();
    assert!(alive(postgres));

    let engine = Engine::start_alone(&data);
    assert_eq!(engine.postmaster_pid(), postgres);
    let read = Client::new(engine.url()).account(&account).await;
    assert_eq!(read.body["available"], "7.00");
    engine.stop();
    assert!(!alive(postgres));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_and_its_postgres_that_are_killed_together_come_back() {
    let folder = Folder::new("both");
    let data = folder.made();
    let engine = Engine::start_alone(&data);
    let account = Client::new(engine.url()).funded("alice", "7.00").await;
    let postgres = engine.postmaster_pid();
    engine.kill();
    signal("KILL", postgres);

    let engine = Engine::start_alone(&data);
    assert_ne!(engine.postmaster_pid(), postgres);
    let read = Client::new(engine.url()).account(&account).await;
    assert_eq!(read.body["available"], "7.00");
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_was_killed_while_it_made_its_cluster_makes_it_again() {
    let folder = Folder::new("half");
    let data = folder.made();
    let mut child = spawn(&dev(&data), &[]);
    eventually("initdb is in the middle of it", async || {
        let made = std::fs::read_dir(data.join("postgres.new")).into_iter().flatten().flatten();
        made.into_iter().any(|made| made.path().join("PG_VERSION").exists())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!data.join("postgres").exists(), "what stands under the final name is whole");

    let engine = Engine::start_alone(&data);
    assert!(!data.join("postgres.new").exists());
    Client::new(engine.url()).funded("alice", "1.00").await;
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_while_its_postgres_runs_is_taken_over() {
    let folder = Folder::new("moved");
    let former = folder.made();
    let engine = Engine::start_alone(&former);
    let account = Client::new(engine.url()).funded("alice", "7.00").await;
    let postgres = engine.postmaster_pid();
    engine.kill();
    let data = former.with_file_name("moved-data");
    std::fs::rename(&former, &data).unwrap();

    let engine = Engine::start_alone(&data);
    assert!(!alive(postgres), "nobody could reach it at its former place");
    let read = Client::new(engine.url()).account(&account).await;
    assert_eq!(read.body["available"], "7.00");
    engine.stop();
}
