//! Why a payment refuses. Each is an answer for the caller; storage and network never appear here.

use super::PaymentStatus;
use crate::id::{PaymentId, RefundId};
use crate::money::Money;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The id belongs to another payment.
    #[error("payment {payment_id} already exists with other details")]
    AlreadyExists {
        /// The id that is taken.
        payment_id: PaymentId,
    },
    /// The step does not follow from where the payment is.
    #[error("cannot {command} a payment that is {}", status.name())]
    WrongStatus {
        /// The step.
        command: &'static str,
        /// Where the payment is.
        status: PaymentStatus,
    },
    /// A capture is limited by what was authorized.
    #[error("{authorized:?} is authorized, {requested:?} cannot be captured")]
    CaptureTooLarge {
        /// What was authorized.
        authorized: Money,
        /// What was asked for.
        requested: Money,
    },
    /// Refunds are limited by what was captured.
    #[error("{refundable:?} is left to refund, {requested:?} was asked for")]
    RefundTooLarge {
        /// What is left to refund.
        refundable: Money,
        /// What was asked for.
        requested: Money,
    },
    /// The refund was never started, or has ended otherwise.
    #[error("refund {refund_id} is not under way")]
    RefundNotFound {
        /// The refund.
        refund_id: RefundId,
    },
    /// The id belongs to another refund of this payment, or to one that failed.
    #[error("refund {refund_id} already exists with another amount or outcome")]
    RefundExists {
        /// The refund.
        refund_id: RefundId,
    },
    /// A payment can be refunded in so many parts only.
    #[error("a payment has at most {limit} refunds")]
    TooManyRefunds {
        /// How many.
        limit: usize,
    },
    /// Only what went through the channel comes back through it.
    #[error("a transfer cannot be refunded; transfer the amount back")]
    TransferNotRefundable,
    /// What the channel has paid out, it cannot give back.
    #[error("a withdrawal cannot be refunded; deposit what comes back")]
    WithdrawalNotRefundable,
    /// An amount must be above zero and in the payment's currency.
    #[error("{requested:?} is not an amount of this payment")]
    WrongAmount {
        /// What was asked for.
        requested: Money,
    },
}
