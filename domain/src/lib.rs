//! What money may do, and what has happened to it.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`money`] | exact amounts in minor units, parsed and printed as ISO 4217 decimals |
//! | [`id`] | identifiers that are valid by construction, and how an account is found by its owner |
//! | [`account`] | one balance in one currency: postings, holds, freezing |
//! | [`payment`] | one promise to move money from a payer, exactly once; also the saga's memory |
//! | [`versions`] | older versions of events, read as today's; how to change an event |
//!
//! Start at [`account::Account::decide`] and [`payment::Payment::decide`]: every rule is there.
//!
//! **Invariant:** nothing in this crate reads a clock, draws a random number or does I/O. Times and
//! identifiers arrive inside commands, so that one history always rebuilds one state.

pub mod account;
pub mod id;
pub mod money;
pub mod payment;
pub mod versions;

pub use account::{Account, AccountCommand, AccountError, AccountEvent};
pub use id::{AccountId, PaymentId, PostingId, RefundId, TransactionId, UserId};
pub use money::{Currency, Money, MoneyError};
pub use payment::{Payment, PaymentCommand, PaymentError, PaymentEvent};
