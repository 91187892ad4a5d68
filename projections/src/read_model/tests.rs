use super::*;
use crate::examples::{
    alice, alices, debited, deposited, event_id, funding, funding_opened, held, initiated, jpy, opened,
    recorded, to_alice, to_payment, unreadable, usd, withdrawn,
};
use crate::{AccountBalance, AccountBalances, AccountEntries, Payments};

fn to_funding(position: i64, sequence: i64, event: AccountEvent) -> LogEvent {
    recorded(position, sequence, Fact::Account(funding(), event))
}

/// Rows that have folded these events, and written them.
fn written<M: ReadModel>(events: &[LogEvent]) -> Rows<M> {
    let mut rows = Rows::default();
    assert_eq!(rows.fold(events), Folded::All);
    drop(rows.take_changes(100));
    rows
}

/// What has changed: rows that are new, rows that were there.
fn balances(rows: &mut Rows<AccountBalances>) -> [Vec<(AccountId, i64)>; 2] {
    let Changes { new, changed, lines: _ } = rows.take_changes(100);
    [new, changed].map(|rows| rows.into_iter().map(|(key, row)| (key, row.posted)).collect())
}

fn stopped(folded: Folded) -> Stopped {
    match folded {
        Folded::Stopped(stopped) => stopped,
        other => panic!("{other:?}"),
    }
}

/// The row of alice's account as the table has it.
fn kept(events: &[LogEvent]) -> (AccountId, AccountBalance) {
    let mut rows = Rows::<AccountBalances>::default();
    assert_eq!(rows.fold(events), Folded::All);
    rows.take_changes(100).new.remove(0)
}

#[test]
fn a_row_that_is_not_in_memory_is_missing_once() {
    let rows = Rows::<AccountBalances>::default();
    let events = [to_alice(5, deposited(usd(1))), to_alice(6, deposited(usd(1)))];
    assert_eq!(rows.missing(&events), [alices()]);
}

#[test]
fn what_begins_here_or_is_in_memory_is_not_missing() {
    let rows = Rows::<AccountBalances>::default();
    let begun = [to_alice(1, opened()), to_alice(2, deposited(usd(1)))];
    assert_eq!(rows.missing(&begun), []);
    let rows = written::<AccountBalances>(&begun);
    assert_eq!(rows.missing(&[to_alice(3, deposited(usd(1)))]), []);
    assert_eq!(rows.missing(&[to_funding(3, 2, debited(usd(1)))]), [funding()]);
}

#[test]
fn what_concerns_no_row_misses_none() {
    let events = [to_payment(1, initiated()), unreadable(2, Kind::Account), unreadable(3, Kind::Other)];
    assert_eq!(Rows::<AccountBalances>::default().missing(&events), []);
    // A hold is no line of a statement.
    assert_eq!(Rows::<AccountEntries>::default().missing(&[to_alice(4, held(usd(1)))]), []);
}

#[test]
fn a_row_that_was_kept_elsewhere_goes_on_from_there() {
    let mut rows = Rows::<AccountBalances>::default();
    let next = [to_alice(3, withdrawn(usd(30)))];
    assert_eq!(rows.fold(&next), Folded::Needs(0));
    rows.remember(vec![alices()], [kept(&[to_alice(1, opened()), to_alice(2, deposited(usd(100)))])]);
    assert!(rows.take_changes(100).is_empty(), "what was kept is no news");
    assert_eq!(rows.missing(&next), []);
    assert_eq!(rows.fold(&next), Folded::All);
    assert_eq!(balances(&mut rows), [vec![], vec![(alices(), 70)]]);
}

#[test]
fn a_fold_stops_at_the_first_bad_event_with_all_before_it_folded() {
    let mut rows = Rows::<AccountBalances>::default();
    let folded = rows.fold(&[
        to_alice(1, opened()),
        to_alice(2, deposited(usd(100))),
        to_alice(3, deposited(jpy(1))),
        to_alice(4, deposited(usd(7))),
    ]);
    let reason = FoldError::WrongCurrency { kept: Currency::USD, moved: Currency::JPY };
    assert_eq!(folded, Folded::Stopped(Stopped { position: 3, event_id: event_id(3), reason }));
    let before = [vec![(alices(), 100)], vec![]];
    assert_eq!(balances(&mut rows), before, "the event and what is behind it are not folded");

    // Mended, it goes on from there; the row is there by now.
    assert_eq!(rows.fold(&[to_alice(3, deposited(usd(1))), to_alice(4, deposited(usd(7)))]), Folded::All);
    assert_eq!(balances(&mut rows), [vec![], vec![(alices(), 108)]]);
}

