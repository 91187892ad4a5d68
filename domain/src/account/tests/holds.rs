//! Hold, capture, release.

use super::*;

fn with_hold() -> [AccountEvent; 3] {
    [opened(), deposited(usd("25.00")), held(usd("10.00"))]
}

#[test]
fn an_available_amount_can_be_held() {
    given([opened(), deposited(usd("25.00"))]).when(hold(usd("25.00"))).then([held(usd("25.00"))]);
    shows(with_hold(), usd("25.00"), usd("10.00"), usd("15.00"));
}

#[test]
fn holding_the_same_amount_twice_changes_nothing() {
    given(with_hold()).when(hold(usd("10.00"))).then_nothing();
}

#[test]
fn a_hold_is_repeated_even_on_an_account_that_could_not_hold_any_more() {
    let [opened, deposited, held] = with_hold();
    given([opened, deposited, held, debited(usd("15.00")), frozen()]).when(hold(usd("10.00"))).then_nothing();
}

#[test]
fn a_payment_cannot_hold_another_amount() {
    for amount in [usd("9.99"), usd("10.01")] {
        let refusal = AccountError::HoldExists { payment_id: payment(PAYMENT) };
        given(with_hold()).when(hold(amount)).then_refused(refusal);
    }
}

#[test]
fn each_payment_has_its_own_hold() {
    let other = held_for(OTHER_PAYMENT, usd("10.00"));
    given(with_hold()).when(hold_for(OTHER_PAYMENT, usd("10.00"))).then([other.clone()]);
    let [opened, deposited, held] = with_hold();
    let after = [opened, deposited, held, other, captured(usd("10.00"), no_usd())];
    shows(after, usd("15.00"), usd("10.00"), usd("5.00"));
}

#[test]
fn capturing_a_hold_spends_it() {
    given(with_hold()).when(capture(usd("10.00"))).then([captured(usd("10.00"), no_usd())]);
    let [opened, deposited, held] = with_hold();
    let after = [opened, deposited, held, captured(usd("10.00"), no_usd())];
    shows(after, usd("15.00"), no_usd(), usd("15.00"));
}

#[test]
fn what_is_withdrawn_is_all_of_a_hold() {
    given(with_hold()).when(withdraw()).then([withdrawn(usd("10.00"))]);
    let [opened, deposited, held] = with_hold();
    let after = [opened, deposited, held, withdrawn(usd("10.00"))];
    shows(after.clone(), usd("15.00"), no_usd(), usd("15.00"));
    let refusal = AccountError::HoldNotFound { payment_id: payment(PAYMENT) };
    given(after).when(withdraw()).then_refused(refusal);
}

#[test]
fn a_hold_is_withdrawn_from_a_frozen_account_too() {
    let [opened, deposited, held] = with_hold();
    given([opened, deposited, held, frozen()]).when(withdraw()).then([withdrawn(usd("10.00"))]);
}

#[test]
fn capturing_a_part_of_a_hold_releases_the_rest() {
    given(with_hold()).when(capture(usd("7.50"))).then([captured(usd("7.50"), usd("2.50"))]);
    let [opened, deposited, held] = with_hold();
    let after = [opened, deposited, held, captured(usd("7.50"), usd("2.50"))];
    shows(after, usd("17.50"), no_usd(), usd("17.50"));
}

#[test]
fn no_more_than_the_hold_can_be_captured() {
    let refusal = AccountError::CaptureTooLarge { held: usd("10.00"), requested: usd("10.01") };
    given(with_hold()).when(capture(usd("10.01"))).then_refused(refusal);
}

#[test]
fn a_hold_is_captured_in_the_accounts_currency() {
    given(with_hold()).when(capture(eur("10.00"))).then_refused(wrong_currency());
}

#[test]
fn releasing_a_hold_gives_all_of_it_back() {
    given(with_hold()).when(release()).then([released(usd("10.00"))]);
    let [opened, deposited, held] = with_hold();
    shows([opened, deposited, held, released(usd("10.00"))], usd("25.00"), no_usd(), usd("25.00"));
}

#[test]
fn a_hold_ends_once() {
    for end in [captured(usd("7.50"), usd("2.50")), released(usd("10.00"))] {
        let [opened, deposited, held] = with_hold();
        let ended = [opened, deposited, held, end];
        given(ended.clone()).when(capture(usd("1.00"))).then_refused(no_hold());
        given(ended).when(release()).then_refused(no_hold());
    }
}

#[test]
fn what_was_never_held_can_be_neither_captured_nor_released() {
    let history = [opened(), deposited(usd("25.00")), held_for(OTHER_PAYMENT, usd("10.00"))];
    given(history.clone()).when(capture(usd("10.00"))).then_refused(no_hold());
    given(history).when(release()).then_refused(no_hold());
    given([opened(), closed()]).when(release()).then_refused(no_hold());
}

#[test]
fn a_hold_can_be_captured_on_an_account_frozen_meanwhile() {
    let [opened, deposited, held] = with_hold();
    given([opened, deposited, held, frozen()])
        .when(capture(usd("10.00")))
        .then([captured(usd("10.00"), no_usd())]);
}

#[test]
fn a_hold_can_be_released_on_an_account_frozen_meanwhile() {
    let [opened, deposited, held] = with_hold();
    given([opened, deposited, held, frozen()]).when(release()).then([released(usd("10.00"))]);
}

#[test]
fn the_hold_of_a_system_account_can_be_captured() {
    given([system_opened(), held(usd("10.00"))])
        .when(capture(usd("10.00")))
        .then([captured(usd("10.00"), no_usd())]);
}

#[test]
fn a_hold_in_another_currency_is_no_repeat() {
    let refusal = AccountError::CurrencyMismatch { account: "USD", amount: "EUR" };
    given(with_hold()).when(hold(eur("10.00"))).then_refused(refusal);
}

#[test]
fn what_a_system_account_holds_stays_bookable() {
    let opening = AccountEvent::AccountOpened(systems_opening());
    let history = [opening, held_for(OTHER_PAYMENT, most())];
    given(history).when(hold(usd("0.01"))).then_refused(AccountError::BalanceOverflow);
}
