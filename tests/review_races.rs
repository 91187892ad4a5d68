//! Who ends a payment in review: of several at once, the payment's stream lets one through.

use std::collections::BTreeMap;
use std::sync::Arc;

use adapter_postgres::store::PostgresEventStore;
use commands::ports::{EventStore, StoreError};
use commands::saga::{Resolution, Resolved, ReviewDesk, ReviewError};
use commands::system_accounts::SystemAccounts;
use commands::unit::{Receipt, Refusal, Step, Unit};
use domain::payment::{
    CaptureMode, PaymentDetails, PaymentStatus, Requester, ReviewOutcome, RiskAssessment, RiskLevel, Route,
};
use domain::{AccountCommand, Currency, PaymentCommand, PaymentId, PostingId, TransactionId, UserId};

use crate::support::store::{hold_all_commits, let_commits_go, store_on};
use crate::support::units::{account_of, context, deposit, open_accounts, usd};
use crate::support::{Books, TestDatabase, eventually};

const CHANNEL: &str = "card";

fn id(name: &str) -> PaymentId {
    PaymentId::parse(name).unwrap()
}

fn step(name: &str, command: PaymentCommand) -> Step {
    Step::Payment(id(name), command)
}

fn transaction() -> TransactionId {
    TransactionId::parse("txn_1").unwrap()
}

fn paid() -> ReviewOutcome {
    ReviewOutcome::Paid { transaction_id: transaction() }
}

/// A payment of 5.00 by alice whose outcome is not known.
async fn outcome_unknown(store: &PostgresEventStore, name: &str) {
    let amount = usd(500);
    let details = PaymentDetails {
        payment_id: id(name),
        user_id: UserId::parse("alice").unwrap(),
        payer: account_of("alice"),
        amount,
        route: Route::Channel { payment_method: "credit_card".to_owned(), capture: CaptureMode::Automatic },
        requester: Requester { caller: "test".to_owned(), idempotency_key: name.to_owned() },
        metadata: BTreeMap::new(),
    };
    let assessment = RiskAssessment::Assessed { level: RiskLevel::Low, score: 1 };
    let unit = Unit::led_by(step(name, PaymentCommand::Initiate(Arc::new(details))), context(name))
        .then(step(name, PaymentCommand::AssessRisk(assessment)))
        .then(step(name, PaymentCommand::ReserveFunds))
        .then(step(name, PaymentCommand::RecordOutcomeUnknown { reason: "silence".to_owned() }))
        .then(Step::Account(account_of("alice"), AccountCommand::Hold { payment_id: id(name), amount }));
    assert!(store.execute(unit).await.unwrap().appended);
}

async fn require_review(store: &PostgresEventStore, name: &str) {
    let command = PaymentCommand::RequireReview { reason: "silence".to_owned() };
    assert!(store.execute(Unit::led_by(step(name, command), context(name))).await.unwrap().appended);
}

/// A desk in a process of its own, with its settlement account opened.
async fn desk(database: &TestDatabase, shard: u32) -> ReviewDesk {
    let store: Arc<dyn EventStore> = Arc::new(store_on(database).await);
    let system = Arc::new(SystemAccounts::starting_at(shard));
    let purpose = format!("settlement:{CHANNEL}");
    system.account(&*store, &purpose, Currency::USD, &context("open-settlement")).await.unwrap();
    ReviewDesk::new(store, system, CHANNEL.to_owned())
}

fn said(name: &str, operator: &str, outcome: ReviewOutcome) -> Resolution {
    let trace = context(name).trace.as_ref().clone();
    let reason = "by the statement".to_owned();
    Resolution { payment_id: id(name), outcome, operator: operator.to_owned(), reason, trace }
}

/// Two operators in two processes, both decided before either can commit.
async fn at_once(
    database: &TestDatabase,
    name: &str,
    outcomes: [ReviewOutcome; 2],
) -> [Result<Resolved, ReviewError>; 2] {
    let (olga, otto) = (desk(database, 0).await, desk(database, 1).await);
    let [by_olga, by_otto] = outcomes;
    let (by_olga, by_otto) = (said(name, "olga", by_olga), said(name, "otto", by_otto));
    let held = hold_all_commits(database).await;
    let mut watching = database.connect().await;
    let both_wait = async {
        eventually("both appends wait for the head of the log", async || {
            let waiting: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
                    .fetch_one(&mut watching)
                    .await
                    .unwrap();
            waiting == 2
        })
        .await;
        let_commits_go(held).await;
    };
    let (by_olga, by_otto, ()) = tokio::join!(olga.resolve(&by_olga), otto.resolve(&by_otto), both_wait);
    [by_olga, by_otto]
}

