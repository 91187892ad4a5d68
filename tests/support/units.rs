//! Units of work as tests of the store ask for them: postings between users and the funding account.

use std::sync::Arc;

use commands::context::{CommandContext, TraceContext};
use commands::idempotency::{Answer, Claim, IdempotencyKey};
use commands::ports::EventStore;
use commands::unit::{Step, Unit};
use domain::account::{Opening, Owner};
use domain::{AccountCommand, AccountId, Currency, Money, PostingId, UserId};
use sqlx::PgConnection;

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

/// Origin of a unit; the story names it in the log.
pub(crate) fn context(story: &str) -> CommandContext {
    CommandContext {
        correlation_id: Arc::from(story),
        causation_id: Arc::from("test"),
        actor: Arc::from("test"),
        trace: Arc::new(TraceContext {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            tracestate: None,
            baggage: None,
        }),
    }
}

/// A user's account in USD.
pub(crate) fn account_of(user: &str) -> AccountId {
    AccountId::of_user(&UserId::parse(user).unwrap(), Currency::USD)
}

/// The account on the other side of every posting.
pub(crate) fn funding() -> AccountId {
    AccountId::of_system("funding", Currency::USD, 0).unwrap()
}

fn opening(account_id: AccountId, owner: Owner) -> AccountCommand {
    AccountCommand::Open(Opening { account_id, owner, currency: Currency::USD })
}

pub(crate) fn open_user(user: &str) -> AccountCommand {
    opening(account_of(user), Owner::User { user_id: UserId::parse(user).unwrap() })
}

/// Opens a user's account.
pub(crate) fn opened(user: &str) -> Unit {
    let step = Step::Account(account_of(user), open_user(user));
    Unit::led_by(step, context(&format!("open-{user}"))).expecting_new()
}

/// Money comes in: the user's leg leads.
pub(crate) fn deposit(user: &str, posting: &str, minor: i64) -> Unit {
    let (posting_id, amount) = (PostingId::parse(posting).unwrap(), usd(minor));
    let debit = AccountCommand::Debit { posting_id: posting_id.clone(), amount, payment_id: None };
    let deposit = AccountCommand::Deposit { posting_id, amount, reference: "test".to_owned() };
    Unit::led_by(Step::Account(account_of(user), deposit), context(posting))
        .then(Step::Account(funding(), debit))
}

/// Money leaves: the user's leg leads.
pub(crate) fn withdrawal(user: &str, posting: &str, minor: i64) -> Unit {
    let (posting_id, amount) = (PostingId::parse(posting).unwrap(), usd(minor));
    let credit = AccountCommand::Credit { posting_id: posting_id.clone(), amount, payment_id: None };
    let debit = AccountCommand::Debit { posting_id, amount, payment_id: None };
    Unit::led_by(Step::Account(account_of(user), debit), context(posting))
        .then(Step::Account(funding(), credit))
}

pub(crate) fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey { caller: Arc::from("test"), key: Arc::from(name) }
}

/// A claim of a key; its trace is as good as unique, as a request's is.
pub(crate) fn claim(name: &str) -> Claim {
    Claim { key: key(name), request_hash: [7; 32], traceparent: format!("00-{name}-1-01") }
}

pub(crate) fn answer(body: &str) -> Answer {
    Answer { status: 201, body: body.to_owned(), position: None }
}

/// The unit, with its request's key claimed and answered in the same append.
pub(crate) fn answering(unit: Unit, name: &str) -> Unit {
    let body = format!(r#"{{"key":"{name}"}}"#);
    unit.claiming(claim(name)).answering(key(name), move |_| answer(&body))
}

/// A request that changes nothing, and its answer.
pub(crate) fn only_answering(name: &str) -> Unit {
    let nothing = Unit {
        steps: vec![],
        observed: vec![],
        claim: None,
        answer: None,
        expect_new: false,
        context: context(name),
    };
    answering(nothing, name)
}

/// Opens the funding account and some users' accounts.
pub(crate) async fn open_accounts(store: &dyn EventStore, users: &[&str]) {
    let owner = Owner::System { purpose: "funding".to_owned() };
    let step = Step::Account(funding(), opening(funding(), owner));
    store.execute(Unit::led_by(step, context("open-funding"))).await.unwrap();
    for user in users {
        store.execute(opened(user)).await.unwrap();
    }
}

/// A user's balance as the store sees it.
pub(crate) async fn available(store: &dyn EventStore, user: &str) -> i64 {
    store.account(&account_of(user)).await.unwrap().state.available().unwrap().minor
}

/// Fails the test unless positions and the sequences of every stream have no gap. Returns the
/// number of events.
pub(crate) async fn dense(connection: &mut PgConnection) -> i64 {
    let (events, last, head): (i64, i64, i64) = sqlx::query_as(
        "select count(*), coalesce(max(position), 0), (select position from event_log_head) from events",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    assert_eq!((events, events), (last, head), "positions have no gap and end at the head");
    let broken: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from events group by aggregate_type, aggregate_id
         having count(*) <> max(sequence) or min(sequence) <> 1",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    assert_eq!(broken, Vec::<String>::new(), "streams have no gap");
    events
}
