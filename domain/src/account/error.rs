//! Why an account refuses. Each is an answer for the caller; storage and network never appear here.

use crate::id::{AccountId, PaymentId};
use crate::money::Money;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// It was never opened.
    #[error("the account does not exist")]
    NotFound,
    /// It is open already.
    #[error("account {account_id} is already open")]
    AlreadyOpen {
        /// The account that is open.
        account_id: AccountId,
    },
    /// A user's available balance would go below zero.
    #[error("{available:?} is available, {requested:?} is needed")]
    InsufficientFunds {
        /// What may be spent now.
        available: Money,
        /// What was asked for.
        requested: Money,
    },
    /// Nothing may leave.
    #[error("the account is frozen")]
    Frozen,
    /// Nothing may move.
    #[error("the account is closed")]
    Closed,
    /// What clients may ask of an account is for users' accounts.
    #[error("the account is the system's; it moves only with payments, deposits and withdrawals")]
    OfTheSystem,
    /// Only an empty account may be closed.
    #[error("the account still has money posted or held")]
    NotEmpty,
    /// An account has one currency.
    #[error("the account is kept in {account}, the amount is in {amount}")]
    CurrencyMismatch {
        /// Currency of the account.
        account: &'static str,
        /// Currency of the amount.
        amount: &'static str,
    },
    /// Amounts are positive; the command says the direction.
    #[error("{amount:?} is not an amount that can move")]
    NotPositive {
        /// What was asked for.
        amount: Money,
    },
    /// The balance would not fit into 63 bits of minor units.
    #[error("the balance would become larger than this engine can book")]
    BalanceOverflow,
    /// A payment has one hold.
    #[error("payment {payment_id} already holds another amount")]
    HoldExists {
        /// Whose hold it is.
        payment_id: PaymentId,
    },
    /// The payment holds nothing here (any more).
    #[error("payment {payment_id} holds nothing on this account")]
    HoldNotFound {
        /// Whose hold was looked for.
        payment_id: PaymentId,
    },
    /// A capture is limited by its hold.
    #[error("{held:?} is held, {requested:?} cannot be captured")]
    CaptureTooLarge {
        /// What is held.
        held: Money,
        /// What was asked for.
        requested: Money,
    },
}
