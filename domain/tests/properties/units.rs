//! Units of work as the engine puts them together, and random histories of them.
//!
//! Nothing here makes sure that a unit is possible: a capture of what was never authorized, a refund
//! that is too large, a deposit that overflows are all drawn, and must all be refused whole.

use std::collections::BTreeMap;

use domain::account::AccountCommand as A;
use domain::payment::{
    CaptureMode, Ending, FailureReason, PaymentCommand as P, PaymentDetails, RefundStatus, Requester,
    ReviewOutcome, RiskAssessment, RiskLevel, Route,
};
use domain::{AccountId, Currency, Money, PaymentId, PostingId, RefundId, TransactionId, UserId};
use proptest::prelude::*;

use crate::world::{Step, World};

pub(crate) const CURRENCIES: [Currency; 2] = [Currency::USD, Currency::JPY];
pub(crate) const FUNDING: &str = "funding";
pub(crate) const SETTLEMENT: &str = "settlement";
pub(crate) const USERS: u8 = 3;
const PAYMENTS: u8 = 5;
const REFUNDS: u8 = 2;

/// What a client, the channel or an operator makes the engine do. Some of it depends on where the
/// payment is, so the commands are known only when the unit is carried out.
#[derive(Debug, Clone)]
pub(crate) enum Unit {
    Deposit { user: u8, amount: Money, reference: String },
    Freeze { user: u8, currency: Currency, reason: String },
    Unfreeze { user: u8, currency: Currency },
    Close { user: u8, currency: Currency },
    Begin { payment: u8, user: u8, amount: Money, route: Route, risk: RiskAssessment },
    Transfer { payment: u8, from: u8, to: u8, amount: Money },
    Paid { payment: u8, transaction: u8 },
    Declined { payment: u8, reason: String },
    OutcomeUnknown { payment: u8 },
    ReviewRequired { payment: u8 },
    Reviewed { payment: u8, paid: bool },
    Capture { payment: u8, minor: i64 },
    Captured { payment: u8 },
    Void { payment: u8, expired: bool },
    Voided { payment: u8 },
    StartRefund { payment: u8, refund: u8, minor: i64 },
    CompleteRefund { payment: u8, refund: u8 },
    FailRefund { payment: u8, refund: u8 },
}

impl Unit {
    /// The commands of this unit, each leg of a posting among them.
    pub(crate) fn steps(&self, world: &World) -> Vec<Step> {
        match self.clone() {
            Self::Deposit { user, amount, reference } => deposit(user, amount, reference),
            Self::Freeze { user, currency, reason } => {
                vec![on_account(user, currency, A::Freeze { reason })]
            }
            Self::Unfreeze { user, currency } => vec![on_account(user, currency, A::Unfreeze)],
            Self::Close { user, currency } => vec![on_account(user, currency, A::Close)],
            Self::Begin { payment, user, amount, route, risk } => begin(payment, user, amount, route, risk),
            Self::Transfer { payment, from, to, amount } => transfer(payment, from, to, amount),
            Self::Paid { payment, transaction } => {
                paid(world, payment, P::ConfirmPaid { transaction_id: transaction_id(transaction) })
            }
            Self::Declined { payment, reason } => released(world, payment, P::ConfirmDeclined { reason }),
            Self::OutcomeUnknown { payment } => {
                vec![on_payment(payment, P::RecordOutcomeUnknown { reason: "timeout".to_owned() })]
            }
            Self::ReviewRequired { payment } => {
                vec![on_payment(payment, P::RequireReview { reason: "no answer".to_owned() })]
            }
            Self::Reviewed { payment, paid: true } => {
                let outcome = ReviewOutcome::Paid { transaction_id: transaction_id(0) };
                paid(world, payment, review(outcome))
            }
            Self::Reviewed { payment, paid: false } => {
                released(world, payment, review(ReviewOutcome::NotPaid))
            }
            Self::Capture { payment, minor } => capture(world, payment, minor),
            Self::Captured { payment } => captured(world, payment),
            Self::Void { payment, expired } => vec![on_payment(payment, void(expired))],
            Self::Voided { payment } => released(world, payment, P::ConfirmVoided),
            Self::StartRefund { payment, refund, minor } => start_refund(world, payment, refund, minor),
            Self::CompleteRefund { payment, refund } => complete_refund(world, payment, refund),
            Self::FailRefund { payment, refund } => {
                let reason = "account gone".to_owned();
                vec![on_payment(payment, P::FailRefund { refund_id: refund_id(refund), reason })]
            }
        }
    }

