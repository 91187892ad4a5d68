//! A random history as a log.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{AccountId, Money};
use projections::{Fact, LogEvent};
use proptest::prelude::*;
use uuid::Uuid;

use crate::units::{self, CURRENCIES, USERS, Unit};
use crate::world::{Recorded, World};

/// Histories in which most users have money from the first, so that payments come far.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Unit>> {
    let deposits = CURRENCIES.into_iter().flat_map(|currency| {
        let amount = Money::new(20_000, currency);
        (0..USERS).map(move |user| Unit::Deposit { user, amount, reference: "first".to_owned() })
    });
    let deposits: Vec<Unit> = deposits.collect();
    let begun = prop_oneof![3 => Just(deposits), 1 => Just(vec![])];
    (begun, units::histories()).prop_map(|(begun, rest)| [begun, rest].concat())
}

/// The log of a history, and the aggregates at its end.
pub(crate) struct Log {
    pub(crate) world: World,
    pub(crate) events: Vec<LogEvent>,
    /// The last position of each append, in their order.
    appends: Vec<i64>,
}

impl Log {
    pub(crate) fn of(history: &[Unit]) -> Self {
        let mut world = World::opened();
        let mut appends = vec![length(&world)];
        for unit in history {
            world.carry_out(unit);
            appends.push(length(&world));
        }
        let mut sequences = HashMap::<String, i64>::new();
        let events = (1..).zip(&world.log).map(|(position, recorded)| {
            let (stream, fact) = match recorded.clone() {
                Recorded::Account(id, event) => (format!("account {id}"), Fact::Account(id, event)),
                Recorded::Payment(id, event) => (format!("payment {id}"), Fact::Payment(id, event)),
            };
            let sequence = sequences.entry(stream).or_default();
            *sequence += 1;
            let (event_id, recorded_at) = (event_id(position), time(position));
            LogEvent { position, sequence: *sequence, event_id, recorded_at, fact }
        });
        let events = events.collect();
        Self { world, events, appends }
    }

    /// Position, id and time of an account's last event.
    pub(crate) fn last_of(&self, account: &AccountId) -> (i64, Uuid, DateTime<Utc>) {
        let of_account = |event: &&LogEvent| matches!(&event.fact, Fact::Account(id, _) if id == account);
        let last = self.events.iter().rev().find(of_account).expect("it was opened");
        (last.position, last.event_id, last.recorded_at)
    }

    /// Which append a position is of.
    pub(crate) fn append_of(&self, position: i64) -> usize {
        self.appends.partition_point(|last| *last < position)
    }
}

fn length(world: &World) -> i64 {
    i64::try_from(world.log.len()).expect("a short log")
}

fn event_id(position: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(position).expect("above zero"))
}

fn time(position: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(position)
}
