//! Read models built anew: beside what is read, under load, killed and resumed; compared with the log.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::parts::{Parts, tool};
use crate::support::process::program;
use crate::support::read_models::{caught_up, fill, read_models_are_right};
use crate::support::{Acknowledged, Books, Load, Payment, Scene, eventually};

/// Events that are there before the load begins.
const EVENTS: i64 = 1_000_000;

/// Reads that must never fail and never go back, until they are told to stop.
fn readers(parts: &Parts, account: &str, stop: &Arc<AtomicBool>) -> JoinSet<u64> {
    let mut readers = JoinSet::new();
    let paths = [
        format!("/api/v1/accounts/{account}"),
        format!("/api/v1/accounts/{account}/entries?limit=5"),
        "/api/v1/payments?user_id=load0&limit=5".to_owned(),
    ];
    for path in paths {
        let (client, stop) = (parts.client.clone(), Arc::clone(stop));
        readers.spawn(async move {
            let (mut reads, mut position) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let read = client.get(&path).await;
                assert_eq!(read.status, 200, "{}", read.text);
                let at = read.body["position"].as_i64().unwrap();
                assert!(at >= position, "{path}: position {at} after {position}");
                (position, reads) = (at, reads + 1);
            }
            reads
        });
    }
    readers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_load_is_killed_resumed_and_swapped_while_reads_go_on() {
    let parts = Parts::start("rebuild-load").await;
    fill(&parts.database, EVENTS).await;
    let projector = parts.projector();
    let url = parts.database.url();
    caught_up(&url).await;
    let mut account = String::new();
    for user in 0..4 {
        account = parts.client.funded(&format!("load{user}"), "1000000.00").await;
    }
    parts.client.account(&account).await;
    let (told, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let load = Load::start(&[parts.api.url()], 8, 4, "load", &told);
    let mut reading = readers(&parts, &account, &stop);

    // Killed when it has a checkpoint of its own.
    let begun = || -> Option<i64> {
        let (_, listed, _) = tool(&url, &["projections", "list", "--json"]);
        let listed = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // Each read model is written by a session of its own: the log is read on from where the last one is.
        listed.map(|status| status["rebuild_at"].as_i64()).min().unwrap()
    };
    let mut command = Command::new(program());
    command.args(["projections", "rebuild", "all"]).env("DATABASE_URL", &url);
    let mut rebuild = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("it has a checkpoint", async || begun().is_some_and(|at| at > 0)).await;
    rebuild.kill().unwrap();
    rebuild.wait().unwrap();
    let kept = begun().unwrap();
    assert!(kept > 0 && kept < EVENTS, "killed half-way: {kept}");

    let (status, stdout, stderr) = tool(&url, &["projections", "rebuild", "all", "--json"]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, compared) = lines.split_last().unwrap();
    assert_eq!(last["resumed_at"].as_i64(), Some(kept), "it goes on where it was");
    assert!(compared.iter().all(|projection| projection["different"] == 0), "{stdout}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await;
    stop.store(true, Ordering::Relaxed);
    while let Some(reads) = reading.join_next().await {
        assert!(reads.unwrap() > 20, "reads went on");
    }
    told.all_answered_cleanly(Duration::from_secs(10));
    crate::support::books::settled(&url).await;
    caught_up(&url).await;
    read_models_are_right(&url, &Books::audit(&url).await).await;

    // The tables before the swap are kept until they are told to go.
    let (_, listed, _) = tool(&url, &["projections", "list"]);
    assert_eq!(listed.matches("before the last rebuild are kept").count(), 3, "{listed}");
    let (status, dropped, _) = tool(&url, &["projections", "drop-old", "all"]);
    assert_eq!((status, dropped.matches(": dropped").count()), (Some(0), 3), "{dropped}");
    let (_, listed, _) = tool(&url, &["projections", "list"]);
    assert!(!listed.contains("kept"), "{listed}");
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_waits_for_the_end_of_one_that_was_killed_and_gives_way_to_one_that_lives() {
    let parts = Parts::start("rebuild-locks").await;
    let projector = parts.projector();
    let url = parts.database.url();
    parts.client.funded("alice", "10.00").await;
    caught_up(&url).await;
    // The session of a killed rebuild, which the server ends in a while.
    let mut session = parts.database.connect().await;
    let lock = "select pg_advisory_lock($1, 0)";
    sqlx::query(lock).bind(0x7061_7903_i32).execute(&mut session).await.unwrap();
    let rebuild = || {
        let mut command = Command::new(program());
        command.args(["projections", "rebuild", "all"]).env("DATABASE_URL", &url);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waiting = rebuild();
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(session);
    let ended = waiting.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));

    // One that lives holds them all the while: its own, or that of what writes for it.
    let mut session = parts.database.connect().await;
    sqlx::query(lock).bind(0x7061_7905_i32).execute(&mut session).await.unwrap();
    let ended = rebuild().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("account_balances is being rebuilt by another process"), "{said}");
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_has_to_wait_for_a_reader_loses_nothing_of_what_comes_meanwhile() {
    let parts = Parts::start("rebuild-reader").await;
    let projector = parts.projector();
    let url = parts.database.url();
    for user in 0..4 {
        parts.client.funded(&format!("load{user}"), "1000000.00").await;
    }
    caught_up(&url).await;
    let told = Acknowledged::default();
    let load = Load::start(&[parts.api.url()], 8, 4, "load", &told);
    // A long look at the balances: their table cannot be moved while it lasts.
    let mut reader = parts.database.connect().await;
    sqlx::query("begin").execute(&mut reader).await.unwrap();
    sqlx::query("select from read_models.account_balances").execute(&mut reader).await.unwrap();
    let mut rebuild = Command::new(program());
    rebuild.args(["projections", "rebuild", "all"]).env("DATABASE_URL", &url);
    let rebuild = rebuild.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    sqlx::query("commit").execute(&mut reader).await.unwrap();
    let ended = rebuild.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("trying the swap again"), "it had to wait: {said}");
    load.stop().await;
    crate::support::books::settled(&url).await;
    caught_up(&url).await;
    read_models_are_right(&url, &Books::audit(&url).await).await;
    projector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_what_the_log_says_are_named_and_mended_by_a_rebuild() {
    let scene = Scene::start("verify-rows");
    let url = scene.database_url();
    let account = scene.account("alice", "USD", "100.00").await;
    for number in 0..4 {
        scene.client.pay(&Payment::of("alice", &format!("p{number}"), "1.00")).await;
    }
    caught_up(&url).await;
    read_models_are_right(&url, &scene.books().await).await;
    // As the balance was before the last payment's capture; a payment that nobody made; a line gone.
    let story = scene.story("p3").await;
    let held = story.iter().find(|(name, _)| name == "FundsHeld").unwrap().1;
    let captured = story.iter().find(|(name, _)| name == "HoldCaptured").unwrap().1;
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query(
        "update read_models.account_balances b set posted = 9700, held = 100, position = e.position,
                event_id = e.event_id, recorded_at = e.recorded_at
           from events e where e.position = $1 and b.account_id = e.aggregate_id",
    )
    .bind(held)
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::query(
        "insert into read_models.payments
         select 'ghost', user_id, payer, payee, currency, amount, payment_method, capture, status, risk,
                transaction_id, failure, review_reason, captured, refunded, metadata, initiated_position,
                initiated_at, position, updated_at
           from read_models.payments where payment_id = 'p0'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::query("delete from read_models.account_entries where account_id = $1 and position = $2")
        .bind(&account)
        .bind(captured)
        .execute(&mut connection)
        .await
        .unwrap();

    let (status, stdout, stderr) = tool(&url, &["projections", "verify", "all", "--json"]);
    assert_eq!(status, Some(3), "{stdout}{stderr}");
    let found: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (projection, key, parts_at, read, log) in [
        (&found[0], account.as_str(), Some(captured), true, true),
        (&found[1], account.as_str(), Some(captured), false, true),
        (&found[2], "ghost", None, true, false),
    ] {
        assert_eq!(projection["different"], 1, "{projection}");
        let difference = &projection["differences"][0];
        assert_eq!((&difference["key"], difference["parts_at"].as_i64()), (&Value::from(key), parts_at));
        assert_eq!((difference["read"].is_object(), difference["log"].is_object()), (read, log));
    }
    let (status, text, _) = tool(&url, &["projections", "verify", "account_balances"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains(&format!("they part at position {captured}")), "{text}");

    let (status, stdout, stderr) = tool(&url, &["projections", "rebuild", "all"]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert_eq!(stdout.matches("are not what the log says").count(), 3, "{stdout}");
    read_models_are_right(&url, &scene.books().await).await;
    assert_eq!(scene.balance(&account).await, ["96.00", "0.00", "96.00"]);
    let (status, _, stderr) = tool(&url, &["projections", "verify", "nonsense"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("there are account_balances, account_entries, payments"), "{stderr}");
    scene.end_settled().await;
}
