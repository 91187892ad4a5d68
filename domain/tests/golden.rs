//! Golden events: what was ever written to the log can be read, and is still written the same.
//!
//! `golden/<Event>.v<version>.json` holds examples of one event, each as its payload stands in the
//! log; together they show every shape that the event may take. The examples in code below must read
//! from the file and write to the file, exactly.
//!
//! A new event: add its examples here, run with `UPDATE_GOLDEN=1`, commit the file. A changed event:
//! never touch its file; raise the version and read the old one through an upcaster. Files that exist
//! are never overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use cqrs_es::DomainEvent;
use domain::account::{Opening, Owner};
use domain::payment::{
    CaptureMode, FailureReason, PaymentDetails, Requester, ReviewOutcome, RiskAssessment, RiskLevel, Route,
};
use domain::{
    AccountEvent, AccountId, Currency, Money, PaymentEvent, PaymentId, PostingId, RefundId, TransactionId,
    UserId,
};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Visitor, value::Error as NotRead};
use serde_json::Value;

#[test]
fn account_events_are_read_and_written_as_they_ever_were() {
    check(&account_events(), &variants::<AccountEvent>());
}

#[test]
fn payment_events_are_read_and_written_as_they_ever_were() {
    check(&payment_events(), &variants::<PaymentEvent>());
}

#[test]
fn every_golden_file_is_of_an_event_and_version_that_this_code_writes() {
    let written: BTreeSet<PathBuf> =
        (account_events().iter().map(file_of)).chain(payment_events().iter().map(file_of)).collect();
    for entry in fs::read_dir(folder()).expect("the folder of golden events") {
        let path = entry.expect("an entry of the folder").path();
        // The examples of an older version belong into a test of its upcaster.
        assert!(written.contains(&path), "no test reads {}", path.display());
    }
}

fn check<E: DomainEvent + DeserializeOwned + Debug>(examples: &[E], variants: &[&str]) {
    let mut by_event: BTreeMap<String, Vec<&E>> = BTreeMap::new();
    for example in examples {
        by_event.entry(example.event_type()).or_default().push(example);
    }
    for variant in variants {
        let examples = by_event.remove(*variant).unwrap_or_else(|| panic!("{variant} has no example"));
        check_file(&file_of(examples[0]), &examples);
    }
    assert!(by_event.is_empty(), "not among the variants: {:?}", by_event.keys());
}

