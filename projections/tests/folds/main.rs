//! What holds of the read models for every history, and wherever the log is cut into batches.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`log`] | a random history as a log, and what the aggregates say at its end |
//! | [`table`] | a read model folded batch by batch into a map that stands for its table |
//! | [`world`], [`units`] | the histories, from the properties of the domain |

mod log;
mod table;
// One generator of histories: one that knows a new event serves both.
#[path = "../../../domain/tests/properties/units.rs"]
mod units;
#[path = "../../../domain/tests/properties/world.rs"]
#[expect(dead_code, reason = "the domain's properties look at more of it")]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use domain::payment::RefundStatus;
use domain::{AccountId, Currency, Payment, PostingId};
use projections::{AccountBalances, AccountEntries, Fact, Payments, TrialBalance};
use proptest::prelude::*;

use log::{Log, histories};
use table::{Batch, Table, batches};
use world::Recorded;

proptest! {
    #[test]
    fn balances_are_what_the_accounts_say(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let table = Table::<AccountBalances>::filled(&log.events, &batches);
        prop_assert_eq!(table.rows.len(), log.world.accounts.len());
        for (account_id, account) in &log.world.accounts {
            let row = &table.rows[account_id];
            prop_assert_eq!(Some(row.posted), account.posted().map(|posted| posted.minor));
            prop_assert_eq!(Some(row.held), account.held().map(|held| held.minor));
            prop_assert_eq!(row.status, account.status);
            prop_assert_eq!(&row.account_id, account_id);
            let last = log.last_of(account_id);
            prop_assert_eq!((row.position, row.event_id, row.recorded_at), last);
        }
    }

    #[test]
    fn balances_are_what_the_trial_balance_says(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let table = Table::<AccountBalances>::filled(&log.events, &batches);
        let mut books = TrialBalance::default();
        for event in &log.events {
            match &event.fact {
                Fact::Account(account_id, happened) => books.apply(event.position, account_id, happened),
                Fact::Payment(..) | Fact::Unreadable { .. } => books.skip(event.position),
            }
            .expect("the books are in order");
        }
        prop_assert_eq!(books.accounts().count(), table.rows.len());
        for (account_id, totals) in books.accounts() {
            let row = &table.rows[account_id];
            let ours = (i128::from(row.posted), i128::from(row.held), row.currency);
            prop_assert_eq!(ours, (totals.posted, totals.held, totals.currency));
        }
        let mut sums = BTreeMap::<Currency, i128>::new();
        for row in table.rows.values() {
            *sums.entry(row.currency).or_default() += i128::from(row.posted);
        }
        prop_assert!(sums.values().all(|sum| *sum == 0), "{:?}", sums);
    }

    #[test]
    fn the_last_line_of_a_statement_says_what_is_posted(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let table = Table::<AccountEntries>::filled(&log.events, &batches);
        let mut running = BTreeMap::<&AccountId, i64>::new();
        for line in &table.lines {
            let balance = running.entry(&line.account_id).or_default();
            *balance += line.amount.minor;
            prop_assert_eq!(line.balance, *balance, "a line adds its amount to the one before it");
        }
        for (account_id, account) in &log.world.accounts {
            let posted = account.posted().expect("opened").minor;
            prop_assert_eq!(running.get(account_id).copied().unwrap_or_default(), posted);
            // What the next line begins with is what the table can say of the last one.
            let last = table.lines.iter().rev().find(|line| line.account_id == *account_id);
            let last = last.map(|line| (line.amount.currency, line.balance, line.position));
            let next = table.rows.get(account_id).map(|row| (row.currency, row.balance, row.position));
            prop_assert_eq!(next, last);
        }
    }

    #[test]
    fn the_lines_of_each_posting_sum_to_zero(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let table = Table::<AccountEntries>::filled(&log.events, &batches);
        let mut sums = BTreeMap::<(usize, &PostingId, Currency), (i128, usize)>::new();
        for line in &table.lines {
            let posting = (log.append_of(line.position), &line.posting_id, line.amount.currency);
            let (sum, legs) = sums.entry(posting).or_default();
            *sum += i128::from(line.amount.minor);
            *legs += 1;
        }
        for (posting, (sum, legs)) in sums {
            prop_assert_eq!(sum, 0, "{:?}", posting);
            prop_assert!(legs >= 2, "{:?} has one leg", posting);
        }
    }

    #[test]
    fn payments_are_what_their_aggregates_say(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let table = Table::<Payments>::filled(&log.events, &batches);
        prop_assert_eq!(table.rows.len(), log.world.payments.len());
        for (payment_id, payment) in &log.world.payments {
            let row = &table.rows[payment_id];
            let details = payment.details.as_deref().expect("initiated");
            prop_assert_eq!(row.status, payment.status);
            prop_assert_eq!(&row.risk, &payment.risk);
            prop_assert_eq!(&row.transaction_id, &payment.transaction_id);
            prop_assert_eq!(&row.failure, &payment.failure);
            prop_assert_eq!(row.captured, payment.captured.map(|captured| captured.minor));
            prop_assert_eq!(row.refunded, refunded(payment));
            prop_assert_eq!((&row.payment_id, &row.user_id), (payment_id, &details.user_id));
            prop_assert_eq!((&row.payer, row.amount), (&details.payer, details.amount));
        }
    }

    #[test]
    fn where_the_log_is_cut_makes_no_difference(history in histories(), batches in batches()) {
        let log = Log::of(&history);
        let whole = [Batch { events: log.events.len(), keep: usize::MAX }];
        let at_once = Table::<AccountBalances>::filled(&log.events, &whole);
        prop_assert_eq!(Table::<AccountBalances>::filled(&log.events, &batches), at_once);
        let at_once = Table::<AccountEntries>::filled(&log.events, &whole);
        prop_assert_eq!(Table::<AccountEntries>::filled(&log.events, &batches), at_once);
        let at_once = Table::<Payments>::filled(&log.events, &whole);
        prop_assert_eq!(Table::<Payments>::filled(&log.events, &batches), at_once);
    }

    #[test]
    fn what_comes_twice_counts_once(history in histories(), again in any::<prop::sample::Index>()) {
        let log = Log::of(&history);
        let from = again.index(log.events.len());
        let twice = [&log.events[..], &log.events[from..]].concat();
        // In one batch, so that every row is in memory when its events come again.
        let whole = [Batch { events: twice.len(), keep: usize::MAX }];
        let (once, twice) = (&log.events, &twice);
        prop_assert_eq!(
            Table::<AccountBalances>::filled(twice, &whole), Table::<AccountBalances>::filled(once, &whole)
        );
        prop_assert_eq!(
            Table::<AccountEntries>::filled(twice, &whole), Table::<AccountEntries>::filled(once, &whole)
        );
        prop_assert_eq!(Table::<Payments>::filled(twice, &whole), Table::<Payments>::filled(once, &whole));
    }
}

/// What has gone back, `None` while no refund was asked for.
fn refunded(payment: &Payment) -> Option<i64> {
    let completed = payment.refunds.values().filter(|refund| refund.status == RefundStatus::Completed);
    let sum = completed.map(|refund| refund.amount.minor).sum();
    (!payment.refunds.is_empty()).then_some(sum)
}

/// Histories and batches must be such that the properties above say something.
#[test]
fn rows_are_forgotten_and_loaded_again_and_every_kind_of_event_comes() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut loaded, mut refunds, mut names) = (0, 0, BTreeSet::new());
    for _ in 0..600 {
        let history = histories().new_tree(&mut runner).expect("a history").current();
        let batches = batches().new_tree(&mut runner).expect("batches").current();
        let log = Log::of(&history);
        loaded += Table::<AccountBalances>::filled(&log.events, &batches).loaded;
        refunds += log.world.payments.values().filter(|payment| refunded(payment) > Some(0)).count();
        names.extend(log.world.log.iter().map(Recorded::event_type));
    }
    assert!(loaded > 1_000, "{loaded} rows were loaded again");
    assert!(refunds > 5, "{refunds} payments have gone back");
    assert_eq!(names.len(), 11 + 16, "every event of accounts and payments: {names:?}");
}
