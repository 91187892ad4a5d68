//! The trial balance: what every account has, and whether the books balance.
//!
//! Start at [`TrialBalance::apply`]. Positions without an account event are told by
//! [`TrialBalance::skip`], so that every position of the log is accounted for and none can be lost.
//!
//! A posting has two or more legs, each an event of another account, all of one append. Between two
//! legs the books do not balance, and must not; at the end of each append they must:
//! [`TrialBalance::open_postings`] is zero there, and with it [`TrialBalance::sum`] of each currency.
//! What does not balance is named by [`TrialBalance::unbalanced`].
//!
//! **Invariants:** a failed event changes nothing, and the position stays in front of it. Memory is
//! bounded by the accounts and the open postings: a posting that sums to zero is forgotten.

mod legs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{Opening, Owner};
use domain::{AccountEvent, AccountId, Currency, PostingId};

use legs::{Movement, movement};

/// What one account has, in minor units of its currency.
///
/// The figures are wider than an account's own `i64`: the fold checks the log and must not fail where
/// a rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTotals {
    /// Who it belongs to.
    pub owner: Owner,
    /// The one currency of the account.
    pub currency: Currency,
    /// What has been booked.
    pub posted: i128,
    /// What is promised to payments under way.
    pub held: i128,
}

impl AccountTotals {
    /// What may be spent: `posted - held`.
    #[must_use]
    pub const fn available(&self) -> i128 {
        self.posted - self.held
    }

    /// Whether a rule was broken: a user has less than nothing, or gave back more than was held.
    fn is_overdrawn(&self) -> bool {
        match self.owner {
            Owner::User { .. } => self.available() < 0 || self.held < 0,
            Owner::System { .. } => false,
        }
    }
}

/// A posting whose legs do not sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPosting {
    /// The posting.
    pub posting_id: PostingId,
    /// The currency of these legs.
    pub currency: Currency,
    /// What its legs sum to so far, in minor units.
    pub sum: i128,
    /// Position of the leg that opened it.
    pub since: i64,
}

/// Why an event was not folded. The log is broken, or not read in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrialBalanceError {
    /// A position was skipped.
    #[error("position {expected} is missing, {found} came instead")]
    Gap {
        /// The position that had to come.
        expected: i64,
        /// The position that came.
        found: i64,
    },
    /// Something happened to an account that nobody opened.
    #[error("position {position} is about account {account_id}, which was never opened")]
    NotOpened {
        /// Where.
        position: i64,
        /// Which account.
        account_id: AccountId,
    },
    /// An account was opened a second time.
    #[error("position {position} opens account {account_id} again")]
    OpenedTwice {
        /// Where.
        position: i64,
        /// Which account.
        account_id: AccountId,
    },
    /// An amount is not in the currency of its account.
    #[error("position {position} moves {} on account {account_id}, which is in {}", moved.code(), account.code())]
    WrongCurrency {
        /// Where.
        position: i64,
        /// Which account.
        account_id: AccountId,
        /// The currency of the account.
        account: Currency,
        /// The currency of the amount.
        moved: Currency,
    },
}

/// The fold over all account events, in the order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialBalance {
    as_of: i64,
    accounts: BTreeMap<AccountId, AccountTotals>,
    sums: BTreeMap<Currency, i128>,
    // Postings under way, by currency too: legs sum to zero in each currency on its own.
    open: BTreeMap<(PostingId, Currency), OpenLegs>,
    // Kept beside the accounts, so that asking at every append costs nothing.
    overdrawn: BTreeSet<AccountId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenLegs {
    sum: i128,
    since: i64,
}

impl TrialBalance {
    /// Position of the last event that it has seen, 0 before the first.
    #[must_use]
    pub const fn as_of(&self) -> i64 {
        self.as_of
    }

    /// Folds an account's event at a position of the log. A position seen before changes nothing.
    ///
    /// # Errors
    /// [`TrialBalanceError`] says which position is wrong and why; nothing has changed then.
    pub fn apply(
        &mut self,
        position: i64,
        account_id: &AccountId,
        event: &AccountEvent,
    ) -> Result<(), TrialBalanceError> {
        if position <= self.as_of {
            return Ok(());
        }
        self.must_follow(position)?;
        match movement(event) {
            Movement::Opening(opening) => self.open(position, account_id, opening)?,
            Movement::None => self.must_be_open(position, account_id)?,
            Movement::Amounts { currency, posted, held, posting_id } => {
                self.move_amounts(position, account_id, currency, posted, held)?;
                if let Some(posting_id) = posting_id {
                    self.add_leg(position, posting_id, currency, posted);
                }
            }
        }
        self.as_of = position;
        Ok(())
    }

