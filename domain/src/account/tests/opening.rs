//! Open, freeze, unfreeze, close.

use super::super::AccountStatus;
use super::*;

#[test]
fn opening_begins_an_account_with_nothing_in_it() {
    given([]).when(open()).then([opened()]);
    shows([opened()], no_usd(), no_usd(), no_usd());
}

#[test]
fn an_account_that_was_never_opened_has_no_balance() {
    let nothing = account([]);
    assert_eq!(nothing.status, AccountStatus::Unopened);
    assert_eq!((nothing.posted(), nothing.held(), nothing.available()), (None, None, None));
}

#[test]
fn a_user_cannot_open_an_account_twice() {
    let account_id = users_opening().account_id;
    given([opened()]).when(open()).then_refused(AccountError::AlreadyOpen { account_id });
}

#[test]
fn opening_a_system_account_again_changes_nothing() {
    given([system_opened()]).when(open_system()).then_nothing();
}

#[test]
fn a_system_account_cannot_be_opened_again_for_something_else() {
    let mut other = systems_opening();
    other.currency = Currency::EUR;
    let account_id = other.account_id.clone();
    given([system_opened()])
        .when(AccountCommand::Open(other))
        .then_refused(AccountError::AlreadyOpen { account_id });
}

#[test]
fn a_closed_account_cannot_be_opened_again() {
    let account_id = users_opening().account_id;
    given([opened(), closed()]).when(open()).then_refused(AccountError::AlreadyOpen { account_id });
}

#[test]
fn an_active_account_can_be_frozen_and_unfrozen() {
    given([opened()]).when(freeze()).then([frozen()]);
    given([opened(), frozen()]).when(unfreeze()).then([unfrozen()]);
}

#[test]
fn freezing_a_frozen_account_changes_nothing() {
    given([opened(), frozen()]).when(freeze()).then_nothing();
}

#[test]
fn unfreezing_an_active_account_changes_nothing() {
    given([opened()]).when(unfreeze()).then_nothing();
    given([opened(), frozen(), unfrozen()]).when(unfreeze()).then_nothing();
}

#[test]
fn a_closed_account_can_be_neither_frozen_nor_unfrozen() {
    given([opened(), closed()]).when(freeze()).then_refused(AccountError::Closed);
    given([opened(), closed()]).when(unfreeze()).then_refused(AccountError::Closed);
}

#[test]
fn an_empty_account_can_be_closed() {
    given([opened()]).when(close()).then([closed()]);
    given([opened(), frozen()]).when(close()).then([closed()]);
    given([opened(), deposited(usd("5.00")), held(usd("5.00")), withdrawn(usd("5.00"))])
        .when(close())
        .then([closed()]);
}

#[test]
fn closing_a_closed_account_changes_nothing() {
    given([opened(), closed()]).when(close()).then_nothing();
}

#[test]
fn an_account_with_money_cannot_be_closed() {
    given([opened(), deposited(usd("0.01"))]).when(close()).then_refused(AccountError::NotEmpty);
    given([opened(), deposited(usd("0.01")), frozen()]).when(close()).then_refused(AccountError::NotEmpty);
}

#[test]
fn what_clients_ask_of_accounts_is_not_for_those_of_the_system() {
    let asked = [deposit(usd("1.00")), withdraw(), freeze(), unfreeze(), close()];
    for command in asked {
        given([system_opened()]).when(command).then_refused(AccountError::OfTheSystem);
    }
}

#[test]
fn nothing_can_be_asked_of_an_account_that_was_never_opened() {
    let amount = usd("1.00");
    let commands = [
        deposit(amount),
        withdraw(),
        credit(amount),
        debit(amount),
        hold(amount),
        capture(amount),
        release(),
        freeze(),
        unfreeze(),
        close(),
    ];
    for command in commands {
        given([]).when(command).then_refused(AccountError::NotFound);
    }
}
