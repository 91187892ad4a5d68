use super::*;
use crate::examples::{
    alice, alices, captured, credited, debited, deposited, event_id, frozen, funding, funding_opened, held,
    jpy, opened, paid_out, recorded, released, time, to_alice, to_payment, usd, withdrawn,
};

/// The row after events at positions 1, 2, ...
fn row(history: &[AccountEvent]) -> AccountBalance {
    let mut state = None;
    for (position, event) in (1..).zip(history) {
        AccountBalances::apply(&mut state, &to_alice(position, event.clone())).unwrap();
    }
    state.unwrap()
}

/// Why the next event is refused. Fails the test when the row has changed.
fn refused(history: &[AccountEvent], event: AccountEvent) -> FoldError {
    let before = row(history);
    let mut state = Some(before.clone());
    let next = i64::try_from(history.len()).unwrap() + 1;
    let error = AccountBalances::apply(&mut state, &to_alice(next, event)).unwrap_err();
    assert_eq!(state, Some(before), "{error}");
    error
}

#[test]
fn an_account_begins_with_nothing() {
    assert_eq!(
        row(&[opened()]),
        AccountBalance {
            account_id: alices(),
            user_id: Some(alice()),
            currency: Currency::USD,
            status: AccountStatus::Active,
            posted: 0,
            held: 0,
            position: 1,
            event_id: event_id(1),
            recorded_at: time(1),
        }
    );
}

#[test]
fn an_account_of_the_system_is_no_users() {
    let mut state = None;
    let opened = recorded(1, 1, Fact::Account(funding(), funding_opened()));
    AccountBalances::apply(&mut state, &opened).unwrap();
    let row = state.unwrap();
    assert_eq!((row.account_id, row.user_id), (funding(), None));
}

#[test]
fn each_event_moves_what_its_name_says() {
    use AccountStatus::{Active, Closed, Frozen};
    let begun = [opened(), deposited(usd(100)), held(usd(30))];
    for (event, posted, held_then, status) in [
        (deposited(usd(5)), 105, 30, Active),
        (withdrawn(usd(5)), 95, 30, Active),
        (paid_out(usd(30)), 70, 0, Active),
        (credited(usd(5)), 105, 30, Active),
        (debited(usd(5)), 95, 30, Active),
        (held(usd(5)), 100, 35, Active),
        (captured(usd(30), usd(0)), 70, 0, Active),
        (captured(usd(20), usd(10)), 80, 0, Active),
        (released(usd(30)), 100, 0, Active),
        (frozen(), 100, 30, Frozen),
        (AccountEvent::AccountUnfrozen, 100, 30, Active),
        (AccountEvent::AccountClosed, 100, 30, Closed),
    ] {
        let name = event.name();
        let row = row(&[&begun[..], &[event]].concat());
        assert_eq!((row.posted, row.held, row.status), (posted, held_then, status), "{name}");
        assert_eq!((row.position, row.event_id, row.recorded_at), (4, event_id(4), time(4)), "{name}");
    }
}

#[test]
fn money_moves_on_a_frozen_account_without_thawing_it() {
    let still = row(&[opened(), frozen(), credited(usd(5))]);
    assert_eq!((still.posted, still.status), (5, AccountStatus::Frozen));
    let thawed = row(&[opened(), frozen(), AccountEvent::AccountUnfrozen]);
    assert_eq!(thawed.status, AccountStatus::Active);
}

#[test]
fn another_currency_is_refused() {
    let wrong = FoldError::WrongCurrency { kept: Currency::USD, moved: Currency::JPY };
    let begun = [opened(), deposited(usd(100)), held(usd(30))];
    for event in [
        deposited(jpy(1)),
        withdrawn(jpy(1)),
        credited(jpy(1)),
        debited(jpy(1)),
        held(jpy(1)),
        captured(jpy(30), usd(0)),
        captured(usd(20), jpy(10)),
        released(jpy(30)),
    ] {
        assert_eq!(refused(&begun, event.clone()), wrong, "{}", event.name());
    }
    assert_eq!(wrong.to_string(), "an amount in JPY where all are in USD");
}

#[test]
fn what_does_not_fit_is_refused() {
    let full = [opened(), deposited(usd(i64::MAX))];
    assert_eq!(refused(&full, credited(usd(1))), FoldError::Overflow);
    let all_held = [opened(), held(usd(i64::MAX))];
    assert_eq!(refused(&all_held, held(usd(1))), FoldError::Overflow);
    let empty = [opened(), debited(usd(i64::MAX)), debited(usd(1))];
    assert_eq!(refused(&empty, debited(usd(1))), FoldError::Overflow);
    assert_eq!(row(&empty).posted, i64::MIN);
    // No hold has ever been as large as these two parts of one.
    assert_eq!(refused(&[opened()], captured(usd(i64::MAX), usd(1))), FoldError::Overflow);
}

#[test]
fn an_amount_below_zero_is_refused() {
    for event in [withdrawn(usd(i64::MIN)), deposited(usd(-1)), held(usd(-1)), captured(usd(1), usd(-1))] {
        assert_eq!(refused(&[opened()], event), FoldError::Negative);
    }
}

#[test]
fn an_account_begins_once() {
    let twice = refused(&[opened(), deposited(usd(1))], opened());
    assert_eq!(twice, FoldError::BegunTwice(format!("account {}", alices())));
}

#[test]
fn nothing_happens_to_an_account_before_it_begins() {
    let expected = FoldError::NotBegun(format!("account {}", alices()));
    for event in [deposited(usd(1)), frozen(), AccountEvent::AccountUnfrozen, AccountEvent::AccountClosed] {
        let mut state = None;
        assert_eq!(AccountBalances::apply(&mut state, &to_alice(1, event)), Err(expected.clone()));
        assert_eq!(state, None);
    }
}

#[test]
fn what_was_counted_is_not_counted_again() {
    let history = [opened(), deposited(usd(100)), held(usd(30)), frozen()];
    let row = row(&history);
    let mut state = Some(row.clone());
    for (position, event) in (1..).zip(history) {
        AccountBalances::apply(&mut state, &to_alice(position, event)).unwrap();
        assert_eq!(state.as_ref(), Some(&row), "the event at {position} again");
    }
}

#[test]
fn a_payment_is_no_matter_of_accounts() {
    let event = to_payment(2, crate::examples::initiated());
    assert_eq!(AccountBalances::key(&event.fact), None);
    let before = Some(row(&[opened()]));
    let mut state = before.clone();
    AccountBalances::apply(&mut state, &event).unwrap();
    assert_eq!(state, before);
}
