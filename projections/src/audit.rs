//! The whole log, read once from its beginning: proof that it is what it must be.
//!
//! Start at [`Audit::apply`], once for each event in the order of positions, and end with
//! [`Audit::finish`].
//!
//! **Invariant:** what is wrong is named by the first position at which it shows. A fold that found
//! something wrong is at its end; what follows from it would only repeat it.

use std::collections::HashMap;

use domain::{AccountId, PaymentId, PostingId};

use crate::read_model::Fact;
use crate::trial_balance::{TrialBalance, TrialBalanceError};

/// Most events that one append has for one posting; legs further apart are in different appends.
const MOST_EVENTS_OF_A_POSTING: i64 = 64;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The books cannot be kept.
    #[error(transparent)]
    Books(#[from] TrialBalanceError),
    /// An event cannot be read.
    #[error("position {position} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        position: i64,
        /// Why not.
        reason: String,
    },
    /// A stream has a gap, or an event twice.
    #[error("position {position} is event {found} of {stream}, {expected} had to come")]
    Sequence {
        /// Where.
        position: i64,
        /// The aggregate.
        stream: String,
        /// The sequence that had to come.
        expected: i64,
        /// The sequence that came.
        found: i64,
    },
    /// The legs of a posting do not sum to zero within their append.
    #[error("posting {posting_id} that begins at position {position} is out of balance by {sum}")]
    Unbalanced {
        /// Its first leg.
        position: i64,
        /// The posting.
        posting_id: PostingId,
        /// What its legs sum to, in minor units.
        sum: i128,
    },
    /// A user has less than nothing.
    #[error("position {position} leaves account {account_id} with less than zero")]
    Overdrawn {
        /// Where.
        position: i64,
        /// The account.
        account_id: AccountId,
    },
    /// The log ends before its head.
    #[error("position {position} is missing: the log ends before its head at {head}")]
    EndMissing {
        /// The first position that is missing.
        position: i64,
        /// Where the log says that it ends.
        head: i64,
    },
}

impl AuditError {
    /// The first position at which it shows.
    #[must_use]
    pub const fn position(&self) -> i64 {
        match self {
            Self::Books(TrialBalanceError::Gap { expected, .. }) => *expected,
            Self::Books(
                TrialBalanceError::NotOpened { position, .. }
                | TrialBalanceError::OpenedTwice { position, .. }
                | TrialBalanceError::WrongCurrency { position, .. },
            )
            | Self::Unreadable { position, .. }
            | Self::Sequence { position, .. }
            | Self::Unbalanced { position, .. }
            | Self::Overdrawn { position, .. }
            | Self::EndMissing { position, .. } => *position,
        }
    }
}

/// The fold over the whole log. It remembers each account with its totals and each stream with its
/// length, so it grows with their number, not with that of the events.
#[derive(Debug, Default)]
pub struct Audit {
    books: TrialBalance,
    accounts: HashMap<AccountId, i64>,
    payments: HashMap<PaymentId, i64>,
}

impl Audit {
    /// Position of the last event that was found in order, 0 before the first.
    #[must_use]
    pub const fn as_of(&self) -> i64 {
        self.books.as_of()
    }

