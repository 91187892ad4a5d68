//! What may be asked of an account.

use super::Opening;
use crate::id::{PaymentId, PostingId};
use crate::money::Money;

/// A request to an account. Amounts are positive; the command says in which direction they move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountCommand {
    /// Open it. Repeating it is refused for a user, and changes nothing for the system.
    Open(Opening),
    /// Money of a user comes in from outside.
    Deposit {
        /// The posting that also debits the funding account.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The client's own name for it.
        reference: String,
    },
    /// Set an amount aside for a payment.
    Hold {
        /// Whose hold it is.
        payment_id: PaymentId,
        /// How much.
        amount: Money,
    },
    /// Spend a hold, or a part of it; what is left of it is released.
    CaptureHold {
        /// Whose hold it is.
        payment_id: PaymentId,
        /// How much of it is spent.
        amount: Money,
    },
    /// Money of a user has left to outside: a hold is spent, all of it.
    Withdraw {
        /// Whose hold it is.
        payment_id: PaymentId,
        /// The posting that also credits settlement.
        posting_id: PostingId,
        /// The client's own name for it.
        reference: String,
    },
    /// Give a hold back.
    ReleaseHold {
        /// Whose hold it is.
        payment_id: PaymentId,
    },
    /// The receiving leg of a posting.
    Credit {
        /// The posting.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The payment that causes it, where the posting is not the payment's own: a refund.
        payment_id: Option<PaymentId>,
    },
    /// The giving leg of a posting.
    Debit {
        /// The posting.
        posting_id: PostingId,
        /// How much.
        amount: Money,
        /// The payment that causes it, where the posting is not the payment's own: a refund.
        payment_id: Option<PaymentId>,
    },
    /// Let nothing leave.
    Freeze {
        /// Why, for whoever looks later.
        reason: String,
    },
    /// Let money leave again.
    Unfreeze,
    /// Close it for good; it must be empty.
    Close,
}
