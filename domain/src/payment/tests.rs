//! Each line of the payment's rules as a sentence.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`given`] | given, when, then |
//! | [`table`] | every command in every status: what is not allowed is refused |
//! | [`life`] | from initiated to completed, failed or rejected, with the outcome known or not |
//! | [`manual`] | authorize, capture, void, and reviews of such payments |
//! | [`refunds`] | refunds, partial, failed and repeated |
//!
//! Here is the vocabulary they share: `PAY_42` of `USER_7`, 25.00 USD.

// The same sentences as the account's; tests of one aggregate cannot see into those of another.
#[expect(clippy::duplicate_mod, reason = "one helper, private to the tests of each aggregate")]
#[path = "../account/tests/given.rs"]
mod given;
mod life;
mod manual;
mod refunds;
mod table;

use std::collections::BTreeMap;

use given::{Given, replayed};

use super::{
    CaptureMode, FailureReason, MAX_REFUNDS, Payment, PaymentCommand, PaymentDetails, PaymentError,
    PaymentEvent, PaymentStatus, RefundStatus, Requester, ReviewOutcome, RiskAssessment, RiskLevel, Route,
};
use crate::id::{AccountId, PaymentId, RefundId, TransactionId, UserId};
use crate::money::{Currency, Money};

const TXN: &str = "TXN_1";
const OTHER_TXN: &str = "TXN_2";
const REFUND: &str = "REF_1";
const OTHER_REFUND: &str = "REF_2";

fn given(history: impl IntoIterator<Item = PaymentEvent>) -> Given<Payment> {
    Given::new(history)
}

fn payment(history: impl IntoIterator<Item = PaymentEvent>) -> Payment {
    replayed(history)
}

/// One history after another.
fn then<const N: usize>(mut history: Vec<PaymentEvent>, more: [PaymentEvent; N]) -> Vec<PaymentEvent> {
    history.extend(more);
    history
}

fn usd(decimal: &str) -> Money {
    Money::parse(decimal, Currency::USD).unwrap()
}

fn transaction(id: &str) -> TransactionId {
    TransactionId::parse(id).unwrap()
}

fn refund(id: &str) -> RefundId {
    RefundId::parse(id).unwrap()
}

fn details(route: Route) -> PaymentDetails {
    let user_id = UserId::parse("USER_7").unwrap();
    PaymentDetails {
        payment_id: PaymentId::parse("PAY_42").unwrap(),
        payer: AccountId::of_user(&user_id, Currency::USD),
        user_id,
        amount: usd("25.00"),
        route,
        requester: Requester { caller: "shop".to_owned(), idempotency_key: "KEY_42".to_owned() },
        metadata: BTreeMap::new(),
    }
}

fn card(capture: CaptureMode) -> PaymentDetails {
    details(Route::Channel { payment_method: "credit_card".to_owned(), capture })
}

fn automatic() -> PaymentDetails {
    card(CaptureMode::Automatic)
}

fn manual() -> PaymentDetails {
    card(CaptureMode::Manual)
}

fn transfer() -> PaymentDetails {
    let payee = UserId::parse("USER_8").unwrap();
    details(Route::Transfer { payee: AccountId::of_user(&payee, Currency::USD) })
}

fn withdrawal() -> PaymentDetails {
    details(Route::Payout { reference: "rent".to_owned() })
}

fn low_risk() -> RiskAssessment {
    RiskAssessment::Assessed { level: RiskLevel::Low, score: 7 }
}

fn degraded() -> RiskAssessment {
    RiskAssessment::Degraded { reason: "breaker open".to_owned() }
}

fn declined() -> FailureReason {
    FailureReason::ChannelDeclined { reason: "do_not_honor".to_owned() }
}

fn short_of_funds() -> FailureReason {
    FailureReason::InsufficientFunds { available: usd("3.00") }
}

fn paid_review() -> ReviewOutcome {
    ReviewOutcome::Paid { transaction_id: transaction(TXN) }
}

// What has happened.

fn initiated(details: PaymentDetails) -> PaymentEvent {
    PaymentEvent::PaymentInitiated(details.into())
}

fn risk_assessed(assessment: RiskAssessment) -> PaymentEvent {
    PaymentEvent::RiskAssessed { assessment }
}

fn funds_reserved() -> PaymentEvent {
    PaymentEvent::FundsReserved { amount: usd("25.00") }
}

fn outcome_unknown() -> PaymentEvent {
    PaymentEvent::ChannelOutcomeUnknown { reason: "timeout".to_owned() }
}

fn review_required() -> PaymentEvent {
    PaymentEvent::ReviewRequired { reason: "no answer for an hour".to_owned() }
}

fn review_resolved(outcome: ReviewOutcome) -> PaymentEvent {
    PaymentEvent::ReviewResolved {
        outcome,
        operator: "olga".to_owned(),
        reason: "channel's report".to_owned(),
    }
}