    /// The books as of that position.
    #[must_use]
    pub const fn books(&self) -> &TrialBalance {
        &self.books
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// [`AuditError`] names the first position at which something is wrong.
    pub fn apply(&mut self, position: i64, sequence: i64, fact: &Fact) -> Result<(), AuditError> {
        match fact {
            Fact::Unreadable { reason, .. } => {
                return Err(AuditError::Unreadable { position, reason: reason.clone() });
            }
            Fact::Account(account_id, event) => {
                self.books.apply(position, account_id, event)?;
                let last = self.accounts.entry(account_id.clone()).or_default();
                must_follow(position, sequence, last, || format!("account {account_id}"))?;
            }
            Fact::Payment(payment_id, _) => {
                self.books.skip(position)?;
                let last = self.payments.entry(payment_id.clone()).or_default();
                must_follow(position, sequence, last, || format!("payment {payment_id}"))?;
            }
        }
        self.must_balance(position - MOST_EVENTS_OF_A_POSTING)?;
        match self.books.overdrawn().first() {
            Some(account_id) => Err(AuditError::Overdrawn { position, account_id: (*account_id).clone() }),
            None => Ok(()),
        }
    }

    /// Ends the audit of a log whose head is at a position.
    ///
    /// # Errors
    /// [`AuditError`] when events at its end are missing, or a posting is out of balance.
    pub fn finish(&self, head: i64) -> Result<(), AuditError> {
        if self.as_of() < head {
            return Err(AuditError::EndMissing { position: self.as_of() + 1, head });
        }
        self.must_balance(self.as_of())
    }

    /// No posting that began at or before a position is out of balance.
    fn must_balance(&self, began_by: i64) -> Result<(), AuditError> {
        if self.books.open_postings() == 0 {
            return Ok(());
        }
        let oldest = self.books.unbalanced().min_by_key(|open| open.since);
        match oldest.filter(|open| open.since <= began_by) {
            Some(open) => Err(AuditError::Unbalanced {
                position: open.since,
                posting_id: open.posting_id,
                sum: open.sum,
            }),
            None => Ok(()),
        }
    }
}

fn must_follow(
    position: i64,
    sequence: i64,
    last: &mut i64,
    stream: impl FnOnce() -> String,
) -> Result<(), AuditError> {
    let expected = *last + 1;
    if sequence != expected {
        return Err(AuditError::Sequence { position, stream: stream(), expected, found: sequence });
    }
    *last = sequence;
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::account::{Opening, Owner};
    use domain::{AccountEvent, Currency, Money, UserId};

    use super::*;

    fn account(user: &str) -> (AccountId, Opening) {
        let user_id = UserId::parse(user).unwrap();
        let account_id = AccountId::of_user(&user_id, Currency::USD);
        let owner = Owner::User { user_id };
        (account_id.clone(), Opening { account_id, owner, currency: Currency::USD })
    }

    fn credited(posting: &str, minor: i64) -> AccountEvent {
        let posting_id = PostingId::parse(posting).unwrap();
        AccountEvent::FundsCredited { posting_id, amount: Money::new(minor, Currency::USD), payment_id: None }
    }

    fn debited(posting: &str, minor: i64) -> AccountEvent {
        let posting_id = PostingId::parse(posting).unwrap();
        AccountEvent::FundsDebited { posting_id, amount: Money::new(minor, Currency::USD), payment_id: None }
    }

    fn system() -> (AccountId, Opening) {
        let account_id = AccountId::of_system("funding", Currency::USD, 0).unwrap();
        let owner = Owner::System { purpose: "funding".to_owned() };
        (account_id.clone(), Opening { account_id, owner, currency: Currency::USD })
    }

    /// An audit that has seen a user's account (1) and funding (2) opened.
    fn begun() -> (Audit, AccountId, AccountId) {
        let mut audit = Audit::default();
        let ((user, opening), (funding, of_funding)) = (account("alice"), system());
        let opened = AccountEvent::AccountOpened(opening);
        audit.apply(1, 1, &Fact::Account(user.clone(), opened)).unwrap();
        let opened = AccountEvent::AccountOpened(of_funding);
        audit.apply(2, 1, &Fact::Account(funding.clone(), opened)).unwrap();
        (audit, user, funding)
    }

    #[test]
    fn a_log_in_order_passes() {
        let (mut audit, user, funding) = begun();
        audit.apply(3, 2, &Fact::Account(user.clone(), credited("p", 5))).unwrap();
        audit.apply(4, 2, &Fact::Account(funding.clone(), debited("p", 5))).unwrap();
        assert_eq!(audit.finish(4), Ok(()));
    }

    #[test]
    fn a_missing_position_is_named() {
        let (mut audit, user, _) = begun();
        let gap = audit.apply(4, 2, &Fact::Account(user.clone(), credited("p", 5))).unwrap_err();
        assert_eq!(gap.position(), 3);
        let (audit, ..) = begun();
        assert_eq!(audit.finish(5), Err(AuditError::EndMissing { position: 3, head: 5 }));
    }

    #[test]
    fn a_stream_out_of_order_is_named() {
        let (mut audit, user, _) = begun();
        let wrong = audit.apply(3, 3, &Fact::Account(user.clone(), credited("p", 5))).unwrap_err();
        assert!(matches!(wrong, AuditError::Sequence { position: 3, expected: 2, found: 3, .. }), "{wrong}");
    }

    #[test]
    fn a_posting_out_of_balance_is_named_by_its_first_leg() {
        let (mut audit, user, funding) = begun();
        audit.apply(3, 2, &Fact::Account(user.clone(), credited("p", 5))).unwrap();
        audit.apply(4, 2, &Fact::Account(funding.clone(), debited("p", 4))).unwrap();
        let wrong = audit.finish(4).unwrap_err();
        assert!(matches!(wrong, AuditError::Unbalanced { position: 3, sum: 1, .. }), "{wrong}");
        // Long before the end it is noticed, too.
        let noticed = (5..200).find_map(|position| {
            let event = credited(&format!("q{position}"), 1);
            let first = audit.apply(position, position - 2, &Fact::Account(user.clone(), event));
            first.err()
        });
        assert_eq!(noticed.map(|error| error.position()), Some(3));
    }

    #[test]
    fn a_user_below_zero_is_named() {
        let (mut audit, user, _) = begun();
        let wrong = audit.apply(3, 2, &Fact::Account(user.clone(), debited("p", 5))).unwrap_err();
        assert!(matches!(wrong, AuditError::Overdrawn { position: 3, .. }), "{wrong}");
    }
}
