//! The record of captures, voids and refunds.

use super::super::change::{Answer, Asked, Change, ChangeFate, ChangeKind, ChangeState, refusal, units};
use super::super::charge::State;
use super::super::journal::{Journal, JournalError};
use super::{Entry, PayError, Record};

impl Record {
    /// A request for a change: the first one meets its fate, a repeat finds what became of it.
    pub(in super::super) fn change(
        &self,
        key: &str,
        asked: &Asked<'_>,
        fate: impl FnOnce(&str) -> ChangeFate,
    ) -> Result<Answer, PayError> {
        let mut shard = self.shard(key);
        let Some(entry) = shard.get_mut(key) else { return Ok(Answer::NoCharge) };
        if matches!(entry.state, State::NotCharged | State::NeverKnown | State::Processing) {
            return Ok(Answer::NoCharge);
        }
        if !asked.currency.is_empty() && *asked.currency != *entry.currency {
            return Err(PayError::OtherBody("currency"));
        }
        let known = entry.changes.iter().position(|change| change.is(asked));
        let Some(known) = known else {
            let mut change = Change::new(asked);
            if let Some(reason) = entry.refuses(asked) {
                change.state = ChangeState::Declined;
                entry.record(key, change, &self.journal)?;
                return Ok(Answer::Declined(reason));
            }
            let (state, answer) = fate(&entry.payment_method).begin();
            change.state = state;
            entry.record(key, change, &self.journal)?;
            return Ok(answer);
        };
        let change = &mut entry.changes[known];
        change.requests = change.requests.saturating_add(1);
        if *change.amount != *asked.amount {
            return Err(PayError::OtherBody("amount"));
        }
        match change.state {
            ChangeState::Done => Ok(Answer::Done),
            ChangeState::Declined => Ok(Answer::Declined("declined")),
            ChangeState::NotDone => {
                let mut change = entry.changes.swap_remove(known);
                let refused = entry.refuses(asked);
                change.state = if refused.is_some() { ChangeState::Declined } else { ChangeState::Done };
                entry.record(key, change, &self.journal)?;
                Ok(refused.map_or(Answer::Done, Answer::Declined))
            }
        }
    }

    /// What became of a change: `None` where it was not asked for, or not done (yet).
    pub(in super::super) fn inquire_change(&self, key: &str, asked: &Asked<'_>) -> Option<ChangeState> {
        let shard = self.shard(key);
        let change = shard.get(key)?.changes.iter().find(|change| change.is(asked))?;
        (change.state != ChangeState::NotDone).then_some(change.state)
    }
}

impl Entry {
    fn refuses(&self, asked: &Asked<'_>) -> Option<&'static str> {
        let Some((authorized, places)) = units(&self.amount) else { return Some("amount_too_large") };
        // Amounts of one charge have the places of its currency.
        let in_units = |amount: &str| units(amount).filter(|(_, of)| *of == places).map(|(units, _)| units);
        let refunds = self.changes.iter().filter(|change| change.kind == ChangeKind::Refund);
        let given_back = refunds
            .filter(|change| change.state == ChangeState::Done)
            .filter_map(|change| in_units(&change.amount))
            .sum();
        let taken = in_units(self.captured());
        refusal(asked.kind, self.state, (in_units(asked.amount), Some(authorized)), (taken, given_back))
    }

    /// How much was, or is to be, taken.
    pub(super) fn captured(&self) -> &str {
        let capture = self.changes.iter().find(|change| change.kind == ChangeKind::Capture);
        capture.map_or(&self.amount, |capture| &capture.amount)
    }

    /// Keeps a change, in the journal first; where it is done, money moves.
    fn record(&mut self, key: &str, mut change: Change, journal: &Journal) -> Result<(), JournalError> {
        let done = change.state == ChangeState::Done;
        change.done_times += u32::from(done);
        let state = change.leads_to().filter(|_| done).unwrap_or(self.state);
        let moved = done && change.kind == ChangeKind::Capture;
        self.journal(key, state, moved, Some(&change), journal)?;
        self.state = state;
        self.charged_times += u32::from(moved);
        self.changes.push(change);
        Ok(())
    }
}