    /// The engine records a payment as failed when the payer's account refuses. For which reason
    /// makes no difference to anything that is checked here.
    pub(crate) fn steps_when_refused(&self) -> Option<Vec<Step>> {
        let (payment, steps) = match self.clone() {
            Self::Begin { payment, user, amount, route, risk } => {
                (payment, begin(payment, user, amount, route, risk))
            }
            Self::Transfer { payment, from, to, amount } => (payment, transfer(payment, from, to, amount)),
            _ => return None,
        };
        let initiate = steps.into_iter().next()?;
        Some(vec![initiate, on_payment(payment, P::Fail(FailureReason::AccountFrozen))])
    }
}

fn deposit(user: u8, amount: Money, reference: String) -> Vec<Step> {
    let posting_id = PostingId::parse("MOVE_1").expect("an id");
    let debit = A::Debit { posting_id: posting_id.clone(), amount, payment_id: None };
    let deposit = A::Deposit { posting_id, amount, reference };
    vec![on_account(user, amount.currency, deposit), on_system(FUNDING, amount.currency, debit)]
}

/// Initiated, assessed and, unless the risk is high, reserved: nothing outside happens in between.
fn begin(payment: u8, user: u8, amount: Money, route: Route, risk: RiskAssessment) -> Vec<Step> {
    let rejected = matches!(risk, RiskAssessment::Assessed { level: RiskLevel::High, .. });
    let mut steps = vec![
        on_payment(payment, P::Initiate(new_details(payment, user, amount, route).into())),
        on_payment(payment, P::AssessRisk(risk)),
    ];
    if !rejected {
        let hold = A::Hold { payment_id: payment_id(payment), amount };
        steps.extend([on_payment(payment, P::ReserveFunds), on_account(user, amount.currency, hold)]);
    }
    steps
}

fn transfer(payment: u8, from: u8, to: u8, amount: Money) -> Vec<Step> {
    let route = Route::Transfer { payee: users_account(to, amount.currency) };
    let posting_id = PostingId::of_payment(&payment_id(payment));
    let debit = A::Debit { posting_id: posting_id.clone(), amount, payment_id: None };
    vec![
        on_payment(payment, P::Initiate(new_details(payment, from, amount, route).into())),
        on_payment(payment, P::CompleteTransfer),
        on_account(from, amount.currency, debit),
        on_account(to, amount.currency, A::Credit { posting_id, amount, payment_id: None }),
    ]
}

/// The channel has the money: captured at once, or waiting to be captured by hand.
fn paid(world: &World, payment: u8, confirm: P) -> Vec<Step> {
    let Some(details) = details(world, payment) else {
        return vec![on_payment(payment, confirm)];
    };
    let mut steps = vec![on_payment(payment, confirm)];
    let ends = world.payments.get(&payment_id(payment)).is_some_and(|payment| payment.ending.is_some());
    if ends {
        // A review has found that the channel took it: what was being captured, or all, for all the void.
        steps.extend(settled(details, being_captured(world, payment).unwrap_or(details.amount)));
    } else if !details.is_captured_by_hand() {
        steps.extend(settled(details, details.amount));
    }
    steps
}

fn requester() -> Requester {
    Requester { caller: "shop".to_owned(), idempotency_key: "LATER".to_owned() }
}

fn void(expired: bool) -> P {
    let (reason, requester) = if expired { ("expired", None) } else { ("requested", Some(requester())) };
    P::Void { reason: reason.to_owned(), requester }
}

fn being_captured(world: &World, payment: u8) -> Option<Money> {
    match &world.payments.get(&payment_id(payment))?.ending {
        Some(Ending::Capture { amount, .. }) => Some(*amount),
        Some(Ending::Void { .. }) | None => None,
    }
}

/// The channel has taken what is being captured.
fn captured(world: &World, payment: u8) -> Vec<Step> {
    let mut steps = vec![on_payment(payment, P::ConfirmCaptured)];
    if let (Some(amount), Some(details)) = (being_captured(world, payment), details(world, payment)) {
        steps.extend(settled(details, amount));
    }
    steps
}

fn capture(world: &World, payment: u8, minor: i64) -> Vec<Step> {
    let Some(details) = details(world, payment) else { return vec![] };
    let amount = Money::new(minor, details.amount.currency);
    vec![on_payment(payment, P::Capture { amount, requester: requester() })]
}

