//! The event store itself, on a real PostgreSQL: every rule of its contract that a process cannot see.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use adapter_postgres::answered_requests::AnsweredRequests;
use adapter_postgres::database::Database;
use adapter_postgres::store::StoreSettings;
use commands::ports::{EventStore, StoreError};
use commands::unit::{Step, Unit};
use domain::{AccountCommand, AccountError, PostingId};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::support::store::{
    hold_all_commits, is_recorded, let_commits_go, refused, short_of, store_on, submit,
};
use crate::support::units::{
    account_of, answer, answering, available, claim, context, dense, deposit, key, only_answering,
    open_accounts, usd, withdrawal,
};
use crate::support::{Books, TestDatabase, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_dense_and_follow_the_order_of_commits_under_200_concurrent_units() {
    let database = TestDatabase::start("store-positions").await;
    let store = store_on(&database).await;
    let users: Vec<String> = (0..10).map(|user| format!("u{user}")).collect();
    open_accounts(&store, &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let reading = Arc::new(AtomicBool::new(true));
    let mut reader = JoinSet::new();
    reader.spawn(read_without_a_gap(database.connect().await, Arc::clone(&reading)));

    let newest = Arc::new(AtomicI64::new(0));
    let mut working = JoinSet::new();
    for worker in 0..200 {
        let (store, newest) = (store.clone(), Arc::clone(&newest));
        working.spawn(async move {
            for round in 0..20 {
                let acknowledged = newest.load(Ordering::SeqCst);
                let posting = format!("p{worker}-{round}");
                let receipt =
                    store.execute(deposit(&format!("u{}", worker % 10), &posting, 1)).await.unwrap();
                let position = receipt.position.unwrap();
                assert!(position > acknowledged, "what begins later stands later");
                newest.fetch_max(position, Ordering::SeqCst);
            }
        });
    }
    working.join_all().await;
    reading.store(false, Ordering::SeqCst);
    let read = reader.join_all().await;
    let events = dense(&mut database.connect().await).await;
    assert_eq!(events, 11 + 200 * 20 * 2);
    assert_eq!(read, [events], "a reader that asks for what is beyond its position sees everything");
    for user in &users {
        assert_eq!(available(&store, user).await, 20 * 20);
    }
    Books::audit(&database.url()).await;
}

/// Follows the log as a projector does.
async fn read_without_a_gap(mut connection: PgConnection, reading: Arc<AtomicBool>) -> i64 {
    let (mut position, mut time) = (0, None);
    loop {
        let last_round = !reading.load(Ordering::SeqCst);
        let rows: Vec<(i64, sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc>)> =
            sqlx::query_as("select position, recorded_at from events where position > $1 order by position")
                .bind(position)
                .fetch_all(&mut connection)
                .await
                .unwrap();
        for (next, recorded_at) in rows {
            assert_eq!(next, position + 1, "a late event would be skipped for ever");
            assert!(time <= Some(recorded_at), "time does not run backwards along the log");
            (position, time) = (next, Some(recorded_at));
        }
        if last_round {
            return position;
        }
    }
}

/// Who asks for the past by time relies on it: nothing may appear later with a time from before.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_waited_for_another_has_a_time_from_behind_it() {
    let database = TestDatabase::start("store-time").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["waiting"]).await;
    let mut other = hold_all_commits(&database).await;
    let mut waiting = pin!(store.execute(deposit("waiting", "late", 1)));
    submit(waiting.as_mut());
    appends_wait(&database).await;
    // What another process's append does, as far as the time is concerned.
    let landed: i64 = sqlx::query_scalar(
        "update event_log_head set recorded_at = clock_timestamp()
         returning (extract(epoch from clock_timestamp()) * 1000000)::bigint",
    )
    .fetch_one(&mut other)
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    sqlx::query("commit").execute(&mut other).await.unwrap();
    waiting.await.unwrap();
    let recorded: i64 = sqlx::query_scalar(
        "select (extract(epoch from recorded_at) * 1000000)::bigint from events order by position desc limit 1",
    )
    .fetch_one(&mut other)
    .await
    .unwrap();
    assert!(recorded > landed + 150_000, "it says {} us behind the other one", recorded - landed);
}

