//! An engine without storage: aggregates, a log, and units of work that are all or nothing.
//!
//! The properties of the read models (`projections/tests/folds`) are about the same histories.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use domain::account::{Opening, Owner};
use domain::{
    Account, AccountCommand, AccountEvent, AccountId, Payment, PaymentCommand, PaymentEvent, PaymentId,
};

use crate::units::{CURRENCIES, FUNDING, SETTLEMENT, USERS, Unit, system, user, users_account};

/// One command of a unit.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Account(AccountId, AccountCommand),
    Payment(PaymentId, PaymentCommand),
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Recorded {
    Account(AccountId, AccountEvent),
    Payment(PaymentId, PaymentEvent),
}

impl Recorded {
    pub(crate) fn event_type(&self) -> String {
        match self {
            Self::Account(_, event) => event.event_type(),
            Self::Payment(_, event) => event.event_type(),
        }
    }
}

/// All aggregates, and the log that they came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) payments: BTreeMap<PaymentId, Payment>,
    pub(crate) log: Vec<Recorded>,
}

impl World {
    /// Every user has an account in every currency, and the system has its own.
    pub(crate) fn opened() -> Self {
        let mut world = Self::default();
        for currency in CURRENCIES {
            for purpose in [FUNDING, SETTLEMENT] {
                let owner = Owner::System { purpose: purpose.to_owned() };
                world.open(Opening { account_id: system(purpose, currency), owner, currency });
            }
            for index in 0..USERS {
                let owner = Owner::User { user_id: user(index) };
                world.open(Opening { account_id: users_account(index, currency), owner, currency });
            }
        }
        world
    }

    /// The world after a whole history.
    pub(crate) fn after(history: &[Unit]) -> Self {
        let mut world = Self::opened();
        history.iter().for_each(|unit| world.carry_out(unit));
        world
    }

    /// Carries out a unit, or what the engine does instead when an account refuses it.
    pub(crate) fn carry_out(&mut self, unit: &Unit) {
        if !self.commit(unit.steps(self))
            && let Some(instead) = unit.steps_when_refused()
        {
            self.commit(instead);
        }
    }

    /// Applies one recorded event, as a replay does.
    pub(crate) fn replay(&mut self, recorded: Recorded) {
        match &recorded {
            Recorded::Account(id, event) => {
                self.accounts.entry(id.clone()).or_default().apply(event.clone());
            }
            Recorded::Payment(id, event) => {
                self.payments.entry(id.clone()).or_default().apply(event.clone());
            }
        }
        self.log.push(recorded);
    }

    fn open(&mut self, opening: Opening) {
        let id = opening.account_id.clone();
        assert!(self.commit(vec![Step::Account(id, AccountCommand::Open(opening))]));
    }

    /// All steps, each on the state that the one before it left, or none of them.
    fn commit(&mut self, steps: Vec<Step>) -> bool {
        let mut accounts = BTreeMap::new();
        let mut payments = BTreeMap::new();
        let mut log = Vec::new();
        for step in steps {
            let accepted = match step {
                Step::Account(id, command) => handled(&mut accounts, &self.accounts, id, command)
                    .map(|(id, events)| log.extend(with_id(&id, events, Recorded::Account))),
                Step::Payment(id, command) => handled(&mut payments, &self.payments, id, command)
                    .map(|(id, events)| log.extend(with_id(&id, events, Recorded::Payment))),
            };
            if accepted.is_none() {
                return false;
            }
            // The first step leads: where it has already happened, so has the unit.
            if log.is_empty() {
                return true;
            }
        }
        self.accounts.extend(accounts);
        self.payments.extend(payments);
        self.log.extend(log);
        true
    }
}

/// Lets an aggregate handle a command, on a copy that a refusal throws away.
fn handled<Id: Ord + Clone, A: Aggregate<Services = ()> + Clone>(
    touched: &mut BTreeMap<Id, A>,
    stored: &BTreeMap<Id, A>,
    id: Id,
    command: A::Command,
) -> Option<(Id, Vec<A::Event>)> {
    let state = touched.entry(id.clone()).or_insert_with(|| stored.get(&id).cloned().unwrap_or_default());
    let sink = EventSink::default();
    at_once(state.handle(command, &(), &sink)).ok()?;
    Some((id, at_once(sink.collect())))
}

fn with_id<Id: Clone, Event>(
    id: &Id,
    events: Vec<Event>,
    recorded: impl Fn(Id, Event) -> Recorded,
) -> Vec<Recorded> {
    events.into_iter().map(|event| recorded(id.clone(), event)).collect()
}

/// Polls once: a decision has nothing to wait for, so it must be there at once.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a decision waited for something"),
    }
}
