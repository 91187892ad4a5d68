//! `account_balances`: what every account has now, a row for each.

use chrono::{DateTime, Utc};
use domain::account::{AccountStatus, Opening, Owner};
use domain::{AccountEvent, AccountId, Currency, UserId};
use uuid::Uuid;

use crate::read_model::{Fact, FoldError, Kind, LogEvent, ReadModel, must_fit};

#[cfg(test)]
mod tests;

/// The read model of balances.
#[derive(Debug)]
pub enum AccountBalances {}

/// A row: what an account has, in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBalance {
    /// The account.
    pub account_id: AccountId,
    /// Whose it is; `None` for the system's own.
    pub user_id: Option<UserId>,
    /// The one currency of the account.
    pub currency: Currency,
    /// Whether money may move.
    pub status: AccountStatus,
    /// What has been booked.
    pub posted: i64,
    /// What is promised to payments under way.
    pub held: i64,
    /// Position of the account's last event.
    pub position: i64,
    /// Id of that event.
    pub event_id: Uuid,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl ReadModel for AccountBalances {
    const NAME: &'static str = "account_balances";
    const FOLD_SOURCE: &'static str = concat!(
        include_str!("balances.rs"),
        include_str!("../../domain/src/account/event.rs"),
        include_str!("../../domain/src/account/upcasters.rs")
    );
    const READS: Kind = Kind::Account;

    type Key = AccountId;
    type State = AccountBalance;
    type Line = ();

    fn key(fact: &Fact) -> Option<AccountId> {
        match fact {
            Fact::Account(account_id, _) => Some(account_id.clone()),
            Fact::Payment(..) | Fact::Unreadable { .. } => None,
        }
    }

    fn apply(state: &mut Option<AccountBalance>, event: &LogEvent) -> Result<Option<()>, FoldError> {
        let Fact::Account(account_id, happened) = &event.fact else { return Ok(None) };
        match (state.as_mut(), happened) {
            (None, AccountEvent::AccountOpened(opening)) => *state = Some(opened(opening, event)),
            (None, _) => return Err(FoldError::NotBegun(format!("account {account_id}"))),
            // Counted already: a row is never older than its checkpoint, but may be newer.
            (Some(row), _) if event.position <= row.position => {}
            (Some(_), AccountEvent::AccountOpened(_)) => {
                return Err(FoldError::BegunTwice(format!("account {account_id}")));
            }
            (Some(row), happened) => {
                (row.posted, row.held) = moved(row, happened)?;
                row.status = status(happened).unwrap_or(row.status);
                row.position = event.position;
                row.event_id = event.event_id;
                row.recorded_at = event.recorded_at;
            }
        }
        Ok(None)
    }
}

fn opened(opening: &Opening, event: &LogEvent) -> AccountBalance {
    AccountBalance {
        account_id: opening.account_id.clone(),
        user_id: match &opening.owner {
            Owner::User { user_id } => Some(user_id.clone()),
            Owner::System { .. } => None,
        },
        currency: opening.currency,
        status: AccountStatus::Active,
        posted: 0,
        held: 0,
        position: event.position,
        event_id: event.event_id,
        recorded_at: event.recorded_at,
    }
}

/// `posted` and `held` after an event.
fn moved(row: &AccountBalance, happened: &AccountEvent) -> Result<(i64, i64), FoldError> {
    must_be_of(row.currency, happened)?;
    let posted = row.posted.checked_add(happened.posted_minor());
    let held = row.held.checked_add(happened.held_minor());
    posted.zip(held).ok_or(FoldError::Overflow)
}

/// The amounts of an event must be such that an account in this currency can have decided them.
pub(crate) fn must_be_of(account: Currency, happened: &AccountEvent) -> Result<(), FoldError> {
    let Some(amount) = happened.amount() else { return Ok(()) };
    must_fit(account, amount)?;
    if let AccountEvent::HoldCaptured { released, .. } = happened {
        must_fit(account, *released)?;
        // Both are parts of one hold, which did fit.
        amount.minor.checked_add(released.minor).ok_or(FoldError::Overflow)?;
    }
    Ok(())
}

fn status(happened: &AccountEvent) -> Option<AccountStatus> {
    use AccountEvent as E;
    match happened {
        E::AccountOpened(_) | E::AccountUnfrozen => Some(AccountStatus::Active),
        E::AccountFrozen { .. } => Some(AccountStatus::Frozen),
        E::AccountClosed => Some(AccountStatus::Closed),
        E::FundsDeposited { .. }
        | E::FundsWithdrawn { .. }
        | E::FundsHeld { .. }
        | E::HoldCaptured { .. }
        | E::HoldReleased { .. }
        | E::FundsCredited { .. }
        | E::FundsDebited { .. } => None,
    }
}
