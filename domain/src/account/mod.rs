//! An account: one balance in one currency, of a user or of the system.
//!
//! ```text
//! Unopened ──► Active ◄──► Frozen        posted     what has been booked
//!                 └──► Closed            held       promised to payments under way
//!                                        available  posted - held
//! ```
//!
//! Start at [`Account::decide`]: every rule about when money may move is in that one function.
//! [`Account::apply`] holds no rules; it records what has already happened.
//!
//! **Invariants:** a user's account never has less than zero available; a system account (funding,
//! settlement, fees) may. A hold is the payment's: captured or released once, whatever the status,
//! since the channel may have charged while the account was being frozen.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;
mod upcasters;

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

pub use command::AccountCommand;
pub use error::AccountError;
pub use event::{AccountEvent, Owner};

use crate::id::{AccountId, PaymentId};
use crate::money::{Currency, Money};

/// The source of the fold: what events mean, and how older ones are read. A snapshot made by another
/// fold is thrown away and replayed, so a change here needs no version number that somebody could
/// forget to raise.
pub const FOLD_SOURCE: &str =
    concat!(include_str!("mod.rs"), include_str!("event.rs"), include_str!("upcasters.rs"));

/// The purpose of the system accounts on which deposits have their other leg.
pub const FUNDING: &str = "funding";

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Nothing has happened yet.
    #[default]
    Unopened,
    /// Money may move.
    Active,
    /// Money may come in, and payments under way may end; nothing else leaves.
    Frozen,
    /// Nothing may move again.
    Closed,
}

impl AccountStatus {
    /// The status of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Unopened, Self::Active, Self::Frozen, Self::Closed].into_iter().find(|s| s.name() == name)
    }

    /// The name used in the API and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }
}

/// Who an account belongs to and what it is kept in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The account's own id.
    pub account_id: AccountId,
    /// A user, or a purpose of the system.
    pub owner: Owner,
    /// The one currency of the account.
    pub currency: Currency,
}

/// State of one account, rebuilt from its events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Absent until the account is opened.
    pub opening: Option<Opening>,
    /// Whether money may move.
    pub status: AccountStatus,
    posted: i64,
    held: i64,
    holds: BTreeMap<PaymentId, i64>,
}

impl Account {
    /// What has been booked, `None` before the account is opened.
    #[must_use]
    pub fn posted(&self) -> Option<Money> {
        self.in_currency(self.posted)
    }

    /// What is promised to payments under way.
    #[must_use]
    pub fn held(&self) -> Option<Money> {
        self.in_currency(self.held)
    }

    /// What may be spent: `posted - held`.
    #[must_use]
    pub fn available(&self) -> Option<Money> {
        self.in_currency(self.available_minor())
    }

