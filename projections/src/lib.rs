//! What the log says, folded: read models as pure functions of events and their positions.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`read_model`] | what every read model is, and how a stretch of the log goes through one |
//! | [`balances`], [`entries`], [`payments`] | the read models |
//! | [`ports`] | what readers of the read models call |
//! | [`audit`] | the whole log once: gap-free, streams dense, every posting in balance, nobody below zero |
//! | [`trial_balance`] | posted and held per account, and the proof that every posting sums to zero |
//!
//! Start at [`ReadModel`].
//!
//! **Invariants:** a fold knows its position and ignores what it has seen, so that an event delivered
//! twice counts once. It has no `_` arm: a new kind of event must say what it does to a balance.
//! Nothing here does I/O; whoever reads the log calls the folds.

pub mod audit;
pub mod balances;
pub mod entries;
#[cfg(test)]
mod examples;
pub mod payments;
pub mod ports;
pub mod read_model;
pub mod trial_balance;

pub use balances::{AccountBalance, AccountBalances};
pub use entries::{AccountEntries, AccountEntry};
pub use payments::{PaymentRow, Payments};
pub use read_model::{Changes, Fact, FoldError, Folded, Kind, LogEvent, ReadModel, Rows, Stopped};

pub use audit::{Audit, AuditError};
pub use trial_balance::{TrialBalance, TrialBalanceError};
