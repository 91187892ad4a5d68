//! The event store as its tests use it: patient, and with commits that can be held up.

use std::future::Future;
use std::time::Duration;

use adapter_postgres::store::framework::AggregateStore;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use commands::ports::StoreError;
use commands::unit::{Receipt, Refusal};
use cqrs_es::CqrsFramework;
use domain::{Account, AccountCommand, AccountError, PostingId};
use sqlx::{Connection, PgConnection};

use super::TestDatabase;
use super::units::usd;

/// A store as in production, but for its patience: a slow machine is no reason for another answer.
pub(crate) fn patient() -> StoreSettings {
    StoreSettings { timeout: Duration::from_secs(20), ..StoreSettings::default() }
}

pub(crate) async fn store_on(database: &TestDatabase) -> PostgresEventStore {
    database.store(patient()).await
}

/// Runs a unit as far as its submission: with its accounts in memory, nothing before that waits.
pub(crate) fn submit<F: Future>(unit: std::pin::Pin<&mut F>) {
    let polled = unit.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending(), "nothing is answered before it is durable");
}

/// A transaction that lets nobody commit an append while it is open.
pub(crate) async fn hold_all_commits(database: &TestDatabase) -> PgConnection {
    hold_commits_of(database.connect().await).await
}

/// The same on a connection to any database with a log.
pub(crate) async fn hold_commits_of(mut connection: PgConnection) -> PgConnection {
    sqlx::query("begin").execute(&mut connection).await.unwrap();
    sqlx::query("select position from event_log_head for update").execute(&mut connection).await.unwrap();
    connection
}

pub(crate) async fn let_commits_go(connection: PgConnection) {
    connection.close().await.unwrap();
}

pub(crate) fn refused(result: Result<Receipt, StoreError>) -> AccountError {
    match result {
        Err(StoreError::Refused(Refusal::Account(refusal))) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

pub(crate) fn short_of(available: i64, requested: i64) -> AccountError {
    AccountError::InsufficientFunds { available: usd(available), requested: usd(requested) }
}

pub(crate) async fn is_recorded(database: &TestDatabase, story: &str) -> bool {
    sqlx::query_scalar("select exists (select from events where correlation_id = $1)")
        .bind(story)
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap()
}

pub(crate) fn plain_deposit(number: i64) -> AccountCommand {
    AccountCommand::Deposit {
        posting_id: PostingId::parse(&format!("long{number}")).unwrap(),
        amount: usd(1),
        reference: String::new(),
    }
}

pub(crate) fn framework_on(store: &PostgresEventStore) -> CqrsFramework<Account, AggregateStore> {
    CqrsFramework::new(AggregateStore::new(store.clone()), vec![], ())
}
