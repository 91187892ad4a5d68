//! Events of alice's account and of a payment by her, as the tests of the folds write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::account::{FUNDING, Opening, Owner};
use domain::payment::{CaptureMode, PaymentDetails, Requester, Route};
use domain::{AccountEvent, AccountId, Currency, Money, PaymentEvent, PaymentId, PostingId, UserId};
use uuid::Uuid;

use crate::read_model::{Fact, Kind, LogEvent};

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

pub(crate) fn jpy(minor: i64) -> Money {
    Money::new(minor, Currency::JPY)
}

pub(crate) fn alice() -> UserId {
    UserId::parse("alice").unwrap()
}

pub(crate) fn alices() -> AccountId {
    AccountId::of_user(&alice(), Currency::USD)
}

pub(crate) fn funding() -> AccountId {
    AccountId::of_system(FUNDING, Currency::USD, 0).unwrap()
}

pub(crate) fn posting(id: &str) -> PostingId {
    PostingId::parse(id).unwrap()
}

pub(crate) fn payment(id: &str) -> PaymentId {
    PaymentId::parse(id).unwrap()
}

/// When the event at a position was recorded.
pub(crate) fn time(position: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(position)
}

/// The id of the event at a position.
pub(crate) fn event_id(position: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(position).unwrap())
}

/// An event in the log.
pub(crate) fn recorded(position: i64, sequence: i64, fact: Fact) -> LogEvent {
    LogEvent { position, sequence, event_id: event_id(position), recorded_at: time(position), fact }
}

/// An event of alice's account, in a log that has nothing else.
pub(crate) fn to_alice(position: i64, event: AccountEvent) -> LogEvent {
    recorded(position, position, Fact::Account(alices(), event))
}

/// An event of payment `p`, in a log that has nothing else.
pub(crate) fn to_payment(position: i64, event: PaymentEvent) -> LogEvent {
    recorded(position, position, Fact::Payment(payment("p"), event))
}

/// An event that this program cannot read.
pub(crate) fn unreadable(position: i64, kind: Kind) -> LogEvent {
    recorded(position, 9, Fact::Unreadable { kind, reason: "no such event".to_owned() })
}

pub(crate) fn opened() -> AccountEvent {
    AccountEvent::AccountOpened(Opening {
        account_id: alices(),
        owner: Owner::User { user_id: alice() },
        currency: Currency::USD,
    })
}

pub(crate) fn funding_opened() -> AccountEvent {
    AccountEvent::AccountOpened(Opening {
        account_id: funding(),
        owner: Owner::System { purpose: FUNDING.to_owned() },
        currency: Currency::USD,
    })
}

pub(crate) fn deposited(amount: Money) -> AccountEvent {
    AccountEvent::FundsDeposited { posting_id: posting("d"), amount, reference: "salary".to_owned() }
}

pub(crate) fn withdrawn(amount: Money) -> AccountEvent {
    AccountEvent::FundsWithdrawn {
        posting_id: posting("w"),
        amount,
        reference: String::new(),
        payment_id: None,
    }
}

/// A hold is spent.
pub(crate) fn paid_out(amount: Money) -> AccountEvent {
    let (posting_id, payment_id) = (posting("p"), Some(payment("p")));
    AccountEvent::FundsWithdrawn { posting_id, amount, reference: "rent".to_owned(), payment_id }
}

pub(crate) fn credited(amount: Money) -> AccountEvent {
    AccountEvent::FundsCredited { posting_id: posting("c"), amount, payment_id: None }
}

pub(crate) fn debited(amount: Money) -> AccountEvent {
    AccountEvent::FundsDebited { posting_id: posting("b"), amount, payment_id: None }
}

pub(crate) fn held(amount: Money) -> AccountEvent {
    AccountEvent::FundsHeld { payment_id: payment("p"), amount }
}

pub(crate) fn captured(amount: Money, released: Money) -> AccountEvent {
    AccountEvent::HoldCaptured { payment_id: payment("p"), amount, released }
}

pub(crate) fn released(amount: Money) -> AccountEvent {
    AccountEvent::HoldReleased { payment_id: payment("p"), amount }
}

pub(crate) fn frozen() -> AccountEvent {
    AccountEvent::AccountFrozen { reason: "lost card".to_owned() }
}

/// What payment `p` is: alice pays 10.00 by card, and the client captures.
pub(crate) fn details() -> PaymentDetails {
    PaymentDetails {
        payment_id: payment("p"),
        user_id: alice(),
        payer: alices(),
        amount: usd(1_000),
        route: Route::Channel { payment_method: "card".to_owned(), capture: CaptureMode::Manual },
        requester: Requester { caller: "shop".to_owned(), idempotency_key: "k".to_owned() },
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
    }
}

pub(crate) fn initiated() -> PaymentEvent {
    PaymentEvent::PaymentInitiated(Arc::new(details()))
}