    /// Passes a position whose event is none of an account. A position seen before changes nothing.
    ///
    /// # Errors
    /// [`TrialBalanceError::Gap`] when a position before it is missing.
    pub fn skip(&mut self, position: i64) -> Result<(), TrialBalanceError> {
        if position > self.as_of {
            self.must_follow(position)?;
            self.as_of = position;
        }
        Ok(())
    }

    /// What an account has, `None` when it was never opened.
    #[must_use]
    pub fn account(&self, account_id: &AccountId) -> Option<&AccountTotals> {
        self.accounts.get(account_id)
    }

    /// Every account with what it has, by id.
    pub fn accounts(&self) -> impl Iterator<Item = (&AccountId, &AccountTotals)> {
        self.accounts.iter()
    }

    /// The sum of `posted` over all accounts of a currency, in minor units: zero at the end of each
    /// append.
    #[must_use]
    pub fn sum(&self, currency: Currency) -> i128 {
        self.sums.get(&currency).copied().unwrap_or_default()
    }

    /// The sum of `posted` for each currency that has an account.
    pub fn sums(&self) -> impl Iterator<Item = (Currency, i128)> {
        self.sums.iter().map(|(currency, sum)| (*currency, *sum))
    }

    /// How many postings do not sum to zero (yet): none at the end of each append.
    #[must_use]
    pub fn open_postings(&self) -> usize {
        self.open.len()
    }

    /// The postings that do not sum to zero (yet), by id.
    pub fn unbalanced(&self) -> impl Iterator<Item = OpenPosting> {
        self.open.iter().map(|((posting_id, currency), legs)| OpenPosting {
            posting_id: posting_id.clone(),
            currency: *currency,
            sum: legs.sum,
            since: legs.since,
        })
    }

    /// Users' accounts with less than zero available or held, by id: there must be none, ever.
    #[must_use]
    pub fn overdrawn(&self) -> Vec<&AccountId> {
        self.overdrawn.iter().collect()
    }

    const fn must_follow(&self, position: i64) -> Result<(), TrialBalanceError> {
        let expected = self.as_of + 1;
        if position == expected { Ok(()) } else { Err(TrialBalanceError::Gap { expected, found: position }) }
    }

    fn open(
        &mut self,
        position: i64,
        account_id: &AccountId,
        opening: &Opening,
    ) -> Result<(), TrialBalanceError> {
        if self.accounts.contains_key(account_id) {
            return Err(TrialBalanceError::OpenedTwice { position, account_id: account_id.clone() });
        }
        let totals =
            AccountTotals { owner: opening.owner.clone(), currency: opening.currency, posted: 0, held: 0 };
        self.accounts.insert(account_id.clone(), totals);
        self.sums.entry(opening.currency).or_default();
        Ok(())
    }

    fn must_be_open(&self, position: i64, account_id: &AccountId) -> Result<(), TrialBalanceError> {
        if self.accounts.contains_key(account_id) {
            Ok(())
        } else {
            Err(TrialBalanceError::NotOpened { position, account_id: account_id.clone() })
        }
    }

    fn move_amounts(
        &mut self,
        position: i64,
        account_id: &AccountId,
        currency: Currency,
        posted: i128,
        held: i128,
    ) -> Result<(), TrialBalanceError> {
        let Some(totals) = self.accounts.get_mut(account_id) else {
            return Err(TrialBalanceError::NotOpened { position, account_id: account_id.clone() });
        };
        if totals.currency != currency {
            return Err(TrialBalanceError::WrongCurrency {
                position,
                account_id: account_id.clone(),
                account: totals.currency,
                moved: currency,
            });
        }
        totals.posted += posted;
        totals.held += held;
        if totals.is_overdrawn() {
            self.overdrawn.insert(account_id.clone());
        } else {
            self.overdrawn.remove(account_id);
        }
        *self.sums.entry(currency).or_default() += posted;
        Ok(())
    }

    fn add_leg(&mut self, position: i64, posting_id: PostingId, currency: Currency, posted: i128) {
        let key = (posting_id, currency);
        let before = self.open.get(&key).copied().unwrap_or(OpenLegs { sum: 0, since: position });
        match before.sum + posted {
            0 => self.open.remove(&key),
            sum => self.open.insert(key, OpenLegs { sum, ..before }),
        };
    }
}