/// The two legs of what the channel has done.
fn settled(details: &PaymentDetails, amount: Money) -> [Step; 2] {
    let payment_id = details.payment_id.clone();
    let posting_id = PostingId::of_payment(&payment_id);
    let spend = match &details.route {
        Route::Payout { reference } => {
            A::Withdraw { payment_id, posting_id: posting_id.clone(), reference: reference.clone() }
        }
        Route::Channel { .. } | Route::Transfer { .. } => A::CaptureHold { payment_id, amount },
    };
    [
        Step::Account(details.payer.clone(), spend),
        on_system(SETTLEMENT, amount.currency, A::Credit { posting_id, amount, payment_id: None }),
    ]
}

/// A payment ends without money moved, and its hold with it.
fn released(world: &World, payment: u8, end: P) -> Vec<Step> {
    let release = |details: &PaymentDetails| {
        Step::Account(details.payer.clone(), A::ReleaseHold { payment_id: details.payment_id.clone() })
    };
    let mut steps = vec![on_payment(payment, end)];
    steps.extend(details(world, payment).map(release));
    steps
}

fn start_refund(world: &World, payment: u8, refund: u8, minor: i64) -> Vec<Step> {
    let Some(details) = details(world, payment) else { return vec![] };
    let amount = Money::new(minor, details.amount.currency);
    let start = P::StartRefund { refund_id: refund_id(refund), amount, requester: requester() };
    vec![on_payment(payment, start)]
}

/// The refund's posting: from where the money went back to the payer.
fn complete_refund(world: &World, payment: u8, refund: u8) -> Vec<Step> {
    let refund_id = refund_id(refund);
    let under_way = (world.payments.get(&payment_id(payment)))
        .and_then(|payment| payment.refunds.get(&refund_id))
        .filter(|refund| refund.status == RefundStatus::Started)
        .map(|refund| refund.amount);
    let posting_id = PostingId::parse(refund_id.as_str()).expect("an id");
    let complete = P::CompleteRefund { refund_id, transaction_id: transaction_id(0) };
    let mut steps = vec![on_payment(payment, complete)];
    if let (Some(amount), Some(details)) = (under_way, details(world, payment)) {
        let went_to = match &details.route {
            Route::Channel { .. } | Route::Payout { .. } => system(SETTLEMENT, amount.currency),
            Route::Transfer { payee } => payee.clone(),
        };
        let payment_id = Some(details.payment_id.clone());
        let debit = A::Debit { posting_id: posting_id.clone(), amount, payment_id: payment_id.clone() };
        let credit = A::Credit { posting_id, amount, payment_id };
        steps.extend([Step::Account(went_to, debit), Step::Account(details.payer.clone(), credit)]);
    }
    steps
}

fn review(outcome: ReviewOutcome) -> P {
    P::ResolveReview { outcome, operator: "olga".to_owned(), reason: "channel's report".to_owned() }
}

fn details(world: &World, payment: u8) -> Option<&PaymentDetails> {
    world.payments.get(&payment_id(payment)).and_then(|payment| payment.details.as_deref())
}

fn new_details(payment: u8, payer: u8, amount: Money, route: Route) -> PaymentDetails {
    PaymentDetails {
        payment_id: payment_id(payment),
        user_id: user(payer),
        payer: users_account(payer, amount.currency),
        amount,
        route,
        requester: Requester { caller: "shop".to_owned(), idempotency_key: format!("KEY_{payment}") },
        metadata: BTreeMap::new(),
    }
}

fn on_account(user: u8, currency: Currency, command: A) -> Step {
    Step::Account(users_account(user, currency), command)
}

fn on_system(purpose: &str, currency: Currency, command: A) -> Step {
    Step::Account(system(purpose, currency), command)
}

fn on_payment(payment: u8, command: P) -> Step {
    Step::Payment(payment_id(payment), command)
}

pub(crate) fn user(index: u8) -> UserId {
    UserId::parse(&format!("USER_{index}")).expect("an id")
}

pub(crate) fn users_account(index: u8, currency: Currency) -> AccountId {
    AccountId::of_user(&user(index), currency)
}

pub(crate) fn system(purpose: &str, currency: Currency) -> AccountId {
    AccountId::of_system(purpose, currency, 0).expect("an id")
}

fn payment_id(index: u8) -> PaymentId {
    PaymentId::parse(&format!("PAY_{index}")).expect("an id")
}

fn refund_id(index: u8) -> RefundId {
    RefundId::parse(&format!("REF_{index}")).expect("an id")
}

