//! What has happened to an account.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::Opening;
use super::upcasters::UPCASTERS;
use crate::id::{PaymentId, PostingId, UserId};
use crate::money::Money;
use crate::versions::{Upcaster, VersionedEvent};

/// Who an account belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A client's user; never below zero.
    User {
        /// The user.
        user_id: UserId,
    },
    /// The engine itself, for instance `settlement:card`; may go below zero.
    System {
        /// What the account is for.
        purpose: String,
    },
}

/// A fact about an account. Amounts are positive; the name says the direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    /// The account exists from now on.
    AccountOpened(Opening),
    /// Money came in from outside.
    FundsDeposited {
        /// The posting that this is a leg of.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The client's own name for it.
        reference: String,
    },
    /// Money left to outside.
    FundsWithdrawn {
        /// The posting that this is a leg of.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The client's own name for it.
        reference: String,
        /// The payment whose hold was spent. Absent in logs from before withdrawals went through the channel:
        /// those held nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_id: Option<PaymentId>,
    },
    /// An amount was set aside for a payment.
    FundsHeld {
        /// Whose hold it is.
        payment_id: PaymentId,
        /// How much.
        amount: Money,
    },
    /// A hold was spent.
    HoldCaptured {
        /// Whose hold it was.
        payment_id: PaymentId,
        /// How much was spent.
        amount: Money,
        /// What was left of the hold and given back.
        released: Money,
    },
    /// A hold was given back.
    HoldReleased {
        /// Whose hold it was.
        payment_id: PaymentId,
        /// How much.
        amount: Money,
    },
    /// The receiving leg of a posting.
    FundsCredited {
        /// The posting that this is a leg of.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The payment that caused it, where the posting is not the payment's own: a refund.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_id: Option<PaymentId>,
    },
    /// The giving leg of a posting.
    FundsDebited {
        /// The posting that this is a leg of.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The payment that caused it, where the posting is not the payment's own: a refund.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_id: Option<PaymentId>,
    },
    /// Nothing may leave from now on.
    AccountFrozen {
        /// Why.
        reason: String,
    },
    /// Money may leave again.
    AccountUnfrozen,
    /// Nothing will move again.
    AccountClosed,
}

impl AccountEvent {
    /// What this event adds to `posted`, in minor units: its leg of a posting. The legs of one
    /// posting sum to zero.
    #[must_use]
    pub const fn posted_minor(&self) -> i64 {
        match self {
            Self::FundsDeposited { amount, .. } | Self::FundsCredited { amount, .. } => amount.minor,
            Self::FundsWithdrawn { amount, .. }
            | Self::FundsDebited { amount, .. }
            | Self::HoldCaptured { amount, .. } => -amount.minor,
            Self::AccountOpened(_)
            | Self::FundsHeld { .. }
            | Self::HoldReleased { .. }
            | Self::AccountFrozen { .. }
            | Self::AccountUnfrozen
            | Self::AccountClosed => 0,
        }
    }

    /// What this event adds to `held`, in minor units.
    #[must_use]
    pub const fn held_minor(&self) -> i64 {
        match self {
            Self::FundsHeld { amount, .. } => amount.minor,
            Self::HoldReleased { amount, .. } | Self::FundsWithdrawn { amount, payment_id: Some(_), .. } => {
                -amount.minor
            }
            Self::HoldCaptured { amount, released, .. } => -(amount.minor + released.minor),
            Self::AccountOpened(_)
            | Self::FundsDeposited { .. }
            | Self::FundsWithdrawn { payment_id: None, .. }
            | Self::FundsCredited { .. }
            | Self::FundsDebited { .. }
            | Self::AccountFrozen { .. }
            | Self::AccountUnfrozen
            | Self::AccountClosed => 0,
        }
    }

    /// The amount that this event is about, `None` where none is moved.
    #[must_use]
    pub const fn amount(&self) -> Option<Money> {
        match self {
            Self::FundsDeposited { amount, .. }
            | Self::FundsWithdrawn { amount, .. }
            | Self::FundsHeld { amount, .. }
            | Self::HoldCaptured { amount, .. }
            | Self::HoldReleased { amount, .. }
            | Self::FundsCredited { amount, .. }
            | Self::FundsDebited { amount, .. } => Some(*amount),
            Self::AccountOpened(_)
            | Self::AccountFrozen { .. }
            | Self::AccountUnfrozen
            | Self::AccountClosed => None,
        }
    }

    /// The event's name in the log, on Kafka and in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AccountOpened(_) => "AccountOpened",
            Self::FundsDeposited { .. } => "FundsDeposited",
            Self::FundsWithdrawn { .. } => "FundsWithdrawn",
            Self::FundsHeld { .. } => "FundsHeld",
            Self::HoldCaptured { .. } => "HoldCaptured",
            Self::HoldReleased { .. } => "HoldReleased",
            Self::FundsCredited { .. } => "FundsCredited",
            Self::FundsDebited { .. } => "FundsDebited",
            Self::AccountFrozen { .. } => "AccountFrozen",
            Self::AccountUnfrozen => "AccountUnfrozen",
            Self::AccountClosed => "AccountClosed",
        }
    }
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        self.written_version().to_owned()
    }
}

impl VersionedEvent for AccountEvent {
    const UPCASTERS: &'static [Upcaster] = UPCASTERS;

    fn event_name(&self) -> &'static str {
        self.name()
    }
}
