//! What of the log is acknowledged without a gap.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rdkafka::error::KafkaError;
use tokio::sync::Notify;

/// Acknowledgements of events that were sent in the order of their positions.
#[derive(Debug)]
pub(super) struct Acks {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug)]
struct State {
    /// Every event up to this position is acknowledged.
    through: i64,
    /// The events behind it that were sent: whether each is acknowledged.
    sent: VecDeque<bool>,
    failure: Option<KafkaError>,
}

impl Acks {
    pub(super) fn behind(position: i64) -> Self {
        let state = State { through: position, sent: VecDeque::new(), failure: None };
        Self { state: Mutex::new(state), news: Notify::new() }
    }

    /// The event behind the last one is about to be sent.
    pub(super) fn sending(&self) {
        self.lock().sent.push_back(false);
    }

    /// The broker has an event, or never will.
    pub(super) fn answered(&self, position: i64, result: Result<(), KafkaError>) {
        let mut state = self.lock();
        match result {
            Ok(()) => {
                let index = usize::try_from(position - state.through - 1).ok();
                if let Some(sent) = index.and_then(|index| state.sent.get_mut(index)) {
                    *sent = true;
                }
                while state.sent.front() == Some(&true) {
                    state.sent.pop_front();
                    state.through += 1;
                }
            }
            // The first failure says why; those that follow follow from it.
            Err(error) => {
                state.failure.get_or_insert(error);
            }
        }
        drop(state);
        self.news.notify_one();
    }

    /// Position up to which every event is acknowledged, and how many were sent behind it.
    pub(super) fn through(&self) -> Result<(i64, usize), KafkaError> {
        let state = self.lock();
        match &state.failure {
            Some(error) => Err(error.clone()),
            None => Ok((state.through, state.sent.len())),
        }
    }

    /// Waits for an answer.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    proptest! {
        #[test]
        fn what_is_acknowledged_has_no_gap(order in Just((11..=40_i64).collect::<Vec<_>>()).prop_shuffle()) {
            let acks = Acks::behind(10);
            order.iter().for_each(|_| acks.sending());
            let mut answered = std::collections::BTreeSet::new();
            for position in order {
                acks.answered(position, Ok(()));
                answered.insert(position);
                let expected = (11..).take_while(|position| answered.contains(position)).last().unwrap_or(10);
                let (through, behind) = acks.through().unwrap();
                prop_assert_eq!(through, expected);
                prop_assert_eq!(behind, usize::try_from(40 - expected).unwrap());
            }
        }
    }

    #[test]
    fn what_comes_behind_a_failure_is_not_acknowledged() {
        let acks = Acks::behind(0);
        (0..3).for_each(|_| acks.sending());
        acks.answered(1, Ok(()));
        assert_eq!(acks.through().unwrap(), (1, 2));
        acks.answered(2, Err(KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue)));
        acks.answered(3, Ok(()));
        assert!(acks.through().is_err());
    }
}
