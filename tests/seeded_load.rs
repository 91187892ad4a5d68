//! The seeded load: 400 connections, random payments of 1,000 users, and books that still agree.

use std::process::Command;
use std::time::{Duration, Instant};

use adapter_postgres::embedded::{ClusterSettings, EmbeddedPostgres};
use futures::{StreamExt, stream};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::support::folder::Folder;
use crate::support::read_models::{caught_up, read_models_are_right};
use crate::support::{Books, Client, Engine, SandboxProcess};

const USERS: u32 = 1_000;

/// How long the load lasts; shorter while one works on the test itself.
fn load_seconds() -> u32 {
    std::env::var("PAYMENTS_TEST_LOAD_SECONDS").map_or(30, |text| text.parse().unwrap())
}

/// Runs the load and returns what the script reports at its end.
#[expect(clippy::print_stdout, reason = "the report of the load, for whoever asks to see it")]
fn run_wrk(url: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/load/payment.lua");
    let duration = format!("-d{}s", load_seconds());
    let output = Command::new("wrk")
        .args(["-t12", "-c400", &duration, "--latency", "-s", script, url])
        .output()
        .unwrap_or_else(|error| {
            panic!("wrk cannot be started ({error}); install it with: apt-get install wrk")
        });
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "wrk ended with {}: {errors}{text}", output.status);
    println!("{text}");
    let result = text.lines().find_map(|line| line.strip_prefix("result "));
    serde_json::from_str(result.unwrap_or_else(|| panic!("wrk reports no result: {errors}{text}"))).unwrap()
}

/// Polls until no payment holds funds without being settled.
async fn all_settled(database_url: &str) {
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from events reserved
              where event_type = 'FundsReserved' and not exists
                    (select from events settled
                      where settled.aggregate_type = 'payment'
                        and settled.aggregate_id = reserved.aggregate_id
                        and settled.event_type in ('PaymentCompleted', 'PaymentFailed', 'ReviewRequired'))",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < end, "{open} payments are not settled");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_seeded_load_nothing_breaks_and_every_cent_is_found_again() {
    let folder = Folder::new("seeded-load");
    let sandbox = SandboxProcess::start(folder.path());
    let engine = Engine::start_with(folder.path(), &sandbox, &[]);
    let client = Client::new(engine.url());
    let users: Vec<String> = (1..=USERS).map(|number| format!("USER_{number}")).collect();
    stream::iter(&users)
        .for_each_concurrent(64, async |user| drop(client.funded(user, "10000.00").await))
        .await;

    let result = run_wrk(engine.url());
    let statuses = result["statuses"].as_object().unwrap();
    assert!(statuses.keys().all(|status| !status.starts_with('5')), "a server error: {result}");
    assert_eq!(result["socket_errors"], 0, "{result}");
    let paid = statuses["201"].as_u64().unwrap();
    assert!(paid > 0, "{result}");

    // The load has cut 400 requests off. Each goes on; stopping the engine waits for the last one.
    let database_url = EmbeddedPostgres::database_url_for(folder.path()).unwrap();
    all_settled(&database_url).await;
    caught_up(&database_url).await;
    engine.stop();
    let settings = ClusterSettings { data_dir: folder.path().to_owned(), bin_dir: None, run_as: None };
    let postgres = EmbeddedPostgres::start(settings).await.unwrap();
    let books = Books::audit(&postgres.database_url()).await;
    books.all_settled();
    books.agree_with_channel(&sandbox, true).await;
    let completed = u64::try_from(books.completed.len()).unwrap();
    assert!(completed >= paid, "{paid} payments were acknowledged, {completed} are in the books");
    read_models_are_right(&postgres.database_url(), &books).await;
    postgres.stop().await.unwrap();
}
