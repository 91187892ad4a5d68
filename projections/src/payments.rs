//! `payments`: every payment as it stands, to be found by user, status and time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::payment::{
    CaptureMode, FailureReason, PaymentDetails, PaymentKind, PaymentStatus, RiskAssessment, Route,
};
use domain::{AccountId, Money, PaymentEvent, PaymentId, TransactionId, UserId};

use crate::read_model::{Fact, FoldError, Kind, LogEvent, ReadModel, must_fit};

#[cfg(test)]
mod tests;

/// The read model of payments.
#[derive(Debug)]
pub enum Payments {}

/// A row: a payment as it stands. Amounts are in minor units of the payment's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRow {
    /// The payment.
    pub payment_id: PaymentId,
    /// Who pays.
    pub user_id: UserId,
    /// The account that pays.
    pub payer: AccountId,
    /// The account that receives, `None` where the money goes out through the channel.
    pub payee: Option<AccountId>,
    /// How much.
    pub amount: Money,
    /// By which means, `None` for a transfer and a withdrawal.
    pub payment_method: Option<String>,
    /// When the money is taken, `None` for a transfer and a withdrawal.
    pub capture: Option<CaptureMode>,
    /// Where it is.
    pub status: PaymentStatus,
    /// What the risk step said.
    pub risk: Option<RiskAssessment>,
    /// The channel's transaction.
    pub transaction_id: Option<TransactionId>,
    /// Why it failed.
    pub failure: Option<FailureReason>,
    /// Why it needs, or needed, a review.
    pub review_reason: Option<String>,
    /// How much was taken.
    pub captured: Option<i64>,
    /// How much has gone back, `None` while no refund was asked for.
    pub refunded: Option<i64>,
    /// Who asked for it.
    pub caller: String,
    /// The client's own notes.
    pub metadata: BTreeMap<String, String>,
    /// Position of its first event: payments are listed in this order.
    pub initiated_position: i64,
    /// When it was asked for.
    pub initiated_at: DateTime<Utc>,
    /// Position of its last event.
    pub position: i64,
    /// When that was recorded.
    pub updated_at: DateTime<Utc>,
}

impl PaymentRow {
    /// Which of its three forms it has.
    #[must_use]
    pub const fn kind(&self) -> PaymentKind {
        match (&self.payment_method, &self.payee) {
            (Some(_), _) => PaymentKind::Payment,
            (None, Some(_)) => PaymentKind::Transfer,
            (None, None) => PaymentKind::Withdrawal,
        }
    }
}

impl ReadModel for Payments {
    const NAME: &'static str = "payments";
    const FOLD_SOURCE: &'static str = concat!(
        include_str!("payments.rs"),
        include_str!("../../domain/src/payment/event.rs"),
        include_str!("../../domain/src/payment/upcasters.rs")
    );
    const READS: Kind = Kind::Payment;

    type Key = PaymentId;
    type State = PaymentRow;
    type Line = ();

    fn key(fact: &Fact) -> Option<PaymentId> {
        match fact {
            Fact::Payment(payment_id, _) => Some(payment_id.clone()),
            Fact::Account(..) | Fact::Unreadable { .. } => None,
        }
    }

    fn apply(state: &mut Option<PaymentRow>, event: &LogEvent) -> Result<Option<()>, FoldError> {
        let Fact::Payment(payment_id, happened) = &event.fact else { return Ok(None) };
        match (state.as_mut(), happened) {
            (None, PaymentEvent::PaymentInitiated(details)) => *state = Some(initiated(details, event)),
            (None, _) => return Err(FoldError::NotBegun(format!("payment {payment_id}"))),
            // Counted already: a row is never older than its checkpoint, but may be newer.
            (Some(row), _) if event.position <= row.position => {}
            (Some(_), PaymentEvent::PaymentInitiated(_)) => {
                return Err(FoldError::BegunTwice(format!("payment {payment_id}")));
            }
            (Some(row), happened) => {
                if let Some(amount) = amount(happened) {
                    must_fit(row.amount.currency, amount)?;
                }
                change(row, happened)?;
                row.position = event.position;
                row.updated_at = event.recorded_at;
            }
        }
        Ok(None)
    }
}

