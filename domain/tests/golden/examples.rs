//! The events in every shape that they may take, and what their older versions are read as.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::{Opening, Owner};
use domain::payment::{
    CaptureMode, FailureReason, PaymentDetails, Requester, ReviewOutcome, RiskAssessment, RiskLevel, Route,
};
use domain::{
    AccountEvent, AccountId, Currency, Money, PaymentEvent, PaymentId, PostingId, RefundId, TransactionId,
    UserId,
};

use crate::checker::Older;

/// What the older versions of account events are read as today; none has changed so far.
pub(crate) fn older_account_events() -> Vec<Older<AccountEvent>> {
    vec![]
}

/// What the older versions of payment events are read as today; none has changed so far.
pub(crate) fn older_payment_events() -> Vec<Older<PaymentEvent>> {
    vec![]
}

/// Every shape of every account event.
pub(crate) fn account_events() -> Vec<AccountEvent> {
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
        E::FundsWithdrawn {
            posting_id: posting_id(),
            amount: usd(2_500),
            reference: "rent".to_owned(),
            payment_id: None,
        },
        E::FundsWithdrawn {
            posting_id: posting_id(),
            amount: usd(753),
            reference: "rent".to_owned(),
            payment_id: Some(payment_id()),
        },
        E::FundsHeld { payment_id: payment_id(), amount: usd(753) },
        E::HoldCaptured { payment_id: payment_id(), amount: usd(753), released: usd(0) },
        E::HoldCaptured { payment_id: payment_id(), amount: usd(500), released: usd(253) },
        E::HoldReleased { payment_id: payment_id(), amount: usd(753) },
        E::FundsCredited {
            posting_id: posting_id(),
            amount: Money::new(i64::MAX, Currency::JPY),
            payment_id: None,
        },
        E::FundsCredited { posting_id: posting_id(), amount: usd(253), payment_id: Some(payment_id()) },
        E::FundsDebited {
            posting_id: posting_id(),
            amount: Money::new(1_250, Currency::KWD),
            payment_id: None,
        },
        E::FundsDebited { posting_id: posting_id(), amount: usd(253), payment_id: Some(payment_id()) },
        E::AccountFrozen { reason: "reported stolen".to_owned() },
        E::AccountUnfrozen,
        E::AccountClosed,
    ]
}

/// Every shape of every payment event.
pub(crate) fn payment_events() -> Vec<PaymentEvent> {
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
        E::CaptureStarted { amount: usd(500), requester: requester() },
        E::VoidStarted { reason: "requested".to_owned(), requester: Some(requester()) },
        E::VoidStarted { reason: "expired".to_owned(), requester: None },
        E::RefundStarted { refund_id: refund_id(), amount: usd(253), requester: None },
        E::RefundStarted { refund_id: refund_id(), amount: usd(253), requester: Some(requester()) },
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

fn requester() -> Requester {
    Requester { caller: "shop".to_owned(), idempotency_key: "KEY_42".to_owned() }
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
            requester: requester(),
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
        details(Route::Payout { reference: "rent".to_owned() }, BTreeMap::new()),
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
        F::ReviewedNotPaid => Some(F::PayeeNotFound),
        F::PayeeNotFound => Some(F::PayeeClosed),
        F::PayeeClosed => Some(F::PayeeCannotReceive),
        F::PayeeCannotReceive => None,
    })
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}
