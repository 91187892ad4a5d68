//! What the event store keeps in memory, and how it comes by what it does not keep.

use std::sync::Arc;

use adapter_postgres::store::framework::execute;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use commands::ports::EventStore;
use tokio::task::JoinSet;

use crate::support::store::{framework_on, patient, plain_deposit, store_on};
use crate::support::units::{account_of, available, dense, deposit, open_accounts, opened};
use crate::support::{TestDatabase, eventually};

/// Opens accounts `PREFIX{from}..PREFIX{to}`, some hundreds at a time.
async fn open_many(store: &PostgresEventStore, from: u32, to: u32) {
    let mut opening = JoinSet::new();
    for number in from..to {
        let store = store.clone();
        opening.spawn(async move { store.execute(opened(&format!("many{number}"))).await.map(|_| ()) });
        if opening.len() >= 500 {
            opening.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_bounded_and_what_it_drops_is_read_again() {
    let database = TestDatabase::start("store-cache").await;
    let settings = StoreSettings { cached_accounts: 1_000, ..patient() };
    let store = database.store(settings).await;
    open_accounts(&store, &[]).await;
    open_many(&store, 0, 20_000).await;
    assert!(store.cached().0 <= 1_000, "{:?}", store.cached());
    for number in [0, 10_000, 19_999] {
        let user = format!("many{number}");
        store.execute(deposit(&user, &format!("post{number}"), 5)).await.unwrap();
        assert_eq!(available(&store, &user).await, 5);
    }
    assert!(store.cached().0 <= 1_000, "{:?}", store.cached());
    dense(&mut database.connect().await).await;
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_stays_bounded_while_many_accounts_are_touched_once() {
    // In a process of its own, since other tests share this one's memory.
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "--ignored", "--nocapture", "store_memory::touching_a_million_accounts"]);
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process of its own"]
async fn touching_a_million_accounts() {
    let database = TestDatabase::start("store-memory").await;
    let settings = StoreSettings { cached_accounts: 10_000, ..patient() };
    let store = database.store(settings).await;
    open_accounts(&store, &[]).await;
    let before = resident_kib();
    open_many(&store, 0, 1_000_000).await;
    assert!(store.cached().0 <= 10_000, "{:?}", store.cached());
    let grown = resident_kib() - before;
    assert!(grown < 60 * 1024, "grew by {grown} KiB");
}

const LONG: i64 = 5_000;

async fn deposit_many(store: &PostgresEventStore, user: &'static str, count: i64) {
    let framework = Arc::new(framework_on(store));
    let mut depositing = JoinSet::new();
    for number in 0..count {
        let (framework, store) = (Arc::clone(&framework), store.clone());
        depositing.spawn(async move {
            execute(&framework, &store, account_of(user).as_str(), plain_deposit(number)).await
        });
    }
    for deposited in depositing.join_all().await {
        deposited.unwrap();
    }
}

async fn snapshot_of(database: &TestDatabase, user: &str) -> Option<(i64, Vec<u8>)> {
    sqlx::query_as(
        "select sequence, fold_hash from snapshots where aggregate_type = 'account' and aggregate_id = $1",
    )
    .bind(account_of(user).as_str())
    .fetch_optional(&mut database.connect().await)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_account_is_loaded_from_a_snapshot_of_the_same_fold_only() {
    let database = TestDatabase::start("store-snapshots").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["long"]).await;
    deposit_many(&store, "long", LONG - 1).await;
    let mut fold = vec![];
    eventually("a snapshot of the long account is written", async || {
        let Some((sequence, fold_hash)) = snapshot_of(&database, "long").await else { return false };
        fold = fold_hash;
        sequence == LONG
    })
    .await;
    let fresh = store_on(&database).await;
    assert_eq!(available(&fresh, "long").await, LONG - 1);

    // What the snapshot says is believed as long as the fold is ours: the log is not read again.
    let mut connection = database.connect().await;
    sqlx::query("update snapshots set state = jsonb_set(state::jsonb, '{posted}', '77')::json")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(available(&store_on(&database).await, "long").await, 77, "loaded from the snapshot");

    // Of another fold it is worth nothing, and is replaced.
    sqlx::query("update snapshots set fold_hash = sha256('another fold')")
        .execute(&mut connection)
        .await
        .unwrap();
    let fresh = store_on(&database).await;
    assert_eq!(available(&fresh, "long").await, LONG - 1);
    fresh.execute(deposit("long", "one-more", 1)).await.unwrap();
    eventually("the snapshot is of our fold again", async || {
        snapshot_of(&database, "long").await == Some((LONG, fold.clone()))
    })
    .await;
    assert_eq!(available(&store_on(&database).await, "long").await, LONG);

    // Unreadable, it is worth nothing either.
    sqlx::query("update snapshots set state = '\"?\"'").execute(&mut connection).await.unwrap();
    assert_eq!(available(&store_on(&database).await, "long").await, LONG);
    dense(&mut connection).await;
}