fn initiated(details: &PaymentDetails, event: &LogEvent) -> PaymentRow {
    let (payee, payment_method, capture) = match &details.route {
        Route::Channel { payment_method, capture } => (None, Some(payment_method.clone()), Some(*capture)),
        Route::Transfer { payee } => (Some(payee.clone()), None, None),
        Route::Payout { .. } => (None, None, None),
    };
    PaymentRow {
        payment_id: details.payment_id.clone(),
        user_id: details.user_id.clone(),
        payer: details.payer.clone(),
        payee,
        amount: details.amount,
        payment_method,
        capture,
        status: PaymentStatus::Initiated,
        risk: None,
        transaction_id: None,
        failure: None,
        review_reason: None,
        captured: None,
        refunded: None,
        caller: details.requester.caller.clone(),
        metadata: details.metadata.clone(),
        initiated_position: event.position,
        initiated_at: event.recorded_at,
        position: event.position,
        updated_at: event.recorded_at,
    }
}

/// The amount that an event adds to what its payment is about.
fn amount(happened: &PaymentEvent) -> Option<Money> {
    use PaymentEvent as E;
    match happened {
        E::FundsReserved { amount }
        | E::CaptureStarted { amount, .. }
        | E::PaymentCompleted { captured: amount, .. }
        | E::RefundStarted { amount, .. }
        | E::RefundCompleted { amount, .. }
        | E::RefundFailed { amount, .. } => Some(*amount),
        // Whatever it begins with is what it is about.
        E::PaymentInitiated(_)
        | E::RiskAssessed { .. }
        | E::PaymentRejected { .. }
        | E::ChannelOutcomeUnknown { .. }
        | E::PaymentAuthorized { .. }
        | E::VoidStarted { .. }
        | E::PaymentFailed { .. }
        | E::PaymentVoided { .. }
        | E::ReviewRequired { .. }
        | E::ReviewResolved { .. } => None,
    }
}

fn change(row: &mut PaymentRow, happened: &PaymentEvent) -> Result<(), FoldError> {
    use PaymentEvent as E;
    use PaymentStatus as S;
    match happened {
        // Told apart by the caller: a payment begins once.
        E::PaymentInitiated(_) => {}
        E::RiskAssessed { assessment } => {
            row.risk = Some(assessment.clone());
            row.status = S::Assessed;
        }
        E::PaymentRejected { score: _ } => row.status = S::Rejected,
        E::FundsReserved { amount: _ } => row.status = S::Reserved,
        E::ChannelOutcomeUnknown { reason: _ } => row.status = S::OutcomeUnknown,
        E::PaymentAuthorized { transaction_id } => {
            row.transaction_id = Some(transaction_id.clone());
            row.status = S::Authorized;
        }
        E::CaptureStarted { .. } => row.status = S::Capturing,
        E::VoidStarted { .. } => row.status = S::Voiding,
        E::PaymentCompleted { transaction_id, captured } => {
            row.transaction_id.clone_from(transaction_id);
            row.captured = Some(captured.minor);
            row.status = S::Completed;
        }
        E::PaymentFailed { reason } => {
            row.failure = Some(reason.clone());
            row.status = S::Failed;
        }
        E::PaymentVoided { reason: _ } => row.status = S::Voided,
        E::RefundStarted { .. } | E::RefundFailed { .. } => row.refunded = row.refunded.or(Some(0)),
        E::RefundCompleted { amount, .. } => {
            let refunded = row.refunded.unwrap_or(0).checked_add(amount.minor);
            row.refunded = Some(refunded.ok_or(FoldError::Overflow)?);
        }
        E::ReviewRequired { reason } => {
            row.review_reason = Some(reason.clone());
            row.status = S::NeedsReview;
        }
        // What follows from it is the event behind it.
        E::ReviewResolved { .. } => {}
    }
    Ok(())
}