fn transaction_id(index: u8) -> TransactionId {
    TransactionId::parse(&format!("TXN_{index}")).expect("an id")
}

/// Up to 160 units; deposits and payments come often enough that the rest has something to work on.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Unit>> {
    prop::collection::vec(prop_oneof![3 => account_units(), 3 => beginnings(), 8 => continuations()], 0..160)
}

fn account_units() -> impl Strategy<Value = Unit> {
    let user = || 0..USERS;
    prop_oneof![
        12 => (user(), amounts(), ".{0,8}")
            .prop_map(|(user, amount, reference)| Unit::Deposit { user, amount, reference }),
        2 => (user(), currencies(), ".{0,8}")
            .prop_map(|(user, currency, reason)| Unit::Freeze { user, currency, reason }),
        4 => (user(), currencies()).prop_map(|(user, currency)| Unit::Unfreeze { user, currency }),
        1 => (user(), currencies()).prop_map(|(user, currency)| Unit::Close { user, currency }),
    ]
}

fn beginnings() -> impl Strategy<Value = Unit> {
    let card = |capture| Route::Channel { payment_method: "credit_card".to_owned(), capture };
    let route = prop_oneof![
        2 => Just(card(CaptureMode::Automatic)),
        2 => Just(card(CaptureMode::Manual)),
        1 => ".{0,8}".prop_map(|reference| Route::Payout { reference }),
    ];
    prop_oneof![
        5 => (0..PAYMENTS, 0..USERS, amounts(), route, risks())
            .prop_map(|(payment, user, amount, route, risk)| Unit::Begin { payment, user, amount, route, risk }),
        1 => (0..PAYMENTS, 0..USERS, 0..USERS, amounts())
            .prop_map(|(payment, from, to, amount)| Unit::Transfer { payment, from, to, amount }),
    ]
}

fn continuations() -> impl Strategy<Value = Unit> {
    let payment = || 0..PAYMENTS;
    let refund = || 0..REFUNDS;
    // Small, so that parts of an amount are drawn, and now and then zero or below.
    let part = || -10..1_000_i64;
    prop_oneof![
        4 => (payment(), 0..2_u8)
            .prop_map(|(payment, transaction)| Unit::Paid { payment, transaction }),
        1 => (payment(), ".{0,8}").prop_map(|(payment, reason)| Unit::Declined { payment, reason }),
        2 => payment().prop_map(|payment| Unit::OutcomeUnknown { payment }),
        2 => payment().prop_map(|payment| Unit::ReviewRequired { payment }),
        2 => (payment(), any::<bool>()).prop_map(|(payment, paid)| Unit::Reviewed { payment, paid }),
        2 => (payment(), part()).prop_map(|(payment, minor)| Unit::Capture { payment, minor }),
        3 => payment().prop_map(|payment| Unit::Captured { payment }),
        4 => (payment(), any::<bool>()).prop_map(|(payment, expired)| Unit::Void { payment, expired }),
        6 => payment().prop_map(|payment| Unit::Voided { payment }),
        4 => (payment(), refund(), part())
            .prop_map(|(payment, refund, minor)| Unit::StartRefund { payment, refund, minor }),
        3 => (payment(), refund())
            .prop_map(|(payment, refund)| Unit::CompleteRefund { payment, refund }),
        3 => (payment(), refund()).prop_map(|(payment, refund)| Unit::FailRefund { payment, refund }),
    ]
}

fn currencies() -> impl Strategy<Value = Currency> {
    prop_oneof![4 => Just(Currency::USD), 1 => Just(Currency::JPY)]
}

/// Mostly everyday amounts; some so large that balances overflow.
fn amounts() -> impl Strategy<Value = Money> {
    let minor = prop_oneof![20 => 1..2_000_i64, 1 => (i64::MAX - 2_000)..=i64::MAX];
    (minor, currencies()).prop_map(|(minor, currency)| Money::new(minor, currency))
}

fn risks() -> impl Strategy<Value = RiskAssessment> {
    prop_oneof![
        4 => Just(RiskAssessment::Assessed { level: RiskLevel::Low, score: 3 }),
        2 => Just(RiskAssessment::Assessed { level: RiskLevel::Medium, score: 50 }),
        1 => Just(RiskAssessment::Assessed { level: RiskLevel::High, score: 97 }),
        1 => ".{0,8}".prop_map(|reason| RiskAssessment::Degraded { reason }),
    ]
}
