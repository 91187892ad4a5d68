//! The payment channel: what is asked of it, and what is known of it afterwards.

use async_trait::async_trait;
use domain::payment::CaptureMode;
use domain::{Money, PaymentId, RefundId, TransactionId};

use crate::context::CommandContext;

/// What the channel is asked to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The payment; also the channel's idempotency key, so that asking twice charges once.
    pub payment_id: PaymentId,
    /// How much.
    pub amount: Money,
    /// By which means.
    pub payment_method: String,
    /// Whether the money is taken at once, or only guaranteed until it is captured.
    pub capture: CaptureMode,
}

/// One thing that the channel is asked to do. Each has an idempotency key of its own, made of the ids
/// in it, so that it is done at most once however often it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Collect, or guarantee, an amount.
    Pay(Charge),
    /// Pay an amount out to the user's own account elsewhere.
    PayOut {
        /// The withdrawal.
        payment_id: PaymentId,
        /// How much.
        amount: Money,
        /// The client's own name for it.
        reference: String,
    },
    /// Take a guaranteed amount, or a part of it; what is left of it is let go.
    Capture {
        /// The payment that it was guaranteed for.
        payment_id: PaymentId,
        /// How much.
        amount: Money,
    },
    /// Let a guaranteed amount go.
    Void {
        /// The payment that it was guaranteed for.
        payment_id: PaymentId,
    },
    /// Give a part of what was taken back.
    Refund {
        /// The payment that it was taken for.
        payment_id: PaymentId,
        /// The refund.
        refund_id: RefundId,
        /// How much.
        amount: Money,
    },
}

impl ChannelOrder {
    /// The payment that it is about.
    #[must_use]
    pub const fn payment_id(&self) -> &PaymentId {
        match self {
            Self::Pay(charge) => &charge.payment_id,
            Self::PayOut { payment_id, .. }
            | Self::Capture { payment_id, .. }
            | Self::Void { payment_id }
            | Self::Refund { payment_id, .. } => payment_id,
        }
    }

    /// Its name, as a metric's label and in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pay(_) => "pay",
            Self::PayOut { .. } => "payout",
            Self::Capture { .. } => "capture",
            Self::Void { .. } => "void",
            Self::Refund { .. } => "refund",
        }
    }

    /// The name of the span of asking for it.
    #[must_use]
    pub const fn span_name(&self) -> &'static str {
        match self {
            Self::Pay(_) => "channel.pay",
            Self::PayOut { .. } => "channel.payout",
            Self::Capture { .. } => "channel.capture",
            Self::Void { .. } => "channel.void",
            Self::Refund { .. } => "channel.refund",
        }
    }
}

/// What is known of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelAnswer {
    /// The channel has done it.
    Done {
        /// Its transaction.
        transaction_id: TransactionId,
    },
    /// The channel has not done it and will not.
    Declined {
        /// Its reason.
        reason: String,
    },
    /// The channel has not done it (yet): to ask for it again under the same key is safe.
    NotFound,
    /// Whether it was done cannot be told from what came.
    Unknown {
        /// What came instead of an answer, without anything internal: it is recorded in an event.
        reason: String,
    },
}

/// Moves money outside.
#[async_trait]
pub trait PaymentChannel: Send + Sync {
    /// Whether an order would be sent now. What is known beforehand to go nowhere is better not begun.
    fn admits(&self) -> bool;

    /// Asks the channel to carry an order out. Never answers [`ChannelAnswer::NotFound`].
    async fn carry_out(&self, order: &ChannelOrder, context: &CommandContext) -> ChannelAnswer;

    /// Asks the channel what became of an order.
    async fn inquire(&self, order: &ChannelOrder, context: &CommandContext) -> ChannelAnswer;
}