fn check_file<E: DomainEvent + DeserializeOwned + Debug>(path: &PathBuf, examples: &[&E]) {
    let shown = path.display();
    if !path.exists() && std::env::var("UPDATE_GOLDEN").as_deref() == Ok("1") {
        let text = serde_json::to_string_pretty(examples).expect("events are JSON");
        fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{shown}: {error}; UPDATE_GOLDEN=1 writes missing files"));
    let pinned: Vec<E> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{shown} was written once and cannot be read any more: {error}"));
    assert_eq!(pinned.iter().collect::<Vec<_>>(), examples, "{shown} means something else now");
    let pinned: Value = serde_json::from_str(&text).expect("it was read above");
    let written = serde_json::to_value(examples).expect("events are JSON");
    assert_eq!(written, pinned, "{shown} would be written differently now; raise the version");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_of(event: &impl DomainEvent) -> PathBuf {
    folder().join(format!("{}.v{}.json", event.event_type(), event.event_version()))
}

/// The names of an enum's variants as serde knows them. Asked of the type itself, so that a new
/// event without a golden file cannot be forgotten in a list.
fn variants<'de, E: Deserialize<'de>>() -> Vec<&'static str> {
    struct Names<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = NotRead;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotRead> {
            Err(serde::de::Error::custom("only the names were asked for"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, NotRead> {
            self.0.extend(variants);
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }

    let mut names = Vec::new();
    assert!(E::deserialize(Names(&mut names)).is_err());
    assert!(!names.is_empty(), "an event is an externally tagged enum");
    names
}

fn account_events() -> Vec<AccountEvent> {
    use AccountEvent as E;
    let posting_id = || PostingId::parse("DEP_1").expect("an id");
    let payment_id = || PaymentId::parse("PAY_42").expect("an id");
    let user_id = UserId::parse("USER_7").expect("an id");
    vec![
        E::AccountOpened(Opening {
            account_id: AccountId::of_user(&user_id, Currency::USD),
            owner: Owner::User { user_id },
            currency: Currency::USD,
        }),
        E::AccountOpened(Opening {
            account_id: AccountId::of_system("settlement:card", Currency::JPY, 3).expect("an id"),
            owner: Owner::System { purpose: "settlement:card".to_owned() },
            currency: Currency::JPY,
        }),
        E::FundsDeposited { posting_id: posting_id(), amount: usd(10_000), reference: "salary".to_owned() },
        E::FundsWithdrawn { posting_id: posting_id(), amount: usd(2_500), reference: "rent".to_owned() },
        E::FundsHeld { payment_id: payment_id(), amount: usd(753) },
        E::HoldCaptured { payment_id: payment_id(), amount: usd(753), released: usd(0) },
        E::HoldCaptured { payment_id: payment_id(), amount: usd(500), released: usd(253) },
        E::HoldReleased { payment_id: payment_id(), amount: usd(753) },
        E::FundsCredited { posting_id: posting_id(), amount: Money::new(i64::MAX, Currency::JPY) },
        E::FundsDebited { posting_id: posting_id(), amount: Money::new(1_250, Currency::KWD) },
        E::AccountFrozen { reason: "reported stolen".to_owned() },
        E::AccountUnfrozen,
        E::AccountClosed,
    ]
}

fn payment_events() -> Vec<PaymentEvent> {
    use PaymentEvent as E;
    let transaction_id = || TransactionId::parse("TXN_1").expect("an id");
    let refund_id = || RefundId::parse("REF_1").expect("an id");
    let mut events = initiated_events();
    events.extend(assessments().map(|assessment| E::RiskAssessed { assessment }));
    events.extend(failure_reasons().map(|reason| E::PaymentFailed { reason }));
    events.extend([
        E::PaymentRejected { score: 99 },
        E::FundsReserved { amount: usd(753) },
        E::ChannelOutcomeUnknown { reason: "timeout".to_owned() },
        E::PaymentAuthorized { transaction_id: transaction_id() },
        E::PaymentCompleted { transaction_id: Some(transaction_id()), captured: usd(753) },
        E::PaymentCompleted { transaction_id: None, captured: usd(753) },
        E::PaymentVoided { reason: "expired".to_owned() },
        E::RefundStarted { refund_id: refund_id(), amount: usd(253) },
        E::RefundCompleted { refund_id: refund_id(), amount: usd(253), transaction_id: transaction_id() },
        E::RefundFailed { refund_id: refund_id(), amount: usd(253), reason: "account gone".to_owned() },
        E::ReviewRequired { reason: "no answer for an hour".to_owned() },
    ]);
    let outcomes = [ReviewOutcome::Paid { transaction_id: transaction_id() }, ReviewOutcome::NotPaid];
    events.extend(outcomes.map(|outcome| E::ReviewResolved {
        outcome,
        operator: "olga".to_owned(),
        reason: "channel's report".to_owned(),
    }));
    events
}

fn initiated_events() -> Vec<PaymentEvent> {
    let user_id = UserId::parse("USER_7").expect("an id");
    let payee = UserId::parse("USER_8").expect("an id");
    let details = |route, metadata| {
        PaymentEvent::PaymentInitiated(Arc::new(PaymentDetails {
            payment_id: PaymentId::parse("PAY_42").expect("an id"),
            user_id: user_id.clone(),
            payer: AccountId::of_user(&user_id, Currency::USD),
            amount: usd(753),
            route,
            requester: Requester { caller: "shop".to_owned(), idempotency_key: "KEY_42".to_owned() },
            metadata,
        }))
    };
    let card = |capture| Route::Channel { payment_method: "credit_card".to_owned(), capture };
    let order = BTreeMap::from([("order".to_owned(), "Nº 17".to_owned())]);
    let transfer = Route::Transfer { payee: AccountId::of_user(&payee, Currency::USD) };
    vec![
        details(card(CaptureMode::Automatic), BTreeMap::new()),
        details(card(CaptureMode::Manual), order),
        details(transfer, BTreeMap::new()),
    ]
}

fn assessments() -> impl Iterator<Item = RiskAssessment> {
    [(RiskLevel::Low, 0), (RiskLevel::Medium, 50), (RiskLevel::High, 100)]
        .into_iter()
        .map(|(level, score)| RiskAssessment::Assessed { level, score })
        .chain([RiskAssessment::Degraded { reason: "breaker open".to_owned() }])
}

/// Walks through every reason; a new one does not compile until it has its place.
fn failure_reasons() -> impl Iterator<Item = FailureReason> {
    use FailureReason as F;
    std::iter::successors(Some(F::InsufficientFunds { available: usd(300) }), |reason| match reason {
        F::InsufficientFunds { .. } => Some(F::AccountNotFound),
        F::AccountNotFound => Some(F::AccountFrozen),
        F::AccountFrozen => Some(F::AccountClosed),
        F::AccountClosed => Some(F::ChannelDeclined { reason: "do_not_honor".to_owned() }),
        F::ChannelDeclined { .. } => Some(F::ReviewedNotPaid),
        F::ReviewedNotPaid => None,
    })
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}
