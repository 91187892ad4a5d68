//! The connections to PostgreSQL are cut, in particular between a commit and its answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter_postgres::database::Database;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use commands::ports::{EventStore, StoreError};
use commands::unit::Unit;
use tokio::task::JoinSet;

use crate::support::books::settled;
use crate::support::process::Server;
use crate::support::proxy::{Cut, Proxy};
use crate::support::units::{answering, available, deposit, key, only_answering, open_accounts, withdrawal};
use crate::support::{Acknowledged, Books, Chance, Client, Load, SandboxProcess, TestDatabase, eventually};

const USERS: u64 = 8;

/// Cuts connections for a while, mostly the one that commits.
async fn cut_again_and_again(proxy: &Proxy, chance: &mut Chance, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::sleep(chance.millis(50, 200)).await;
        let cut = match chance.between(0, 8) {
            0 => Cut::Now,
            1 | 2 => Cut::BeforeForwarding,
            3..6 => Cut::BeforeAnswer,
            _ => Cut::Abandoned,
        };
        let committing = chance.between(0, 3) > 0;
        proxy.cut(chance, committing, cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_no_payment_repeat_none_and_make_nobody_lie() {
    let mut chance = Chance::new("cut_connections");
    let database = TestDatabase::start("cut").await;
    let proxy = Proxy::start(&database.socket()).await;
    let sandbox = SandboxProcess::start(database.folder());
    let engine = Server::start(&proxy.url(&database.url()), &sandbox, &database.folder().join("engine.log"));
    let client = Client::new(engine.url());
    for user in 0..USERS {
        client.funded(&format!("cut{user}"), "1000000.00").await;
    }
    let told = Acknowledged::default();
    let load = Load::start_repeating(&[engine.url()], 32, USERS, "cut", &told);
    cut_again_and_again(&proxy, &mut chance, Duration::from_secs(10)).await;
    load.stop().await;

    assert!(proxy.unheard() > 10, "only {} answers were cut off", proxy.unheard());
    assert!(told.with_status(201).len() > 100, "{:?}", told.counts());
    told.all_answered_cleanly(Duration::from_secs(10));
    client.ready(Duration::from_secs(10)).await;
    settled(&database.url()).await;
    let books = Books::audit(&database.url()).await;
    books.all_settled();
    books.agree_with_channel(&sandbox, true).await;
    told.agree_with(&books);
    engine.stop();
}

/// What a unit of the load below is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deposit,
    Withdrawal,
    AnswerOnly,
}

fn unit(number: u64) -> (Kind, String, Unit) {
    let name = format!("unit-{number}");
    let user = format!("cut{}", number % 4);
    match number % 5 {
        0 => (Kind::AnswerOnly, name.clone(), only_answering(&name)),
        1 | 2 => (Kind::Withdrawal, name.clone(), answering(withdrawal(&user, &name, 1), &name)),
        _ => (Kind::Deposit, name.clone(), answering(deposit(&user, &name, 1), &name)),
    }
}

type Results = Arc<Mutex<Vec<(Kind, String, Result<Option<i64>, StoreError>)>>>;

async fn work(store: PostgresEventStore, numbers: Arc<AtomicU64>, stop: Arc<AtomicBool>, results: Results) {
    while !stop.load(Ordering::Relaxed) {
        let (kind, name, unit) = unit(numbers.fetch_add(1, Ordering::Relaxed));
        let result = store.execute(unit).await.map(|receipt| receipt.position);
        let failed = result.is_err();
        results.lock().unwrap().push((kind, name, result));
        if failed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Position, by the unit's name, of the last of its events; of its key; of its answer.
#[derive(Debug, Default)]
struct Recorded {
    events: HashMap<String, Vec<i64>>,
    answers: HashMap<String, Option<i64>>,
}

impl Recorded {
    async fn read(database: &TestDatabase) -> Self {
        let mut connection = database.connect().await;
        let mut recorded = Self::default();
        let events: Vec<(String, i64)> =
            sqlx::query_as("select correlation_id, position from events order by position")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        for (name, position) in events {
            recorded.events.entry(name).or_default().push(position);
        }
        let answers: Vec<(String, Option<i64>)> = sqlx::query_as(
            "select key, position from idempotency_keys full join idempotency_answers using (caller, key)",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        recorded.answers.extend(answers);
        recorded
    }

    /// Whether a unit is there, and fails the test when half of it is.
    fn whole(&self, kind: Kind, name: &str) -> bool {
        let positions = self.events.get(name).map_or(&[][..], Vec::as_slice);
        let answer = self.answers.get(name);
        match (kind, positions, answer) {
            (_, [], None) => false,
            (Kind::AnswerOnly, [], Some(None)) => true,
            (Kind::Deposit | Kind::Withdrawal, [first, last], Some(Some(answered))) => {
                assert_eq!((*last, *answered), (first + 1, *last), "{name} stands together");
                true
            }
            _ => panic!("half of {name} is there: {positions:?}, answer {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_there_once_when_its_result_says_so_and_not_at_all_when_it_says_so() {
    let mut chance = Chance::new("cut_units");
    let database = TestDatabase::start("cut-units").await;
    let proxy = Proxy::start(&database.socket()).await;
    let settings = StoreSettings { batch_timeout: Duration::from_secs(2), ..StoreSettings::default() };
    let store =
        PostgresEventStore::start(&Database::open(&proxy.url(&database.url()), 8).await.unwrap(), settings);
    open_accounts(&store, &["cut0", "cut1", "cut2", "cut3"]).await;
    for user in 0..4 {
        let name = format!("fill-{user}");
        store.execute(deposit(&format!("cut{user}"), &name, 100_000_000)).await.unwrap();
    }
    let (results, stop, numbers) = (Results::default(), Arc::default(), Arc::default());
    let mut working = JoinSet::new();
    for _ in 0..64 {
        working.spawn(work(store.clone(), Arc::clone(&numbers), Arc::clone(&stop), Arc::clone(&results)));
    }
    cut_again_and_again(&proxy, &mut chance, Duration::from_secs(8)).await;
    stop.store(true, Ordering::Relaxed);
    working.join_all().await;
    // First in, first out: when this one is resolved, so is everything before it.
    eventually("the store works again", async || store.execute(deposit("cut0", "last", 1)).await.is_ok())
        .await;

    let recorded = Recorded::read(&database).await;
    let mut done = 0;
    for (kind, name, result) in results.lock().unwrap().iter() {
        let there = recorded.whole(*kind, name);
        match result {
            Ok(position) => {
                assert!(there, "{name} was acknowledged and is lost");
                assert_eq!(*position, recorded.answers[name], "{name}");
                done += 1;
            }
            Err(StoreError::OutcomeUnknown) => {}
            Err(StoreError::Unavailable | StoreError::Contended) => {
                assert!(!there, "{name} is there, although {result:?}");
            }
            Err(StoreError::Refused(_) | StoreError::KeyTaken | StoreError::Damaged(_)) => {
                panic!("{name} was told what is not true: {result:?}");
            }
        }
    }
    assert!(done > 500, "only {done} units succeeded");
    assert!(proxy.unheard() > 10, "only {} answers were cut off", proxy.unheard());
    Books::audit(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_cut_off_is_found_in_the_log_whether_or_not_it_has_events() {
    let mut chance = Chance::new("cut_answers");
    let database = TestDatabase::start("cut-answers").await;
    let proxy = Proxy::start(&database.socket()).await;
    let url = proxy.url(&database.url());
    let settings = StoreSettings { timeout: Duration::from_secs(20), ..StoreSettings::default() };
    let store = PostgresEventStore::start(&Database::open(&url, 4).await.unwrap(), settings);
    open_accounts(&store, &["lone"]).await;
    for number in 0..20 {
        // The statement is prepared on this connection, so that the next request is a commit.
        store.execute(only_answering(&format!("before-{number}"))).await.unwrap();
        let cut = if number % 2 == 0 { Cut::BeforeAnswer } else { Cut::Abandoned };
        proxy.cut(&mut chance, true, cut);
        let name = format!("cut-{number}");
        let unit = match number % 4 {
            0 | 1 => only_answering(&name),
            _ => answering(deposit("lone", &name, 1), &name),
        };
        let receipt =
            store.execute(unit).await.unwrap_or_else(|error| panic!("{name} after {cut:?}: {error}"));
        assert!(receipt.appended);
        let recorded = store.look_up(&key(&name), None).await.unwrap().key.unwrap();
        assert_eq!(recorded.answer, receipt.answer, "{name}");
    }
    assert_eq!(proxy.unheard(), 20);
    assert_eq!(available(&store, "lone").await, 10);
    Books::audit(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up() {
    let database = TestDatabase::start("silent").await;
    let proxy = Proxy::start(&database.socket()).await;
    let settings = StoreSettings { batch_timeout: Duration::from_secs(1), ..StoreSettings::default() };
    let store =
        PostgresEventStore::start(&Database::open(&proxy.url(&database.url()), 4).await.unwrap(), settings);
    open_accounts(&store, &["silent"]).await;
    let mut number = 0;
    for _ in 0..3 {
        proxy.cut_all(Cut::Silent);
        eventually("appends get through", async || {
            number += 1;
            store.execute(deposit("silent", &format!("silent-{number}"), 1)).await.is_ok()
        })
        .await;
        eventually("reads get through", async || {
            store.look_up(&key("nobody"), None).await.is_ok()
                && store.account(&crate::support::units::account_of("silent")).await.is_ok()
        })
        .await;
    }
    assert!(available(&store, "silent").await >= 3);
    Books::audit(&database.url()).await;
}