    /// Decides a command on this state: the events that follow, none when it has already happened.
    ///
    /// # Errors
    /// [`AccountError`] is the refusal, an answer for whoever asked.
    pub fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        use AccountCommand as C;
        use AccountEvent as E;
        self.may_be_asked(&command)?;
        match command {
            C::Open(opening) => return self.decide_open(opening),
            C::Freeze { reason } => return self.decide_freeze(reason),
            C::Unfreeze => return self.decide_unfreeze(),
            C::Close => return self.decide_close(),
            _ => {}
        }
        let currency = self.opened()?.currency;
        let event = match command {
            C::Deposit { posting_id, amount, reference } => {
                self.may_receive(amount, currency)?;
                E::FundsDeposited { posting_id, amount, reference }
            }
            C::Credit { posting_id, amount, payment_id } => {
                self.may_receive(amount, currency)?;
                E::FundsCredited { posting_id, amount, payment_id }
            }
            C::Debit { posting_id, amount, payment_id } => {
                self.may_spend(amount, currency)?;
                E::FundsDebited { posting_id, amount, payment_id }
            }
            C::Hold { payment_id, amount } => {
                booked_in(amount, currency)?;
                match self.holds.get(&payment_id) {
                    Some(held) if *held == amount.minor => return Ok(vec![]),
                    Some(_) => return Err(AccountError::HoldExists { payment_id }),
                    None => self.may_spend(amount, currency)?,
                }
                E::FundsHeld { payment_id, amount }
            }
            C::CaptureHold { payment_id, amount } => {
                self.may_capture(&payment_id, amount, currency)?;
                let released = Money::new(self.held_for(&payment_id)? - amount.minor, currency);
                E::HoldCaptured { payment_id, amount, released }
            }
            C::Withdraw { payment_id, posting_id, reference } => {
                let amount = Money::new(self.held_for(&payment_id)?, currency);
                E::FundsWithdrawn { posting_id, amount, reference, payment_id: Some(payment_id) }
            }
            C::ReleaseHold { payment_id } => {
                let amount = Money::new(self.held_for(&payment_id)?, currency);
                E::HoldReleased { payment_id, amount }
            }
            C::Open(_) | C::Freeze { .. } | C::Unfreeze | C::Close => return Ok(vec![]),
        };
        Ok(vec![event])
    }

    /// A system account that was frozen or closed would stop every payment.
    fn may_be_asked(&self, command: &AccountCommand) -> Result<(), AccountError> {
        use AccountCommand as C;
        let is_clients = match command {
            C::Deposit { .. } | C::Withdraw { .. } | C::Freeze { .. } | C::Unfreeze | C::Close => true,
            C::Open(_)
            | C::Hold { .. }
            | C::CaptureHold { .. }
            | C::ReleaseHold { .. }
            | C::Credit { .. }
            | C::Debit { .. } => false,
        };
        match self.opening.as_ref().map(|opening| &opening.owner) {
            Some(Owner::System { .. }) if is_clients => Err(AccountError::OfTheSystem),
            Some(Owner::System { .. } | Owner::User { .. }) | None => Ok(()),
        }
    }

    fn decide_open(&self, opening: Opening) -> Result<Vec<AccountEvent>, AccountError> {
        match &self.opening {
            None => Ok(vec![AccountEvent::AccountOpened(opening)]),
            // Opening a system account is how a process makes sure that it is there.
            Some(existing) if *existing == opening && matches!(opening.owner, Owner::System { .. }) => {
                Ok(vec![])
            }
            Some(_) => Err(AccountError::AlreadyOpen { account_id: opening.account_id }),
        }
    }

    fn decide_freeze(&self, reason: String) -> Result<Vec<AccountEvent>, AccountError> {
        match self.status {
            AccountStatus::Active => Ok(vec![AccountEvent::AccountFrozen { reason }]),
            AccountStatus::Frozen => Ok(vec![]),
            AccountStatus::Closed => Err(AccountError::Closed),
            AccountStatus::Unopened => Err(AccountError::NotFound),
        }
    }

    fn decide_unfreeze(&self) -> Result<Vec<AccountEvent>, AccountError> {
        match self.status {
            AccountStatus::Frozen => Ok(vec![AccountEvent::AccountUnfrozen]),
            AccountStatus::Active => Ok(vec![]),
            AccountStatus::Closed => Err(AccountError::Closed),
            AccountStatus::Unopened => Err(AccountError::NotFound),
        }
    }

    fn decide_close(&self) -> Result<Vec<AccountEvent>, AccountError> {
        match self.status {
            AccountStatus::Closed => Ok(vec![]),
            AccountStatus::Unopened => Err(AccountError::NotFound),
            AccountStatus::Active | AccountStatus::Frozen if self.posted != 0 || self.held != 0 => {
                Err(AccountError::NotEmpty)
            }
            AccountStatus::Active | AccountStatus::Frozen => Ok(vec![AccountEvent::AccountClosed]),
        }
    }

    fn opened(&self) -> Result<&Opening, AccountError> {
        self.opening.as_ref().ok_or(AccountError::NotFound)
    }

    fn may_receive(&self, amount: Money, currency: Currency) -> Result<(), AccountError> {
        booked_in(amount, currency)?;
        if self.status == AccountStatus::Closed {
            return Err(AccountError::Closed);
        }
        match self.posted.checked_add(amount.minor) {
            Some(_) => Ok(()),
            None => Err(AccountError::BalanceOverflow),
        }
    }

    fn may_spend(&self, amount: Money, currency: Currency) -> Result<(), AccountError> {
        booked_in(amount, currency)?;
        match self.status {
            AccountStatus::Frozen => return Err(AccountError::Frozen),
            AccountStatus::Closed => return Err(AccountError::Closed),
            AccountStatus::Active | AccountStatus::Unopened => {}
        }
        let is_users = matches!(self.opened()?.owner, Owner::User { .. });
        if is_users && self.available_minor() < amount.minor {
            let available = Money::new(self.available_minor(), currency);
            return Err(AccountError::InsufficientFunds { available, requested: amount });
        }
        // Both sums must fit: a hold adds to `held`, and a debit takes from `posted`.
        let sums = self.held.checked_add(amount.minor).and_then(|_| self.posted.checked_sub(amount.minor));
        let left = sums.and_then(|_| self.available_minor().checked_sub(amount.minor));
        left.map(|_| ()).ok_or(AccountError::BalanceOverflow)
    }

    fn may_capture(
        &self,
        payment: &PaymentId,
        amount: Money,
        currency: Currency,
    ) -> Result<(), AccountError> {
        booked_in(amount, currency)?;
        let held = Money::new(self.held_for(payment)?, currency);
        if amount.minor > held.minor {
            return Err(AccountError::CaptureTooLarge { held, requested: amount });
        }
        Ok(())
    }

    fn held_for(&self, payment_id: &PaymentId) -> Result<i64, AccountError> {
        self.holds
            .get(payment_id)
            .copied()
            .ok_or_else(|| AccountError::HoldNotFound { payment_id: payment_id.clone() })
    }

    // `may_spend` lets `available` only become what fits.
    const fn available_minor(&self) -> i64 {
        self.posted - self.held
    }

    fn in_currency(&self, minor: i64) -> Option<Money> {
        self.opening.as_ref().map(|opening| Money::new(minor, opening.currency))
    }
}

/// An amount that may move on an account kept in `currency`.
fn booked_in(amount: Money, currency: Currency) -> Result<(), AccountError> {
    if amount.currency != currency {
        return Err(AccountError::CurrencyMismatch {
            account: currency.code(),
            amount: amount.currency.code(),
        });
    }
    if amount.is_positive() { Ok(()) } else { Err(AccountError::NotPositive { amount }) }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        use AccountEvent as E;
        self.posted += event.posted_minor();
        self.held += event.held_minor();
        match event {
            E::AccountOpened(opening) => {
                self.opening = Some(opening);
                self.status = AccountStatus::Active;
            }
            E::FundsHeld { payment_id, amount } => {
                self.holds.insert(payment_id, amount.minor);
            }
            E::HoldCaptured { payment_id, .. }
            | E::HoldReleased { payment_id, .. }
            | E::FundsWithdrawn { payment_id: Some(payment_id), .. } => {
                self.holds.remove(&payment_id);
            }
            E::AccountFrozen { .. } => self.status = AccountStatus::Frozen,
            E::AccountUnfrozen => self.status = AccountStatus::Active,
            E::AccountClosed => self.status = AccountStatus::Closed,
            E::FundsDeposited { .. }
            | E::FundsWithdrawn { payment_id: None, .. }
            | E::FundsCredited { .. }
            | E::FundsDebited { .. } => {}
        }
    }
}
