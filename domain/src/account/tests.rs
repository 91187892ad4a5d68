//! Each line of the account's rules as a sentence.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`given`] | given, when, then |
//! | [`opening`] | open, freeze, unfreeze, close |
//! | [`postings`] | deposit, credit, debit |
//! | [`holds`] | hold, capture, withdraw, release |
//!
//! Here is the vocabulary they share: the account is `USER_7`'s in USD, or the funding account.

mod given;
mod holds;
mod opening;
mod postings;

use given::{Given, replayed};

use super::{Account, AccountCommand, AccountError, AccountEvent, Opening, Owner};
use crate::id::{AccountId, PaymentId, PostingId, UserId};
use crate::money::{Currency, Money};

const PAYMENT: &str = "PAY_42";
const OTHER_PAYMENT: &str = "PAY_43";

fn given(history: impl IntoIterator<Item = AccountEvent>) -> Given<Account> {
    Given::new(history)
}

fn account(history: impl IntoIterator<Item = AccountEvent>) -> Account {
    replayed(history)
}

fn usd(decimal: &str) -> Money {
    Money::parse(decimal, Currency::USD).unwrap()
}

fn eur(decimal: &str) -> Money {
    Money::parse(decimal, Currency::EUR).unwrap()
}

fn no_usd() -> Money {
    Money::new(0, Currency::USD)
}

fn minus(amount: Money) -> Money {
    amount.negated()
}

fn most() -> Money {
    Money::new(i64::MAX, Currency::USD)
}

fn posting() -> PostingId {
    PostingId::parse("DEP_1").unwrap()
}

fn payment(id: &str) -> PaymentId {
    PaymentId::parse(id).unwrap()
}

fn users_opening() -> Opening {
    let user_id = UserId::parse("USER_7").unwrap();
    Opening {
        account_id: AccountId::of_user(&user_id, Currency::USD),
        owner: Owner::User { user_id },
        currency: Currency::USD,
    }
}

fn systems_opening() -> Opening {
    Opening {
        account_id: AccountId::of_system("funding", Currency::USD, 0).unwrap(),
        owner: Owner::System { purpose: "funding".to_owned() },
        currency: Currency::USD,
    }
}

// What has happened.

fn opened() -> AccountEvent {
    AccountEvent::AccountOpened(users_opening())
}

fn system_opened() -> AccountEvent {
    AccountEvent::AccountOpened(systems_opening())
}

fn deposited(amount: Money) -> AccountEvent {
    AccountEvent::FundsDeposited { posting_id: posting(), amount, reference: "salary".to_owned() }
}

/// Its hold is spent.
fn withdrawn(amount: Money) -> AccountEvent {
    let payment_id = Some(payment(PAYMENT));
    AccountEvent::FundsWithdrawn { posting_id: posting(), amount, reference: "rent".to_owned(), payment_id }
}

/// From before withdrawals went through the channel.
fn withdrawn_at_once(amount: Money) -> AccountEvent {
    let reference = "rent".to_owned();
    AccountEvent::FundsWithdrawn { posting_id: posting(), amount, reference, payment_id: None }
}

fn credited(amount: Money) -> AccountEvent {
    AccountEvent::FundsCredited { posting_id: posting(), amount, payment_id: None }
}

fn debited(amount: Money) -> AccountEvent {
    AccountEvent::FundsDebited { posting_id: posting(), amount, payment_id: None }
}

fn held(amount: Money) -> AccountEvent {
    AccountEvent::FundsHeld { payment_id: payment(PAYMENT), amount }
}

fn held_for(id: &str, amount: Money) -> AccountEvent {
    AccountEvent::FundsHeld { payment_id: payment(id), amount }
}

fn captured(amount: Money, released: Money) -> AccountEvent {
    AccountEvent::HoldCaptured { payment_id: payment(PAYMENT), amount, released }
}

fn released(amount: Money) -> AccountEvent {
    AccountEvent::HoldReleased { payment_id: payment(PAYMENT), amount }
}

fn frozen() -> AccountEvent {
    AccountEvent::AccountFrozen { reason: "reported stolen".to_owned() }
}

fn unfrozen() -> AccountEvent {
    AccountEvent::AccountUnfrozen
}

fn closed() -> AccountEvent {
    AccountEvent::AccountClosed
}

// What is asked.

fn open() -> AccountCommand {
    AccountCommand::Open(users_opening())
}

fn open_system() -> AccountCommand {
    AccountCommand::Open(systems_opening())
}

fn deposit(amount: Money) -> AccountCommand {
    AccountCommand::Deposit { posting_id: posting(), amount, reference: "salary".to_owned() }
}

fn withdraw() -> AccountCommand {
    let (payment_id, posting_id) = (payment(PAYMENT), posting());
    AccountCommand::Withdraw { payment_id, posting_id, reference: "rent".to_owned() }
}

fn credit(amount: Money) -> AccountCommand {
    AccountCommand::Credit { posting_id: posting(), amount, payment_id: None }
}

fn debit(amount: Money) -> AccountCommand {
    AccountCommand::Debit { posting_id: posting(), amount, payment_id: None }
}

fn hold(amount: Money) -> AccountCommand {
    AccountCommand::Hold { payment_id: payment(PAYMENT), amount }
}

fn hold_for(id: &str, amount: Money) -> AccountCommand {
    AccountCommand::Hold { payment_id: payment(id), amount }
}

fn capture(amount: Money) -> AccountCommand {
    AccountCommand::CaptureHold { payment_id: payment(PAYMENT), amount }
}

fn release() -> AccountCommand {
    AccountCommand::ReleaseHold { payment_id: payment(PAYMENT) }
}

fn freeze() -> AccountCommand {
    AccountCommand::Freeze { reason: "reported stolen".to_owned() }
}

fn unfreeze() -> AccountCommand {
    AccountCommand::Unfreeze
}

fn close() -> AccountCommand {
    AccountCommand::Close
}

// Why it is refused.

fn insufficient(available: Money, requested: Money) -> AccountError {
    AccountError::InsufficientFunds { available, requested }
}

fn no_hold() -> AccountError {
    AccountError::HoldNotFound { payment_id: payment(PAYMENT) }
}

fn wrong_currency() -> AccountError {
    AccountError::CurrencyMismatch { account: "USD", amount: "EUR" }
}

/// The three figures of a balance.
#[track_caller]
fn shows(history: impl IntoIterator<Item = AccountEvent>, posted: Money, held: Money, available: Money) {
    let account = account(history);
    assert_eq!(account.posted(), Some(posted), "posted");
    assert_eq!(account.held(), Some(held), "held");
    assert_eq!(account.available(), Some(available), "available");
}