#[test]
fn a_bad_event_adds_no_line() {
    let mut rows = Rows::<AccountEntries>::default();
    rows.remember(vec![alices()], []);
    let folded = rows.fold(&[to_alice(2, deposited(usd(100))), to_alice(3, deposited(jpy(1)))]);
    assert_eq!(stopped(folded).position, 3);
    let lines = rows.take_changes(100).lines;
    let lines: Vec<_> = lines.iter().map(|line| (line.position, line.balance)).collect();
    assert_eq!(lines, [(2, 100)]);
}

#[test]
fn a_row_that_was_not_there_is_looked_for_again() {
    let mut rows = Rows::<AccountBalances>::default();
    let events = [to_alice(3, deposited(usd(1)))];
    rows.remember(vec![alices()], []);
    assert_eq!(stopped(rows.fold(&events)).reason, FoldError::NotBegun(format!("account {}", alices())));
    assert!(rows.take_changes(100).is_empty());
    assert_eq!(rows.fold(&events), Folded::Needs(0));
    rows.remember(vec![alices()], [kept(&[to_alice(1, opened()), to_alice(2, deposited(usd(100)))])]);
    assert_eq!(rows.fold(&events), Folded::All);
    assert_eq!(balances(&mut rows), [vec![], vec![(alices(), 101)]]);
}

#[test]
fn what_cannot_be_read_stops_whoever_reads_its_kind() {
    fn stops<M: ReadModel>(kind: Kind) -> bool {
        let mut rows = Rows::<M>::default();
        let folded = rows.fold(&[unreadable(7, kind)]);
        if folded == Folded::All {
            return false;
        }
        let reason = FoldError::Unreadable("no such event".to_owned());
        assert_eq!(folded, Folded::Stopped(Stopped { position: 7, event_id: event_id(7), reason }));
        true
    }
    for (kind, expected) in [
        (Kind::Account, [true, true, false]),
        (Kind::Payment, [false, false, true]),
        (Kind::Other, [true, true, true]),
    ] {
        let stopped =
            [stops::<AccountBalances>(kind), stops::<AccountEntries>(kind), stops::<Payments>(kind)];
        assert_eq!(stopped, expected, "{kind:?}");
    }
}

#[test]
fn changes_come_in_the_order_of_their_keys() {
    let users: Vec<AccountEvent> = (0..20)
        .map(|number| {
            let user_id = domain::UserId::parse(&format!("{}{number}", alice())).unwrap();
            let account_id = AccountId::of_user(&user_id, Currency::USD);
            let owner = domain::account::Owner::User { user_id };
            AccountEvent::AccountOpened(domain::account::Opening {
                account_id,
                owner,
                currency: Currency::USD,
            })
        })
        .collect();
    let mut rows = Rows::<AccountBalances>::default();
    for (position, event) in (1..).zip(users) {
        let AccountEvent::AccountOpened(opening) = &event else { unreachable!("all are openings") };
        let fact = Fact::Account(opening.account_id.clone(), event.clone());
        assert_eq!(rows.fold(&[recorded(position, 1, fact)]), Folded::All);
    }
    let [new, _] = balances(&mut rows);
    let keys: Vec<AccountId> = new.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 20);
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn what_is_written_is_no_change_any_more() {
    let mut rows = Rows::<AccountEntries>::default();
    rows.remember(vec![alices()], []);
    assert_eq!(rows.fold(&[to_alice(2, deposited(usd(100)))]), Folded::All);
    let changes = rows.take_changes(100);
    assert_eq!((changes.new.len(), changes.changed.len(), changes.lines.len()), (1, 0, 1));
    assert!(rows.take_changes(100).is_empty());
    assert_eq!(rows.fold(&[to_alice(3, withdrawn(usd(1)))]), Folded::All);
    let changes = rows.take_changes(100);
    assert_eq!((changes.new.len(), changes.changed.len()), (0, 1));
    assert_eq!(changes.lines[0].balance, 99, "it goes on from what it remembers");
}

#[test]
fn rows_are_forgotten_when_there_are_too_many() {
    let events = [to_alice(1, opened()), to_funding(2, 1, funding_opened())];
    let next = [to_alice(3, deposited(usd(1))), to_funding(4, 2, debited(usd(1)))];
    for (keep, forgotten) in [(3, 0), (2, 0), (1, 2), (0, 2)] {
        let mut rows = Rows::<AccountBalances>::default();
        assert_eq!(rows.fold(&events), Folded::All);
        drop(rows.take_changes(keep));
        assert_eq!(rows.missing(&next).len(), forgotten, "{keep} may stay");
    }
}
