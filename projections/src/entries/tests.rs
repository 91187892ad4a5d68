use super::*;
use crate::examples::{
    alices, captured, credited, debited, deposited, event_id, frozen, funding, held, initiated, jpy, opened,
    paid_out, payment, posting, recorded, released, time, to_alice, to_payment, usd, withdrawn,
};

/// The lines of events at positions 1, 2, ..., and what the next line begins with.
fn statement(history: &[AccountEvent]) -> (Vec<AccountEntry>, Option<Running>) {
    let mut state = None;
    let folded = (1..).zip(history).map(|(position, event)| {
        AccountEntries::apply(&mut state, &to_alice(position, event.clone())).unwrap()
    });
    (folded.flatten().collect(), state)
}

/// Why the next event is refused. Fails the test when the running balance has changed.
fn refused(history: &[AccountEvent], event: AccountEvent) -> FoldError {
    let before = statement(history).1;
    let mut state = before.clone();
    let next = i64::try_from(history.len()).unwrap() + 1;
    let error = AccountEntries::apply(&mut state, &to_alice(next, event)).unwrap_err();
    assert_eq!(state, before, "{error}");
    error
}

#[test]
fn a_line_shows_its_event_and_what_it_left() {
    let (lines, running) = statement(&[opened(), deposited(usd(100))]);
    let expected = AccountEntry {
        account_id: alices(),
        position: 2,
        event_id: event_id(2),
        event_type: Cow::Borrowed("FundsDeposited"),
        posting_id: posting("d"),
        payment_id: None,
        amount: usd(100),
        balance: 100,
        reference: Some("salary".to_owned()),
        recorded_at: time(2),
    };
    assert_eq!(lines, [expected]);
    assert_eq!(running, Some(Running { currency: Currency::USD, balance: 100, position: 2 }));
}

#[test]
fn each_leg_of_a_posting_is_a_line_with_its_sign_and_its_payment() {
    for (event, amount, posting_id, payment_id) in [
        (deposited(usd(5)), 5, "d", None),
        (withdrawn(usd(5)), -5, "w", None),
        (paid_out(usd(7)), -7, "p", Some("p")),
        (credited(usd(5)), 5, "c", Some("c")),
        (debited(usd(5)), -5, "b", Some("b")),
        // What a hold gives back never left the account.
        (captured(usd(5), usd(2)), -5, "p", Some("p")),
    ] {
        let (lines, running) = statement(&[opened(), deposited(usd(100)), held(usd(7)), event.clone()]);
        let [_, line] = lines.as_slice() else { panic!("{}: {lines:?}", event.name()) };
        assert_eq!((line.position, line.amount, line.balance), (4, usd(amount), 100 + amount));
        assert_eq!((&line.posting_id, &line.payment_id), (&posting(posting_id), &payment_id.map(payment)));
        assert_eq!(line.event_type, event.name());
        assert_eq!(running.unwrap().balance, 100 + amount);
    }
}

#[test]
fn what_moves_no_money_is_no_line() {
    let quiet = [
        held(usd(5)),
        released(usd(5)),
        frozen(),
        AccountEvent::AccountUnfrozen,
        AccountEvent::AccountClosed,
    ];
    let begun = [opened(), deposited(usd(100))];
    let (_, before) = statement(&begun);
    for event in quiet {
        assert_eq!(AccountEntries::key(&Fact::Account(alices(), event.clone())), None, "{}", event.name());
        let (lines, running) = statement(&[&begun[..], &[event]].concat());
        assert_eq!((lines.len(), running), (1, before.clone()));
    }
    assert_eq!(AccountEntries::key(&Fact::Account(alices(), opened())), None);
    let of_a_payment = to_payment(3, initiated());
    assert_eq!(AccountEntries::key(&of_a_payment.fact), None);
    assert_eq!(AccountEntries::apply(&mut before.clone(), &of_a_payment), Ok(None));
}

#[test]
fn the_other_leg_of_a_deposit_names_no_payment() {
    let mut state = None;
    let leg = recorded(7, 2, Fact::Account(funding(), debited(usd(5))));
    let line = AccountEntries::apply(&mut state, &leg).unwrap().unwrap();
    assert_eq!((line.account_id, line.payment_id, line.balance), (funding(), None, -5));
}

#[test]
fn a_reference_that_was_not_given_is_none() {
    let (lines, _) = statement(&[opened(), deposited(usd(9)), withdrawn(usd(5))]);
    assert_eq!(lines[1].reference, None);
}

#[test]
fn another_currency_is_refused() {
    let wrong = FoldError::WrongCurrency { kept: Currency::USD, moved: Currency::JPY };
    for event in [
        deposited(jpy(1)),
        withdrawn(jpy(1)),
        credited(jpy(1)),
        debited(jpy(1)),
        captured(jpy(1), usd(0)),
        captured(usd(1), jpy(1)),
    ] {
        assert_eq!(refused(&[opened(), deposited(usd(100))], event), wrong);
    }
    // The first line has no other before it, but must agree with itself.
    assert_eq!(refused(&[opened()], captured(usd(1), jpy(1))), wrong);
}

#[test]
fn what_cannot_be_booked_is_refused() {
    assert_eq!(refused(&[opened(), deposited(usd(i64::MAX))], credited(usd(1))), FoldError::Overflow);
    assert_eq!(refused(&[opened()], captured(usd(i64::MAX), usd(1))), FoldError::Overflow);
    assert_eq!(refused(&[opened()], withdrawn(usd(i64::MIN))), FoldError::Negative);
}

#[test]
fn a_statement_does_not_begin_before_its_account() {
    let expected = FoldError::NotBegun(format!("account {}", alices()));
    assert_eq!(refused(&[], deposited(usd(1))), expected);
}

#[test]
fn what_was_counted_is_not_counted_again() {
    let history = [opened(), deposited(usd(100)), withdrawn(usd(30))];
    let (_, running) = statement(&history);
    let mut state = running.clone();
    for (position, event) in (1..).zip(history) {
        assert_eq!(AccountEntries::apply(&mut state, &to_alice(position, event)), Ok(None));
        assert_eq!(state, running, "the event at {position} again");
    }
}
