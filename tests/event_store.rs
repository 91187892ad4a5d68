//! The event store itself, on a real PostgreSQL: every rule of its contract that a process cannot see.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use adapter_postgres::store::framework::{AggregateStore, execute};
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use commands::ports::{EventStore, StoreError};
use commands::unit::{Receipt, Refusal, Step, Unit};
use cqrs_es::{AggregateError, CqrsFramework};
use domain::{Account, AccountCommand, AccountError, AccountEvent, PostingId};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::support::units::{
    account_of, answer, answering, available, claim, context, dense, deposit, funding, key, only_answering,
    open_accounts, open_user, opened, usd, withdrawal,
};
use crate::support::{Books, TestDatabase, eventually};

/// A store as in production, but for its patience: a slow machine is no reason for another answer.
fn patient() -> StoreSettings {
    StoreSettings { timeout: Duration::from_secs(20), ..StoreSettings::default() }
}

async fn store_on(database: &TestDatabase) -> PostgresEventStore {
    database.store(patient()).await
}

/// Runs a unit as far as its submission: with its accounts in memory, nothing before that waits.
fn submit<F: Future>(unit: std::pin::Pin<&mut F>) {
    let polled = unit.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending(), "nothing is answered before it is durable");
}

/// A transaction that lets nobody commit an append while it is open.
async fn hold_all_commits(database: &TestDatabase) -> PgConnection {
    let mut connection = database.connect().await;
    sqlx::query("begin").execute(&mut connection).await.unwrap();
    sqlx::query("select position from event_log_head for update").execute(&mut connection).await.unwrap();
    connection
}

async fn let_commits_go(connection: PgConnection) {
    connection.close().await.unwrap();
}

