//! Handling events once, whoever tells of them: a broker's partition, or the log itself.
//!
//! Events come at least once and in the order of their positions, but for repeats: after a crash a
//! stretch is told again. A handler keeps, per [`Source`], the position of the last event that it has
//! handled, changes it in the transaction that keeps the effect, and drops what is not behind it. So
//! each event has its effect exactly once, and nothing has to be remembered of single events.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::RecordedEvent;

/// Where events come from: one sequence of events in which positions grow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// A topic's name; [`Source::LOG`] for the log itself.
    pub topic: Arc<str>,
    /// Which of the topic's partitions, from 0.
    pub partition: i32,
}

impl Source {
    /// The topic that stands for the log itself. No topic of a broker has this name.
    pub const LOG: &'static str = "(log)";

    /// The log itself.
    #[must_use]
    pub fn log() -> Self {
        Self { topic: Self::LOG.into(), partition: 0 }
    }
}

/// Why events were not handled. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The place where effects are kept does not answer: the same events are to come again.
    #[error("the handler's database is not available")]
    Unavailable,
    /// An event can never be handled. Those before it were; it and what follows are to come again without it.
    #[error("the event at position {position} cannot be handled: {reason}")]
    Poisoned {
        /// The event.
        position: i64,
        /// Why not, for an operator.
        reason: String,
    },
}

/// Has an effect for each event, once.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Its name, under which it keeps how far it is: also the consumer group's.
    fn name(&self) -> &'static str;

    /// Carries out what the events cause. They are in the order of their positions; those that this
    /// handler has seen from this source are dropped. When it returns, effects and position are durable.
    ///
    /// # Errors
    /// [`HandleError`] says whether to come again.
    async fn handle(&self, source: &Source, events: &[RecordedEvent]) -> Result<(), HandleError>;

    /// Position of the last event that was handled from a source, 0 before the first.
    ///
    /// # Errors
    /// [`HandleError::Unavailable`] without the database.
    async fn position(&self, source: &Source) -> Result<i64, HandleError>;
}
