//! Deposit, credit, debit.

use super::*;

#[test]
fn money_comes_in_and_leaves() {
    let history = [opened(), deposited(usd("10.00"))];
    given([opened()]).when(deposit(usd("10.00"))).then([deposited(usd("10.00"))]);
    given([opened()]).when(credit(usd("10.00"))).then([credited(usd("10.00"))]);
    given(history).when(debit(usd("10.00"))).then([debited(usd("10.00"))]);
}

#[test]
fn a_balance_is_what_came_in_less_what_left() {
    shows(
        [
            opened(),
            deposited(usd("10.00")),
            credited(usd("2.50")),
            withdrawn_at_once(usd("1.25")),
            debited(usd("0.25")),
            held(usd("4.00")),
        ],
        usd("11.00"),
        usd("4.00"),
        usd("7.00"),
    );
}

#[test]
fn a_user_cannot_spend_more_than_is_available() {
    let history = [opened(), deposited(usd("10.00"))];
    for spend in [debit(usd("10.01")), hold(usd("10.01"))] {
        given(history.clone()).when(spend).then_refused(insufficient(usd("10.00"), usd("10.01")));
    }
}

#[test]
fn what_is_held_is_not_available() {
    let history = [opened(), deposited(usd("10.00")), held(usd("9.00"))];
    for spend in [debit(usd("1.01")), hold_for(OTHER_PAYMENT, usd("1.01"))] {
        given(history.clone()).when(spend).then_refused(insufficient(usd("1.00"), usd("1.01")));
    }
    given(history).when(debit(usd("1.00"))).then([debited(usd("1.00"))]);
}

#[test]
fn a_system_account_may_go_below_zero() {
    given([system_opened()]).when(debit(usd("10.00"))).then([debited(usd("10.00"))]);
    given([system_opened()]).when(hold(usd("10.00"))).then([held(usd("10.00"))]);
    shows([system_opened(), debited(usd("10.00"))], minus(usd("10.00")), no_usd(), minus(usd("10.00")));
}

#[test]
fn money_may_enter_a_frozen_account_but_not_leave_it() {
    let history = [opened(), deposited(usd("10.00")), frozen()];
    given(history.clone()).when(deposit(usd("1.00"))).then([deposited(usd("1.00"))]);
    given(history.clone()).when(credit(usd("1.00"))).then([credited(usd("1.00"))]);
    for spend in [debit(usd("1.00")), hold(usd("1.00"))] {
        given(history.clone()).when(spend).then_refused(AccountError::Frozen);
    }
}

#[test]
fn money_may_leave_again_once_an_account_is_unfrozen() {
    given([opened(), deposited(usd("10.00")), frozen(), unfrozen()])
        .when(debit(usd("10.00")))
        .then([debited(usd("10.00"))]);
}

#[test]
fn a_frozen_system_account_gives_nothing_either() {
    given([system_opened(), frozen()]).when(debit(usd("1.00"))).then_refused(AccountError::Frozen);
}

#[test]
fn nothing_moves_on_a_closed_account() {
    let amount = usd("1.00");
    for command in [deposit(amount), credit(amount), debit(amount), hold(amount)] {
        given([opened(), closed()]).when(command).then_refused(AccountError::Closed);
    }
}

#[test]
fn an_account_takes_its_own_currency_only() {
    let amount = eur("1.00");
    let history = [opened(), deposited(usd("10.00")), held_for(OTHER_PAYMENT, usd("2.00"))];
    for command in [deposit(amount), credit(amount), debit(amount), hold(amount)] {
        given(history.clone()).when(command).then_refused(wrong_currency());
    }
}

#[test]
fn a_balance_that_cannot_be_booked_is_refused() {
    let history = [opened(), deposited(most())];
    given(history.clone()).when(deposit(usd("0.01"))).then_refused(AccountError::BalanceOverflow);
    given(history).when(credit(usd("0.01"))).then_refused(AccountError::BalanceOverflow);
}

#[test]
fn a_system_account_below_zero_has_a_limit_too() {
    let deep = [system_opened(), debited(most()), debited(usd("0.01"))];
    for spend in [debit(usd("0.01")), hold(usd("0.01"))] {
        given(deep.clone()).when(spend).then_refused(AccountError::BalanceOverflow);
    }
}

#[test]
fn the_largest_amount_comes_in_and_leaves_again() {
    given([opened()]).when(deposit(most())).then([deposited(most())]);
    given([opened(), deposited(most())]).when(debit(most())).then([debited(most())]);
    given([opened(), deposited(most())]).when(hold(most())).then([held(most())]);
}

#[test]
fn only_positive_amounts_move() {
    let history = [opened(), deposited(usd("25.00")), held(usd("10.00"))];
    for amount in [no_usd(), minus(usd("5.00"))] {
        let refusal = || AccountError::NotPositive { amount };
        let posting_id = posting();
        let reference = String::new();
        let commands = [
            AccountCommand::Credit { posting_id: posting_id.clone(), amount, payment_id: None },
            AccountCommand::Debit { posting_id: posting_id.clone(), amount, payment_id: None },
            AccountCommand::Deposit { posting_id, amount, reference },
            AccountCommand::Hold { payment_id: payment(OTHER_PAYMENT), amount },
            AccountCommand::Hold { payment_id: payment(PAYMENT), amount },
            AccountCommand::CaptureHold { payment_id: payment(PAYMENT), amount },
        ];
        for command in commands {
            given(history.clone()).when(command).then_refused(refusal());
        }
    }
}