fn authorized() -> PaymentEvent {
    PaymentEvent::PaymentAuthorized { transaction_id: transaction(TXN) }
}

fn completed(captured: Money) -> PaymentEvent {
    PaymentEvent::PaymentCompleted { transaction_id: Some(transaction(TXN)), captured }
}

fn failed(reason: FailureReason) -> PaymentEvent {
    PaymentEvent::PaymentFailed { reason }
}

fn client() -> Requester {
    Requester { caller: "shop".to_owned(), idempotency_key: "KEY_43".to_owned() }
}

fn capture_started(amount: Money) -> PaymentEvent {
    PaymentEvent::CaptureStarted { amount, requester: client() }
}

fn void_started() -> PaymentEvent {
    PaymentEvent::VoidStarted { reason: "requested".to_owned(), requester: Some(client()) }
}

fn voided() -> PaymentEvent {
    PaymentEvent::PaymentVoided { reason: "requested".to_owned() }
}

fn refund_started(id: &str, amount: Money) -> PaymentEvent {
    PaymentEvent::RefundStarted { refund_id: refund(id), amount, requester: Some(client()) }
}

fn refund_completed(id: &str, amount: Money) -> PaymentEvent {
    PaymentEvent::RefundCompleted { refund_id: refund(id), amount, transaction_id: transaction(OTHER_TXN) }
}

fn refund_failed(id: &str, amount: Money) -> PaymentEvent {
    PaymentEvent::RefundFailed { refund_id: refund(id), amount, reason: "account gone".to_owned() }
}

fn assessed(details: PaymentDetails) -> Vec<PaymentEvent> {
    vec![initiated(details), risk_assessed(low_risk())]
}

fn reserved(details: PaymentDetails) -> Vec<PaymentEvent> {
    then(assessed(details), [funds_reserved()])
}

fn unknown(details: PaymentDetails) -> Vec<PaymentEvent> {
    then(reserved(details), [outcome_unknown()])
}

fn in_review(details: PaymentDetails) -> Vec<PaymentEvent> {
    then(unknown(details), [review_required()])
}

fn paid() -> Vec<PaymentEvent> {
    then(reserved(automatic()), [completed(usd("25.00"))])
}

// What is asked.

fn initiate(details: PaymentDetails) -> PaymentCommand {
    PaymentCommand::Initiate(details.into())
}

fn assess_risk(assessment: RiskAssessment) -> PaymentCommand {
    PaymentCommand::AssessRisk(assessment)
}

fn reserve_funds() -> PaymentCommand {
    PaymentCommand::ReserveFunds
}

fn fail(reason: FailureReason) -> PaymentCommand {
    PaymentCommand::Fail(reason)
}

fn confirm_paid(id: &str) -> PaymentCommand {
    PaymentCommand::ConfirmPaid { transaction_id: transaction(id) }
}

fn confirm_declined(reason: &str) -> PaymentCommand {
    PaymentCommand::ConfirmDeclined { reason: reason.to_owned() }
}

fn record_outcome_unknown() -> PaymentCommand {
    PaymentCommand::RecordOutcomeUnknown { reason: "timeout".to_owned() }
}

fn require_review() -> PaymentCommand {
    PaymentCommand::RequireReview { reason: "no answer for an hour".to_owned() }
}

fn resolve_review(outcome: ReviewOutcome) -> PaymentCommand {
    PaymentCommand::ResolveReview {
        outcome,
        operator: "olga".to_owned(),
        reason: "channel's report".to_owned(),
    }
}

fn capture(amount: Money) -> PaymentCommand {
    PaymentCommand::Capture { amount, requester: client() }
}

fn confirm_captured() -> PaymentCommand {
    PaymentCommand::ConfirmCaptured
}

fn void() -> PaymentCommand {
    PaymentCommand::Void { reason: "requested".to_owned(), requester: Some(client()) }
}

fn expire() -> PaymentCommand {
    PaymentCommand::Void { reason: "expired".to_owned(), requester: None }
}

fn confirm_voided() -> PaymentCommand {
    PaymentCommand::ConfirmVoided
}

fn start_refund(id: &str, amount: Money) -> PaymentCommand {
    PaymentCommand::StartRefund { refund_id: refund(id), amount, requester: client() }
}

fn complete_refund(id: &str) -> PaymentCommand {
    PaymentCommand::CompleteRefund { refund_id: refund(id), transaction_id: transaction(OTHER_TXN) }
}

fn fail_refund(id: &str) -> PaymentCommand {
    PaymentCommand::FailRefund { refund_id: refund(id), reason: "account gone".to_owned() }
}

fn complete_transfer() -> PaymentCommand {
    PaymentCommand::CompleteTransfer
}

// Why it is refused.

fn wrong_status(command: &'static str, status: PaymentStatus) -> PaymentError {
    PaymentError::WrongStatus { command, status }
}

fn taken() -> PaymentError {
    PaymentError::AlreadyExists { payment_id: automatic().payment_id }
}
