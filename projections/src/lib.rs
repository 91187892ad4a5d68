//! What the log says, folded: read models as pure functions of events and their positions.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`audit`] | the whole log once: gap-free, streams dense, every posting in balance, nobody below zero |
//! | [`trial_balance`] | posted and held per account, and the proof that every posting sums to zero |
//!
//! Start at [`TrialBalance::apply`].
//!
//! **Invariants:** a fold knows its position and ignores what it has seen, so that an event delivered
//! twice counts once. It has no `_` arm: a new kind of event must say what it does to a balance.
//! Nothing here does I/O; whoever reads the log calls the folds.

pub mod audit;
pub mod trial_balance;

pub use audit::{Audit, AuditError, Happened};
pub use trial_balance::{TrialBalance, TrialBalanceError};
