//! What has happened to a payment.

use std::collections::BTreeMap;
use std::sync::Arc;

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::upcasters::UPCASTERS;
use crate::id::{AccountId, PaymentId, RefundId, TransactionId, UserId};
use crate::money::Money;
use crate::versions::{Upcaster, VersionedEvent};

/// What a payment is, fixed when it is initiated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDetails {
    /// The payment.
    pub payment_id: PaymentId,
    /// Who pays.
    pub user_id: UserId,
    /// The account that pays.
    pub payer: AccountId,
    /// How much.
    pub amount: Money,
    /// Where the money goes.
    pub route: Route,
    /// Who asked for it under which key: whoever settles the payment answers that request.
    pub requester: Requester,
    /// The client's own notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl PaymentDetails {
    /// Whether the client captures it, so that the hold stays when the channel has guaranteed the amount.
    #[must_use]
    pub const fn is_captured_by_hand(&self) -> bool {
        matches!(self.route, Route::Channel { capture: CaptureMode::Manual, .. })
    }
}

/// The request that asked for a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The API's caller.
    pub caller: String,
    /// The caller's name for the request.
    pub idempotency_key: String,
}

/// Where the money of a payment goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Out through the payment channel.
    Channel {
        /// The channel's name for the means of payment, for instance `credit_card`.
        payment_method: String,
        /// Whether it is captured at once.
        capture: CaptureMode,
    },
    /// To another account of this engine.
    Transfer {
        /// The account that receives.
        payee: AccountId,
    },
    /// Out through the payment channel to the user's own account elsewhere: a withdrawal.
    Payout {
        /// The client's own name for it; the channel is told.
        reference: String,
    },
}

impl Route {
    /// The means of payment, as the risk service, spans and logs name it.
    #[must_use]
    pub fn method(&self) -> &str {
        match self {
            Self::Channel { payment_method, .. } => payment_method,
            Self::Transfer { .. } => "transfer",
            Self::Payout { .. } => "payout",
        }
    }

    /// What a client calls a payment on this route.
    #[must_use]
    pub const fn kind(&self) -> PaymentKind {
        match self {
            Self::Channel { .. } => PaymentKind::Payment,
            Self::Transfer { .. } => PaymentKind::Transfer,
            Self::Payout { .. } => PaymentKind::Withdrawal,
        }
    }
}

/// Which of its three forms a payment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentKind {
    /// Collected through the channel.
    Payment,
    /// From one user to another.
    Transfer,
    /// Paid out through the channel.
    Withdrawal,
}

impl PaymentKind {
    /// The name used in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Transfer => "transfer",
            Self::Withdrawal => "withdrawal",
        }
    }
}

/// When the money is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMode {
    /// As soon as the channel has paid.
    #[default]
    Automatic,
    /// When the client asks for it.
    Manual,
}

impl CaptureMode {
    /// The name used in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }

    /// The mode of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Automatic, Self::Manual].into_iter().find(|mode| mode.name() == name)
    }
}

/// How the risk service sees a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Goes on.
    Low,
    /// Goes on.
    Medium,
    /// Is rejected.
    High,
}

impl RiskLevel {
    /// The name used in the API, in logs and on spans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The outcome of the risk step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskAssessment {
    /// The risk service answered.
    Assessed {
        /// Its verdict.
        level: RiskLevel,
        /// 0 (no risk) to 100.
        score: u8,
    },
    /// The risk service could not answer, and the amount is small enough to go on without it.
    Degraded {
        /// What kept it from answering.
        reason: String,
    },
}

/// Why a payment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum FailureReason {
    /// The payer has too little.
    InsufficientFunds {
        /// What could be spent then.
        available: Money,
    },
    /// The payer has no account in this currency.
    AccountNotFound,
    /// The payer's account is frozen.
    AccountFrozen,
    /// The payer's account is closed.
    AccountClosed,
    /// The channel said no.
    ChannelDeclined {
        /// The channel's own reason.
        reason: String,
    },
    /// An operator found that the channel had not paid.
    ReviewedNotPaid,
    /// Whom a transfer is for has no account in this currency.
    PayeeNotFound,
    /// The account that a transfer is for is closed.
    PayeeClosed,
    /// The balance that a transfer is for would become larger than can be booked.
    PayeeCannotReceive,
}

impl FailureReason {
    /// The stable code that clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::AccountNotFound => "account_not_found",
            Self::AccountFrozen => "account_frozen",
            Self::AccountClosed => "account_closed",
            Self::ChannelDeclined { .. } => "channel_declined",
            Self::ReviewedNotPaid => "reviewed_not_paid",
            Self::PayeeNotFound => "payee_not_found",
            Self::PayeeClosed => "payee_closed",
            Self::PayeeCannotReceive => "payee_cannot_receive",
        }
    }
}