/// Waits until an append stands in the queue for the head row.
async fn appends_wait(database: &TestDatabase) {
    eventually("an append waits for the head row", async || {
        sqlx::query_scalar("select exists (select from pg_locks where not granted)")
            .fetch_one(&mut database.connect().await)
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_which_one_step_is_refused_leaves_nothing_in_the_log_or_in_memory() {
    let database = TestDatabase::start("store-all-or-nothing").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["giver", "taker"]).await;
    store.execute(deposit("taker", "fill", 5)).await.unwrap();
    let before = dense(&mut database.connect().await).await;

    let debit = |minor| AccountCommand::Debit {
        posting_id: PostingId::parse("both").unwrap(),
        amount: usd(minor),
        payment_id: None,
    };
    let both = |minor| deposit("giver", "both", 7).then(Step::Account(account_of("taker"), debit(minor)));
    assert_eq!(refused(store.execute(both(6)).await), short_of(5, 6));
    assert_eq!(dense(&mut database.connect().await).await, before);
    assert_eq!((available(&store, "giver").await, available(&store, "taker").await), (0, 5));
    // Memory was not touched either: what is decided on it now has no gap and loses nothing.
    let receipt = store.execute(deposit("giver", "after", 1)).await.unwrap();
    assert_eq!((receipt.position, receipt.contended), (Some(before + 2), vec![]));
    assert_eq!(dense(&mut database.connect().await).await, before + 2);
    assert_eq!(available(&store, "giver").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_what_is_pending() {
    let database = TestDatabase::start("store-pending").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["waiter"]).await;
    let held = hold_all_commits(&database).await;
    let mut coming = pin!(store.execute(deposit("waiter", "coming", 10)));
    submit(coming.as_mut());
    let mut asking = pin!(store.execute(withdrawal("waiter", "too-much", 20)));
    let early = tokio::time::timeout(Duration::from_millis(300), asking.as_mut()).await;
    assert!(early.is_err(), "refused on a state that is not durable: {early:?}");
    let_commits_go(held).await;
    assert_eq!(refused(asking.await), short_of(10, 20));
    assert!(is_recorded(&database, "coming").await, "the refusal tells of what is durable");
    coming.await.unwrap();
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_on_an_append_that_fails_fails_with_it() {
    let database = TestDatabase::start("store-poison").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["hopeful"]).await;
    store.execute(only_answering("taken")).await.unwrap();
    let held = hold_all_commits(&database).await;
    // This one will fail: its key belongs to another request. Both others build on it.
    let mut failing = pin!(store.execute(answering(deposit("hopeful", "failing", 10), "taken")));
    submit(failing.as_mut());
    let mut spending = pin!(store.execute(withdrawal("hopeful", "spending", 10)));
    submit(spending.as_mut());
    let mut adding = pin!(store.execute(deposit("hopeful", "adding", 3)));
    submit(adding.as_mut());
    let_commits_go(held).await;
    let (failed, spent, added) = tokio::join!(failing, spending, adding);
    assert!(matches!(failed, Err(StoreError::KeyTaken)), "{failed:?}");
    // Tried again on what is true: the deposit that it counted on has never been.
    assert!(matches!(refused(spent), AccountError::InsufficientFunds { .. }));
    added.unwrap();
    assert_eq!(available(&store, "hopeful").await, 3);
    assert!(!is_recorded(&database, "failing").await && !is_recorded(&database, "spending").await);
    dense(&mut database.connect().await).await;
    Books::audit(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_or_hears_nothing_in_time_finds_its_unit_done_once() {
    let database = TestDatabase::start("store-unknown").await;
    let settings = StoreSettings { timeout: Duration::from_secs(1), ..StoreSettings::default() };
    let store = database.store(settings).await;
    open_accounts(&store, &["late"]).await;
    let held = hold_all_commits(&database).await;
    {
        let mut leaving = pin!(store.execute(deposit("late", "leaving", 1)));
        submit(leaving.as_mut());
    }
    let unheard = store.execute(answering(deposit("late", "unheard", 10), "unheard")).await;
    assert!(matches!(unheard, Err(StoreError::OutcomeUnknown)), "{unheard:?}");
    let_commits_go(held).await;
    let repeat = store.execute(answering(deposit("late", "unheard", 10), "unheard")).await;
    assert!(matches!(repeat, Err(StoreError::KeyTaken)), "{repeat:?}");
    assert_eq!(available(&store, "late").await, 11);
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_its_answer_land_with_the_events_or_not_at_all() {
    let database = TestDatabase::start("store-keys").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["caller"]).await;
    let receipt = store.execute(answering(deposit("caller", "paid-in", 10), "K1")).await.unwrap();
    let recorded = store.look_up(&key("K1"), None).await.unwrap().key.unwrap();
    assert_eq!((recorded.request_hash, &recorded.traceparent), ([7; 32], &claim("K1").traceparent));
    assert!(receipt.position.is_some());
    assert_eq!(recorded.answer, receipt.answer, "the first caller and a repeat get the same");
    assert_eq!(recorded.answer.unwrap().position, receipt.position);

    let again = store.execute(answering(deposit("caller", "paid-in-again", 10), "K1")).await;
    assert!(matches!(again, Err(StoreError::KeyTaken)), "{again:?}");
    assert!(!is_recorded(&database, "paid-in-again").await);
    assert_eq!(available(&store, "caller").await, 10);

    let refused = store.execute(answering(withdrawal("caller", "too-much", 11), "K2")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(store.look_up(&key("K2"), None).await.unwrap().key.is_none(), "nothing was claimed");

    let receipt = store.execute(only_answering("K3")).await.unwrap();
    assert_eq!((receipt.position, receipt.last_event_id), (None, None));
    let recorded = store.look_up(&key("K3"), None).await.unwrap().key.unwrap();
    assert_eq!(recorded.answer, Some(answer(r#"{"key":"K3"}"#)));
    let repeat = store.execute(only_answering("K3")).await;
    assert!(matches!(repeat, Err(StoreError::KeyTaken)), "{repeat:?}");
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_the_database_never_takes_fails_alone() {
    let database = TestDatabase::start("store-unacceptable").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["first", "second", "third"]).await;
    let held = hold_all_commits(&database).await;
    // The first one is on its way, the others gather behind it and leave together.
    let mut under_way = pin!(store.execute(deposit("first", "under-way", 1)));
    submit(under_way.as_mut());
    let mut good = pin!(store.execute(deposit("second", "good", 2)));
    submit(good.as_mut());
    let freeze = AccountCommand::Freeze { reason: "test".to_owned() };
    let unacceptable = Unit::led_by(Step::Account(account_of("third"), freeze), context("a nul: \0"));
    let mut unacceptable = pin!(store.execute(unacceptable));
    submit(unacceptable.as_mut());
    let mut behind = pin!(store.execute(deposit("third", "behind", 3)));
    submit(behind.as_mut());
    let_commits_go(held).await;
    let (_, good, refused, behind) = tokio::join!(under_way, good, unacceptable, behind);
    good.unwrap();
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    behind.unwrap();
    let third = store.account(&account_of("third")).await.unwrap().state;
    assert_eq!((third.status.name(), third.available().unwrap()), ("active", usd(3)));
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_answered_long_ago_is_forgotten() {
    let database = TestDatabase::start("store-forget").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["caller"]).await;
    store.execute(answering(deposit("caller", "paid-in", 10), "answered")).await.unwrap();
    store.execute(deposit("caller", "running", 1).claiming(claim("running"))).await.unwrap();
    let requests = AnsweredRequests::new(&Database::connect(&database.url(), 2).await.unwrap());

    assert_eq!(requests.forget(Duration::from_secs(24 * 3_600)).await.unwrap(), 0);
    assert!(store.look_up(&key("answered"), None).await.unwrap().key.is_some());
    assert_eq!(requests.forget(Duration::ZERO).await.unwrap(), 1);
    assert!(store.look_up(&key("answered"), None).await.unwrap().key.is_none());
    let running = store.look_up(&key("running"), None).await.unwrap().key.unwrap();
    assert_eq!(running.answer, None, "a request that runs keeps its key, however old it is");
    assert_eq!(available(&store, "caller").await, 11, "the log forgets nothing");
    dense(&mut database.connect().await).await;
}
