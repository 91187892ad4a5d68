//! `CqrsFramework` on the event store, without units of work.

use std::pin::pin;
use std::time::Duration;

use adapter_postgres::store::framework::{AggregateStore, execute};
use commands::ports::{EventStore, StoreError};
use commands::unit::{Step, Unit};
use cqrs_es::AggregateError;
use domain::{Account, AccountCommand, AccountEvent, PostingId};

use crate::support::TestDatabase;
use crate::support::store::{
    framework_on, hold_all_commits, let_commits_go, plain_deposit, short_of, store_on, submit,
};
use crate::support::units::{
    account_of, answering, available, context, dense, funding, only_answering, open_accounts, open_user, usd,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_alone_runs_on_the_same_store() {
    let database = TestDatabase::start("store-framework").await;
    let (ours, theirs) = (store_on(&database).await, store_on(&database).await);
    let id = account_of("framed");
    let (our_framework, their_framework) = (framework_on(&ours), framework_on(&theirs));
    let debit = |minor| AccountCommand::Debit {
        posting_id: PostingId::parse("out").unwrap(),
        amount: usd(minor),
        payment_id: None,
    };
    execute(&our_framework, &ours, id.as_str(), open_user("framed")).await.unwrap();
    execute(&our_framework, &ours, id.as_str(), plain_deposit(1)).await.unwrap();
    execute(&their_framework, &theirs, id.as_str(), plain_deposit(2)).await.unwrap();
    // Our memory says 1, theirs is then wrong in its turn.
    execute(&our_framework, &ours, id.as_str(), debit(2)).await.unwrap();
    let refusal = execute(&their_framework, &theirs, id.as_str(), debit(1)).await;
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
    assert!(matches!(events[3].payload, AccountEvent::FundsDebited { .. }));
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