/// What an operator found out about a payment in review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewOutcome {
    /// The channel has the money.
    Paid {
        /// Its transaction.
        transaction_id: TransactionId,
    },
    /// The channel does not have it.
    NotPaid,
}

/// A fact about a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    /// A client asked for it.
    PaymentInitiated(Arc<PaymentDetails>),
    /// The risk step is done.
    RiskAssessed {
        /// What came of it.
        assessment: RiskAssessment,
    },
    /// The risk is too high; no money was touched.
    PaymentRejected {
        /// The score that was too high.
        score: u8,
    },
    /// The payer's account holds the amount.
    FundsReserved {
        /// How much.
        amount: Money,
    },
    /// The channel was asked, and whether it paid is not known.
    ChannelOutcomeUnknown {
        /// What came instead of an answer.
        reason: String,
    },
    /// The channel guarantees the amount; the client captures later.
    PaymentAuthorized {
        /// The channel's transaction.
        transaction_id: TransactionId,
    },
    /// The client takes the authorized amount, or a part of it: nobody else can void it from now on.
    CaptureStarted {
        /// How much.
        amount: Money,
        /// The request that is answered when it has ended.
        requester: Requester,
    },
    /// The authorization is being given up: nobody can capture it from now on.
    VoidStarted {
        /// Why, for instance `requested` or `expired`.
        reason: String,
        /// The request that is answered when it has ended, `None` where it has expired.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requester: Option<Requester>,
    },
    /// The money has moved.
    PaymentCompleted {
        /// The channel's transaction; none for a transfer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transaction_id: Option<TransactionId>,
        /// How much was taken.
        captured: Money,
    },
    /// It ended without money moved; a hold was given back in the same append.
    PaymentFailed {
        /// Why.
        reason: FailureReason,
    },
    /// An authorization was given up; its hold was given back in the same append.
    PaymentVoided {
        /// Why, for instance `requested` or `expired`.
        reason: String,
    },
    /// A part of the captured amount is on its way back.
    RefundStarted {
        /// The refund.
        refund_id: RefundId,
        /// How much.
        amount: Money,
        /// The request that is answered when it has ended. Absent in logs from before refunds could be
        /// asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requester: Option<Requester>,
    },
    /// It is back.
    RefundCompleted {
        /// The refund.
        refund_id: RefundId,
        /// How much.
        amount: Money,
        /// The channel's transaction.
        transaction_id: TransactionId,
    },
    /// It did not go back.
    RefundFailed {
        /// The refund.
        refund_id: RefundId,
        /// How much.
        amount: Money,
        /// The channel's reason.
        reason: String,
    },
    /// Asking the channel has not helped; an operator has to find out.
    ReviewRequired {
        /// What is not known.
        reason: String,
    },
    /// An operator found out.
    ReviewResolved {
        /// What they found.
        outcome: ReviewOutcome,
        /// Who it was.
        operator: String,
        /// How they know.
        reason: String,
    },
}

impl PaymentEvent {
    /// The event's name in the log, on Kafka and in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PaymentInitiated(_) => "PaymentInitiated",
            Self::RiskAssessed { .. } => "RiskAssessed",
            Self::PaymentRejected { .. } => "PaymentRejected",
            Self::FundsReserved { .. } => "FundsReserved",
            Self::ChannelOutcomeUnknown { .. } => "ChannelOutcomeUnknown",
            Self::PaymentAuthorized { .. } => "PaymentAuthorized",
            Self::CaptureStarted { .. } => "CaptureStarted",
            Self::VoidStarted { .. } => "VoidStarted",
            Self::PaymentCompleted { .. } => "PaymentCompleted",
            Self::PaymentFailed { .. } => "PaymentFailed",
            Self::PaymentVoided { .. } => "PaymentVoided",
            Self::RefundStarted { .. } => "RefundStarted",
            Self::RefundCompleted { .. } => "RefundCompleted",
            Self::RefundFailed { .. } => "RefundFailed",
            Self::ReviewRequired { .. } => "ReviewRequired",
            Self::ReviewResolved { .. } => "ReviewResolved",
        }
    }
}

impl DomainEvent for PaymentEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        self.written_version().to_owned()
    }
}

impl VersionedEvent for PaymentEvent {
    const UPCASTERS: &'static [Upcaster] = UPCASTERS;

    fn event_name(&self) -> &'static str {
        self.name()
    }
}