/// A database where alice has 100.00, and a store on it.
async fn begun(name: &str) -> (TestDatabase, PostgresEventStore) {
    let database = TestDatabase::start(name).await;
    let store = store_on(&database).await;
    open_accounts(&store, &["alice"]).await;
    store.execute(deposit("alice", "fill", 10_000)).await.unwrap();
    (database, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_at_once_exactly_one_ends_the_payment() {
    let (database, store) = begun("review-at-once").await;
    for (name, outcomes) in [
        ("differ", [paid(), ReviewOutcome::NotPaid]),
        ("both-paid", [paid(), paid()]),
        ("both-not-paid", [ReviewOutcome::NotPaid, ReviewOutcome::NotPaid]),
    ] {
        outcome_unknown(&store, name).await;
        require_review(&store, name).await;
        let differ = outcomes[0] != outcomes[1];
        let results = at_once(&database, name, outcomes).await;
        let ended = results.iter().flatten().filter(|resolved| resolved.position.is_some()).count();
        assert_eq!(ended, 1, "{name}: {results:?}");
        let refused =
            results.iter().filter(|result| matches!(result, Err(ReviewError::EndedOtherwise { .. }))).count();
        assert_eq!(refused, usize::from(differ), "{name}: {results:?}");
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), refused, "{name}: {results:?}");
    }
    let books = Books::audit(&database.url()).await;
    books.all_settled();
    assert!(books.completed.contains_key("both-paid") && !books.completed.contains_key("both-not-paid"));
    let resolved: i64 = sqlx::query_scalar("select count(*) from events where event_type = 'ReviewResolved'")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert_eq!(resolved, 3, "one for each payment");
}

/// What a process does that still drives the payment when the channel's answer comes after all.
async fn late_answer(engine: &PostgresEventStore, name: &str) -> Result<Receipt, StoreError> {
    let confirm = PaymentCommand::ConfirmPaid { transaction_id: transaction() };
    let capture = AccountCommand::CaptureHold { payment_id: id(name), amount: usd(500) };
    let credit = AccountCommand::Credit {
        posting_id: PostingId::of_payment(&id(name)),
        amount: usd(500),
        payment_id: None,
    };
    let funding = crate::support::units::funding();
    let unit = Unit::led_by(step(name, confirm), context(name))
        .then(Step::Account(account_of("alice"), capture))
        .then(Step::Account(funding, credit));
    engine.execute(unit).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_still_drives_the_payment_does_not_move_its_money_again() {
    let (database, other) = begun("review-late").await;
    let operator = desk(&database, 0).await;
    for (name, outcome) in [("said-paid", paid()), ("said-not-paid", ReviewOutcome::NotPaid)] {
        // The engine has the payment in memory as one whose outcome is not known.
        let engine = store_on(&database).await;
        outcome_unknown(&engine, name).await;
        require_review(&other, name).await;
        let not_paid = outcome == ReviewOutcome::NotPaid;
        assert!(operator.resolve(&said(name, "olga", outcome)).await.unwrap().position.is_some());
        match late_answer(&engine, name).await {
            Ok(receipt) => assert!(!receipt.appended && !not_paid, "{name}: {receipt:?}"),
            Err(StoreError::Refused(Refusal::Payment(_))) => assert!(not_paid, "{name} was paid"),
            Err(other) => panic!("{name}: {other:?}"),
        }
        let expected = if not_paid { PaymentStatus::Failed } else { PaymentStatus::Completed };
        assert_eq!(engine.payment(&id(name)).await.unwrap().state.status, expected);
    }
    let alice = other.account(&account_of("alice")).await.unwrap().state;
    assert_eq!((alice.posted(), alice.held()), (Some(usd(9_500)), Some(usd(0))));
    Books::audit(&database.url()).await.all_settled();
}