fn refused(result: Result<Receipt, StoreError>) -> AccountError {
    match result {
        Err(StoreError::Refused(Refusal::Account(refusal))) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

fn short_of(available: i64, requested: i64) -> AccountError {
    AccountError::InsufficientFunds { available: usd(available), requested: usd(requested) }
}

async fn is_recorded(database: &TestDatabase, story: &str) -> bool {
    sqlx::query_scalar("select exists (select from events where correlation_id = $1)")
        .bind(story)
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap()
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_which_one_step_is_refused_leaves_nothing_in_the_log_or_in_memory() {
    let database = TestDatabase::start("store-all-or-nothing").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["giver", "taker"]).await;
    store.execute(deposit("taker", "fill", 5)).await.unwrap();
    let before = dense(&mut database.connect().await).await;

    let withdraw = |minor| AccountCommand::Withdraw {
        posting_id: PostingId::parse("both").unwrap(),
        amount: usd(minor),
        reference: String::new(),
    };
    let both = |minor| deposit("giver", "both", 7).then(Step::Account(account_of("taker"), withdraw(minor)));
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
async fn a_refusal_is_never_given_on_what_another_process_has_outdated() {
    let database = TestDatabase::start("store-stale").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    open_accounts(&ours, &["shared"]).await;
    ours.execute(deposit("shared", "first", 10)).await.unwrap();

    theirs.execute(deposit("shared", "theirs", 10)).await.unwrap();
    // Our memory says 10.
    ours.execute(withdrawal("shared", "ours", 15)).await.unwrap();
    assert_eq!(refused(theirs.execute(withdrawal("shared", "again", 6)).await), short_of(5, 6));

    theirs.execute(withdrawal("shared", "theirs-too", 5)).await.unwrap();
    // Our memory says 5.
    assert_eq!(refused(ours.execute(withdrawal("shared", "nothing-left", 5)).await), short_of(0, 5));

    // What has already happened is told from the log, too: our memory says frozen.
    let freeze = |story: &str| {
        let command = AccountCommand::Freeze { reason: "test".to_owned() };
        Unit::led_by(Step::Account(account_of("shared"), command), context(story))
    };
    let unfreeze =
        Unit::led_by(Step::Account(account_of("shared"), AccountCommand::Unfreeze), context("thaw"));
    assert!(ours.execute(freeze("freeze")).await.unwrap().appended);
    assert!(!ours.execute(freeze("freeze-again")).await.unwrap().appended);
    assert!(theirs.execute(unfreeze).await.unwrap().appended);
    assert!(ours.execute(freeze("freeze-anew")).await.unwrap().appended);
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_another_process_is_tried_again_and_named() {
    let database = TestDatabase::start("store-conflict").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    open_accounts(&ours, &["contested"]).await;
    ours.execute(deposit("contested", "ours", 1)).await.unwrap();
    theirs.execute(deposit("contested", "theirs", 1)).await.unwrap();
    let receipt = ours.execute(deposit("contested", "ours-again", 1)).await.unwrap();
    assert!(receipt.contended.contains(&account_of("contested").as_str().to_owned()), "{receipt:?}");
    let free = ours.execute(deposit("contested", "ours-at-last", 1)).await.unwrap();
    assert_eq!(free.contended, Vec::<String>::new(), "a slot that was wrong is not used again");
    assert_eq!(available(&theirs, "contested").await, 4);
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_race_on_one_account_leave_no_gap_and_lose_nothing() {
    let database = TestDatabase::start("store-race").await;
    let stores = [store_on(&database).await, store_on(&database).await];
    open_accounts(&stores[0], &["hot"]).await;
    let mut racing = JoinSet::new();
    for number in 0..400 {
        let store = stores[number % 2].clone();
        racing.spawn(async move {
            let story = format!("race-{number}");
            (store.execute(deposit("hot", &story, 1)).await, story)
        });
    }
    let (mut done, mut contended) = (0, 0);
    for (result, story) in racing.join_all().await {
        match result {
            Ok(_) => done += 1,
            Err(StoreError::Contended) => {
                contended += 1;
                assert!(!is_recorded(&database, &story).await, "{story} is there, although contended");
            }
            Err(other) => panic!("{story}: {other}"),
        }
    }
    assert!(contended < 20, "{contended} of 400 were sent away");
    for store in &stores {
        assert_eq!(available(store, "hot").await, done);
    }
    assert_eq!(dense(&mut database.connect().await).await, 2 + 2 * done);
    Books::audit(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_its_answer_land_with_the_events_or_not_at_all() {
    let database = TestDatabase::start("store-keys").await;
    let store = store_on(&database).await;
    open_accounts(&store, &["caller"]).await;
    let receipt = store.execute(answering(deposit("caller", "paid-in", 10), "K1")).await.unwrap();
    let recorded = store.look_up(&key("K1"), None).await.unwrap().key.unwrap();
    assert_eq!((recorded.request_hash, recorded.trace_id), ([7; 32], claim("K1").trace_id));
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
async fn many_requests_under_one_key_at_two_processes_are_carried_out_once() {
    let database = TestDatabase::start("store-one-key").await;
    let stores = [store_on(&database).await, store_on(&database).await];
    open_accounts(&stores[0], &["eager"]).await;
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let store = stores[number % 2].clone();
        asking.spawn(async move {
            store.execute(answering(deposit("eager", &format!("eager-{number}"), 1), "one-key")).await
        });
    }
    let results = asking.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::KeyTaken), "{error}");
    }
    assert_eq!(available(&stores[1], "eager").await, 1);
    assert_eq!(dense(&mut database.connect().await).await, 4);
}

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
    alone.args(["--exact", "--ignored", "--nocapture", "event_store::touching_200000_accounts"]);
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process of its own"]
async fn touching_200000_accounts() {
    let database = TestDatabase::start("store-memory").await;
    let settings = StoreSettings { cached_accounts: 10_000, ..patient() };
    let store = database.store(settings).await;
    open_accounts(&store, &[]).await;
    let before = resident_kib();
    open_many(&store, 0, 200_000).await;
    assert!(store.cached().0 <= 10_000, "{:?}", store.cached());
    let grown = resident_kib() - before;
    assert!(grown < 60 * 1024, "grew by {grown} KiB");
}

const LONG: i64 = 5_000;

fn plain_deposit(number: i64) -> AccountCommand {
    AccountCommand::Deposit {
        posting_id: PostingId::parse(&format!("long{number}")).unwrap(),
        amount: usd(1),
        reference: String::new(),
    }
}

fn framework_on(store: &PostgresEventStore) -> CqrsFramework<Account, AggregateStore> {
    CqrsFramework::new(AggregateStore::new(store.clone()), vec![], ())
}

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

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_alone_runs_on_the_same_store() {
    let database = TestDatabase::start("store-framework").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    let id = account_of("framed");
    let (our_framework, their_framework) = (framework_on(&ours), framework_on(&theirs));
    let withdraw = |minor| AccountCommand::Withdraw {
        posting_id: PostingId::parse("out").unwrap(),
        amount: usd(minor),
        reference: String::new(),
    };
    execute(&our_framework, &ours, id.as_str(), open_user("framed")).await.unwrap();
    execute(&our_framework, &ours, id.as_str(), plain_deposit(1)).await.unwrap();
    execute(&their_framework, &theirs, id.as_str(), plain_deposit(2)).await.unwrap();
    // Our memory says 1, theirs is then wrong in its turn.
    execute(&our_framework, &ours, id.as_str(), withdraw(2)).await.unwrap();
    let refusal = execute(&their_framework, &theirs, id.as_str(), withdraw(1)).await;
    match refusal {
        Err(AggregateError::UserError(refusal)) => assert_eq!(refusal, short_of(0, 1)),
        other => panic!("{other:?}"),
    }
    execute(&their_framework, &theirs, id.as_str(), plain_deposit(3)).await.unwrap();
    execute(&our_framework, &ours, id.as_str(), plain_deposit(4)).await.unwrap();

    let view = AggregateStore::new(ours.clone());
    let events = cqrs_es::EventStore::<Account>::load_events(&view, id.as_str()).await.unwrap();
    let sequences: Vec<usize> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    assert!(matches!(events[0].payload, AccountEvent::AccountOpened(_)));
    assert!(matches!(events[3].payload, AccountEvent::FundsWithdrawn { .. }));
    assert_eq!(available(&ours, "framed").await, 2);
    dense(&mut database.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_too_answers_only_what_is_durable_and_current() {
    let database = TestDatabase::start("store-framework-pending").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    open_accounts(&ours, &["framed"]).await;
    let id = account_of("framed");
    let framework = framework_on(&ours);
    let freeze = || AccountCommand::Freeze { reason: "test".to_owned() };
    ours.execute(only_answering("taken")).await.unwrap();

    // A freeze that will fail is pending: a second one may not say that it has already happened.
    let held = hold_all_commits(&database).await;
    let failing = Unit::led_by(Step::Account(id.clone(), freeze()), context("failing"));
    let mut failing = pin!(ours.execute(answering(failing, "taken")));
    submit(failing.as_mut());
    let mut again = pin!(execute(&framework, &ours, id.as_str(), freeze()));
    let early = tokio::time::timeout(Duration::from_millis(300), again.as_mut()).await;
    assert!(early.is_err(), "answered on a state that is not durable: {early:?}");
    let_commits_go(held).await;
    assert!(matches!(failing.await, Err(StoreError::KeyTaken)));
    again.await.unwrap();
    assert_eq!(ours.account(&id).await.unwrap().state.status.name(), "frozen");

    // Another process has thawed it, so freezing it has something to do.
    let thaw = Unit::led_by(Step::Account(id.clone(), AccountCommand::Unfreeze), context("thaw"));
    assert!(theirs.execute(thaw).await.unwrap().appended);
    execute(&framework, &ours, id.as_str(), freeze()).await.unwrap();
    assert_eq!(ours.account(&id).await.unwrap().state.status.name(), "frozen");
    assert!(ours.account(&funding()).await.unwrap().position.is_some());
    dense(&mut database.connect().await).await;
}
