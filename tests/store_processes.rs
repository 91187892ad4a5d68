//! Several processes on one database, as the event store sees them: the log decides every race.

use commands::ports::{EventStore, StoreError};
use commands::unit::{Step, Unit};
use domain::AccountCommand;
use tokio::task::JoinSet;

use crate::support::store::{is_recorded, refused, short_of, store_on};
use crate::support::units::{
    account_of, answering, available, context, dense, deposit, funding, open_accounts, withdrawal,
};
use crate::support::{Books, TestDatabase};

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
    // Their deposit has moved the funding account, too.
    let contested = [account_of("contested"), funding()].map(|id| id.as_str().to_owned());
    assert!(receipt.contended.iter().all(|id| contested.contains(id)), "{receipt:?}");
    assert!(!receipt.contended.is_empty());
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

#[tokio::test(flavor = "multi_thread")]
async fn only_the_account_that_was_outrun_is_named() {
    let database = TestDatabase::start("store-named").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    open_accounts(&ours, &["contested"]).await;
    ours.execute(deposit("contested", "ours", 1)).await.unwrap();
    let freeze = AccountCommand::Freeze { reason: "test".to_owned() };
    let freeze = Unit::led_by(Step::Account(account_of("contested"), freeze), context("freeze"));
    theirs.execute(freeze).await.unwrap();
    // Both accounts take part in this, and only one of them is not what we remember.
    let receipt = ours.execute(deposit("contested", "ours-again", 1)).await.unwrap();
    assert_eq!(receipt.contended, [account_of("contested").as_str()]);
}
