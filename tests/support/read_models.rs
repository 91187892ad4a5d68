//! The read models of a log, long or short: when they are at its end, and whether they are what it says.

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::parts::tool;
use super::{Books, TestDatabase, eventually};

/// Users of a log that [`fill`] makes.
const SEEDED_USERS: i64 = 1_000;

/// Fills an empty log with accounts and whole payments.
pub(crate) async fn fill(database: &TestDatabase, events: i64) {
    let mut connection = database.connect().await;
    let accounts = include_str!("../load/fill_accounts.sql");
    sqlx::query(accounts).bind(SEEDED_USERS).execute(&mut connection).await.unwrap();
    let payments = events / 700 * 100;
    let chunk = 20_000;
    for first in (0..payments).step_by(usize::try_from(chunk).unwrap()) {
        let last = (first + chunk).min(payments) - 1;
        let query = sqlx::query(include_str!("../load/fill_payments.sql"));
        query.bind(first).bind(last).bind(SEEDED_USERS).execute(&mut connection).await.unwrap();
    }
}

/// Fails the test unless the read models are what the log says, each event counted once.
pub(crate) async fn read_models_are_right(database_url: &str, books: &Books) {
    let (status, stdout, stderr) = tool(database_url, &["projections", "verify", "all", "--json"]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let compared: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(compared.len(), 3, "{stdout}");
    for projection in &compared {
        assert_eq!(projection["position"].as_i64(), Some(books.events), "{projection}");
        assert_eq!(projection["different"], 0, "{projection}");
    }
    // Beside the engine's own folds: the books of these tests, which read the log by themselves.
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    let balances: Vec<(String, i64, i64)> =
        sqlx::query_as("select account_id, posted, held from read_models.account_balances")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(balances.len(), books.posted.len());
    for (account, posted, held) in balances {
        assert_eq!((posted, held), (books.posted[&account], books.held[&account]), "{account}");
    }
    let sums: Vec<(String, i64, i64)> = sqlx::query_as(
        "select account_id, sum(amount)::bigint, (array_agg(balance order by position desc))[1]
           from read_models.account_entries group by account_id",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    for (account, sum, last) in sums {
        assert_eq!((sum, last), (books.posted[&account], books.posted[&account]), "{account}");
    }
    let completed: i64 =
        sqlx::query_scalar("select count(*) from read_models.payments where status = 'completed'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(usize::try_from(completed).unwrap(), books.completed.len());
}

/// Waits until every projection has come to the end of the log.
pub(crate) async fn caught_up(database_url: &str) {
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    eventually("the projections are at the end of the log", async || {
        let there: i64 = sqlx::query_scalar(
            "select count(*) from projections p, event_log_head h where p.position >= h.position",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        there == 3
    })
    .await;
}
