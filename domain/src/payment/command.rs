//! What may be asked of a payment.

use std::sync::Arc;

use super::event::{FailureReason, PaymentDetails, Requester, ReviewOutcome, RiskAssessment};
use crate::id::{RefundId, TransactionId};
use crate::money::Money;

/// A request to a payment. Every fact from outside (risk, channel, operator) arrives in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentCommand {
    /// Record what the client asked for.
    Initiate(Arc<PaymentDetails>),
    /// Record the outcome of the risk step; a high risk rejects the payment.
    AssessRisk(RiskAssessment),
    /// The payer's account holds the amount in the same unit of work.
    ReserveFunds,
    /// The amount could not be held.
    Fail(FailureReason),
    /// The channel paid.
    ConfirmPaid {
        /// Its transaction.
        transaction_id: TransactionId,
    },
    /// The channel said no; the hold is released in the same unit of work.
    ConfirmDeclined {
        /// The channel's reason.
        reason: String,
    },
    /// The channel did not answer, or not so that its outcome is known.
    RecordOutcomeUnknown {
        /// What came instead.
        reason: String,
    },
    /// Give up asking the channel; an operator has to.
    RequireReview {
        /// What is not known.
        reason: String,
    },
    /// An operator found out.
    ResolveReview {
        /// What they found.
        outcome: ReviewOutcome,
        /// Who it was.
        operator: String,
        /// How they know.
        reason: String,
    },
    /// Begin to take an authorized amount, or a part of it, once.
    Capture {
        /// How much.
        amount: Money,
        /// The request that asks for it.
        requester: Requester,
    },
    /// The channel has taken it; the hold is captured in the same unit of work.
    ConfirmCaptured,
    /// Begin to give an authorization up.
    Void {
        /// Why.
        reason: String,
        /// The request that asks for it, `None` where it has expired.
        requester: Option<Requester>,
    },
    /// The channel has let it go; the hold is released in the same unit of work.
    ConfirmVoided,
    /// Begin to give a part of the captured amount back.
    StartRefund {
        /// The refund.
        refund_id: RefundId,
        /// How much.
        amount: Money,
        /// The request that asks for it.
        requester: Requester,
    },
    /// The channel has given it back.
    CompleteRefund {
        /// The refund.
        refund_id: RefundId,
        /// The channel's transaction.
        transaction_id: TransactionId,
    },
    /// The channel will not give it back.
    FailRefund {
        /// The refund.
        refund_id: RefundId,
        /// The channel's reason.
        reason: String,
    },
    /// Complete a transfer, whose postings are in the same unit of work.
    CompleteTransfer,
}

impl PaymentCommand {
    /// The command's name, for refusals and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initiate(_) => "initiate",
            Self::AssessRisk(_) => "assess the risk of",
            Self::ReserveFunds => "reserve funds for",
            Self::Fail(_) => "fail",
            Self::ConfirmPaid { .. } => "confirm",
            Self::ConfirmDeclined { .. } => "decline",
            Self::RecordOutcomeUnknown { .. } => "record an unknown outcome of",
            Self::RequireReview { .. } => "require review of",
            Self::ResolveReview { .. } => "resolve the review of",
            Self::Capture { .. } => "capture",
            Self::ConfirmCaptured => "confirm the capture of",
            Self::Void { .. } => "void",
            Self::ConfirmVoided => "confirm the void of",
            Self::StartRefund { .. } => "refund",
            Self::CompleteRefund { .. } => "complete a refund of",
            Self::FailRefund { .. } => "fail a refund of",
            Self::CompleteTransfer => "complete the transfer of",
        }
    }
}
