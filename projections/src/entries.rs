//! `account_entries`: the statement, a line for each leg of a posting.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::account::FUNDING;
use domain::{AccountEvent, AccountId, Currency, Money, PaymentId, PostingId};
use uuid::Uuid;

use crate::balances::must_be_of;
use crate::read_model::{Fact, FoldError, Kind, LogEvent, ReadModel};

#[cfg(test)]
mod tests;

/// The read model of statements.
#[derive(Debug)]
pub enum AccountEntries {}

/// A line of a statement: one leg of a posting, with what it left the account with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountEntry {
    /// The account.
    pub account_id: AccountId,
    /// Position of the event that this line shows.
    pub position: i64,
    /// Id of that event.
    pub event_id: Uuid,
    /// Its name, for instance `HoldCaptured`.
    pub event_type: Cow<'static, str>,
    /// The posting that this is a leg of; its legs sum to zero.
    pub posting_id: PostingId,
    /// The payment that caused it, also by a refund; `None` for a deposit.
    pub payment_id: Option<PaymentId>,
    /// What was added; less than zero where money left.
    pub amount: Money,
    /// What was posted to the account behind this line, in minor units.
    pub balance: i64,
    /// The client's own name for a deposit or a withdrawal.
    pub reference: Option<String>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// What the next line of an account begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The currency of the account.
    pub currency: Currency,
    /// What was posted behind its last line, in minor units.
    pub balance: i64,
    /// Position of its last line.
    pub position: i64,
}

impl ReadModel for AccountEntries {
    const NAME: &'static str = "account_entries";
    const FOLD_SOURCE: &'static str = concat!(
        include_str!("entries.rs"),
        include_str!("../../domain/src/account/event.rs"),
        include_str!("../../domain/src/account/upcasters.rs")
    );
    const READS: Kind = Kind::Account;

    type Key = AccountId;
    type State = Running;
    type Line = AccountEntry;

    /// Only a leg of a posting is a line; a hold is a promise.
    fn key(fact: &Fact) -> Option<AccountId> {
        match fact {
            Fact::Account(account_id, happened) => posting(account_id, happened).map(|_| account_id.clone()),
            Fact::Payment(..) | Fact::Unreadable { .. } => None,
        }
    }

    fn apply(state: &mut Option<Running>, event: &LogEvent) -> Result<Option<AccountEntry>, FoldError> {
        let Fact::Account(account_id, happened) = &event.fact else { return Ok(None) };
        let Some((amount, posting_id, payment_id)) = posting(account_id, happened) else { return Ok(None) };
        let before = state.as_ref();
        if before.is_some_and(|before| event.position <= before.position) {
            return Ok(None);
        }
        if event.sequence == 1 {
            return Err(FoldError::NotBegun(format!("account {account_id}")));
        }
        // The opening is no line, so the first line says what the account is kept in.
        must_be_of(before.map_or(amount.currency, |before| before.currency), happened)?;
        let balance = before.map_or(0, |before| before.balance);
        let balance = balance.checked_add(happened.posted_minor()).ok_or(FoldError::Overflow)?;
        *state = Some(Running { currency: amount.currency, balance, position: event.position });
        Ok(Some(AccountEntry {
            account_id: account_id.clone(),
            position: event.position,
            event_id: event.event_id,
            event_type: Cow::Borrowed(happened.name()),
            posting_id,
            payment_id,
            amount: Money::new(happened.posted_minor(), amount.currency),
            balance,
            reference: reference(happened),
            recorded_at: event.recorded_at,
        }))
    }
}

/// The leg that an event is: its amount, its posting, and the payment that caused it.
fn posting(account_id: &AccountId, happened: &AccountEvent) -> Option<(Money, PostingId, Option<PaymentId>)> {
    use AccountEvent as E;
    match happened {
        E::FundsDeposited { posting_id, amount, .. } => Some((*amount, posting_id.clone(), None)),
        E::FundsWithdrawn { posting_id, amount, payment_id, .. } => {
            Some((*amount, posting_id.clone(), payment_id.clone()))
        }
        // The other leg of a deposit is on a funding account.
        E::FundsCredited { posting_id, amount, payment_id }
        | E::FundsDebited { posting_id, amount, payment_id } => {
            let of_posting = || (!account_id.is_of_system(FUNDING)).then(|| posting_id.payment());
            Some((*amount, posting_id.clone(), payment_id.clone().or_else(of_posting)))
        }
        E::HoldCaptured { payment_id, amount, .. } => {
            Some((*amount, PostingId::of_payment(payment_id), Some(payment_id.clone())))
        }
        E::AccountOpened(_)
        | E::FundsHeld { .. }
        | E::HoldReleased { .. }
        | E::AccountFrozen { .. }
        | E::AccountUnfrozen
        | E::AccountClosed => None,
    }
}

fn reference(happened: &AccountEvent) -> Option<String> {
    match happened {
        AccountEvent::FundsDeposited { reference, .. } | AccountEvent::FundsWithdrawn { reference, .. } => {
            (!reference.is_empty()).then(|| reference.clone())
        }
        _ => None,
    }
}
