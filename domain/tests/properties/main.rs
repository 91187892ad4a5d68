//! What holds for every history, whatever was asked in whatever order.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`world`] | an engine without storage: units of work over accounts and payments, all or nothing |
//! | [`units`] | those units as the engine puts them together, and random histories of them |
//! | [`money`] | reading and printing amounts |
//!
//! Histories must conserve money, keep users at or above zero, and rebuild from their events.

mod money;
mod units;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::DomainEvent;
use domain::account::Owner;
use domain::payment::{PaymentStatus, RefundStatus, Route};
use domain::{Account, Currency, Payment, PaymentId};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use units::{CURRENCIES, Unit, histories};
use world::{Recorded, World};

proptest! {
    #[test]
    fn after_each_unit_the_sum_over_all_accounts_is_zero(history in histories()) {
        each_boundary(&history, |world| {
            for currency in CURRENCIES {
                prop_assert_eq!(posted(world, currency, |_| true), 0, "{}", currency.code());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_user_is_ever_below_zero(history in histories()) {
        each_boundary(&history, |world| {
            for account in world.accounts.values().filter(|account| is_users(account)) {
                let posted = account.posted().expect("opened").minor;
                let held = account.held().expect("opened").minor;
                let available = account.available().expect("opened").minor;
                prop_assert!(available >= 0 && held >= 0, "{:?}", account);
                prop_assert_eq!(available, posted - held);
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_held_is_what_payments_under_way_hold(history in histories()) {
        each_boundary(&history, |world| {
            for (id, account) in &world.accounts {
                let promised: BTreeMap<PaymentId, i64> = (world.payments.iter())
                    .filter(|(_, payment)| holds_funds(payment))
                    .filter_map(|(payment_id, payment)| Some((payment_id, payment.details.as_ref()?)))
                    .filter(|(_, details)| details.payer == *id)
                    .map(|(payment_id, details)| (payment_id.clone(), details.amount.minor))
                    .collect();
                prop_assert_eq!(account.held().expect("opened").minor, promised.values().sum::<i64>());
                prop_assert_eq!(holds_of(account), promised);
            }
            Ok(())
        })?;
    }

    #[test]
    fn settlement_has_what_was_captured_and_not_refunded(history in histories()) {
        each_boundary(&history, |world| {
            for currency in CURRENCIES {
                let taken: i128 = (world.payments.values())
                    .filter(|payment| matches!(route(payment), Some(Route::Channel { .. } | Route::Payout { .. })))
                    .filter(|payment| amount_in(payment, currency))
                    .map(|payment| captured(payment) - refunded(payment, &[RefundStatus::Completed]))
                    .sum();
                prop_assert_eq!(posted(world, currency, |owner| is_purpose(owner, "settlement")), taken);
            }
            Ok(())
        })?;
    }

    #[test]
    fn refunds_never_exceed_what_was_captured(history in histories()) {
        each_boundary(&history, |world| {
            for payment in world.payments.values() {
                let back = refunded(payment, &[RefundStatus::Started, RefundStatus::Completed]);
                prop_assert!(back <= captured(payment), "{:?}", payment);
                let refundable = payment.refundable().map(|left| i128::from(left.minor));
                prop_assert_eq!(refundable, payment.captured.map(|_| captured(payment) - back));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_replay_of_any_prefix_builds_the_state_it_had_then(history in histories()) {
        let mut rebuilt = World::default();
        let mut position = 0;
        each_boundary(&history, |world| {
            for recorded in &world.log[position..] {
                rebuilt.replay(recorded.clone());
            }
            position = world.log.len();
            prop_assert_eq!(&rebuilt.accounts, &world.accounts);
            prop_assert_eq!(&rebuilt.payments, &world.payments);
            Ok(())
        })?;
    }

    #[test]
    fn a_snapshot_at_any_event_and_the_rest_of_the_log_build_the_same(
        history in histories(),
        cut in any::<prop::sample::Index>(),
    ) {
        let world = World::after(&history);
        let (before, after) = world.log.split_at(cut.index(world.log.len() + 1));
        let mut resumed = World::default();
        before.iter().cloned().for_each(|recorded| resumed.replay(recorded));
        for account in resumed.accounts.values_mut() {
            *account = through_json(account)?;
        }
        for payment in resumed.payments.values_mut() {
            *payment = through_json(payment)?;
        }
        after.iter().cloned().for_each(|recorded| resumed.replay(recorded));
        prop_assert_eq!(resumed.accounts, world.accounts);
        prop_assert_eq!(resumed.payments, world.payments);
    }

    #[test]
    fn every_event_is_tagged_with_its_own_type_and_read_back(history in histories()) {
        for recorded in World::after(&history).log {
            match recorded {
                Recorded::Account(_, event) => is_pinned_by_its_type(&event)?,
                Recorded::Payment(_, event) => is_pinned_by_its_type(&event)?,
            }
        }
    }

    #[test]
    fn what_was_decided_once_is_decided_the_same_again(history in histories()) {
        prop_assert_eq!(World::after(&history).log, World::after(&history).log);
    }
}

/// Carries out a history and looks at the world after each unit, as a reader of the log would.
fn each_boundary(
    history: &[Unit],
    mut look: impl FnMut(&World) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut world = World::opened();
    look(&world)?;
    for unit in history {
        world.carry_out(unit);
        look(&world)?;
    }
    Ok(())
}

/// Through text, as snapshots are kept, and through a parsed value, as JSON columns are read.
fn through_json<T>(state: &T) -> Result<T, TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(state).expect("state is JSON");
    let value = serde_json::to_value(state).expect("state is JSON");
    let read: T = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, state, "through {}", text);
    let read: T = serde_json::from_value(value).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, state, "through {}", text);
    Ok(read)
}

fn is_pinned_by_its_type<E: DomainEvent + DeserializeOwned>(event: &E) -> Result<(), TestCaseError> {
    through_json(event)?;
    let tag = match serde_json::to_value(event).expect("an event is JSON") {
        // An event that carries nothing is its name alone.
        Value::String(name) => name,
        Value::Object(fields) if fields.len() == 1 => fields.keys().next().cloned().unwrap_or_default(),
        other => return Err(TestCaseError::fail(format!("not tagged by its type: {other}"))),
    };
    prop_assert_eq!(tag, event.event_type());
    Ok(())
}

fn posted(world: &World, currency: Currency, of: impl Fn(&Owner) -> bool) -> i128 {
    (world.accounts.values())
        .filter(|account| account.opening.as_ref().is_some_and(|opening| of(&opening.owner)))
        .filter_map(Account::posted)
        .filter(|posted| posted.currency == currency)
        .map(|posted| i128::from(posted.minor))
        .sum()
}

fn is_users(account: &Account) -> bool {
    matches!(account.opening.as_ref().map(|opening| &opening.owner), Some(Owner::User { .. }))
}

fn is_purpose(owner: &Owner, wanted: &str) -> bool {
    matches!(owner, Owner::System { purpose } if purpose == wanted)
}

/// The holds as a snapshot shows them; the account itself keeps them to itself.
fn holds_of(account: &Account) -> BTreeMap<PaymentId, i64> {
    let snapshot = serde_json::to_value(account).expect("state is JSON");
    serde_json::from_value(snapshot["holds"].clone()).expect("holds by payment")
}

/// Whether the payer's account must still hold the amount.
const fn holds_funds(payment: &Payment) -> bool {
    match payment.status {
        PaymentStatus::Reserved
        | PaymentStatus::OutcomeUnknown
        | PaymentStatus::NeedsReview
        | PaymentStatus::Authorized
        | PaymentStatus::Capturing
        | PaymentStatus::Voiding => true,
        PaymentStatus::New
        | PaymentStatus::Initiated
        | PaymentStatus::Assessed
        | PaymentStatus::Rejected
        | PaymentStatus::Completed
        | PaymentStatus::Failed
        | PaymentStatus::Voided => false,
    }
}

fn route(payment: &Payment) -> Option<&Route> {
    payment.details.as_ref().map(|details| &details.route)
}

fn amount_in(payment: &Payment, currency: Currency) -> bool {
    payment.details.as_ref().is_some_and(|details| details.amount.currency == currency)
}

fn captured(payment: &Payment) -> i128 {
    payment.captured.map_or(0, |captured| i128::from(captured.minor))
}

fn refunded(payment: &Payment, in_status: &[RefundStatus]) -> i128 {
    (payment.refunds.values())
        .filter(|refund| in_status.contains(&refund.status))
        .map(|refund| i128::from(refund.amount.minor))
        .sum()
}

/// The histories must not be a string of refusals, or the properties above would say nothing.
#[test]
fn random_histories_reach_every_status_and_event() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut events = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    for _ in 0..600 {
        let history = histories().new_tree(&mut runner).expect("a history").current();
        let world = World::after(&history);
        statuses.extend(world.payments.values().map(|payment| payment.status.name()));
        events.extend(world.log.iter().map(Recorded::event_type));
    }
    assert_eq!(statuses.len(), 10, "all that a unit of the engine can end in: {statuses:?}");
    assert_eq!(events.len(), 11 + 16, "every event of accounts and payments: {events:?}");
}
