//! Requests that are carried out once under their keys, whatever they ask.

use std::sync::Arc;

use crate::idempotency::{Answer, InFlight, KeyConflict, KeyedRequest, Reply};
use crate::ports::{EventStore, StoreError};
use crate::unit::Unit;

/// Why a keyed request has no recorded answer. Nothing was changed, or (for an unknown outcome) a
/// repeat under the same key finds out.
#[derive(Debug, thiserror::Error)]
pub enum KeyedError {
    /// The key is in use, or was used for something else.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store could not carry it out.
    #[error(transparent)]
    Store(StoreError),
}

/// Looks keys up and records what answers them.
#[derive(Clone)]
pub(crate) struct KeyedRequests {
    store: Arc<dyn EventStore>,
    in_flight: InFlight,
}

impl KeyedRequests {
    pub(crate) fn new(store: Arc<dyn EventStore>, in_flight: InFlight) -> Self {
        Self { store, in_flight }
    }

    /// Carries a request out, unless it was before: then it gets the recorded answer. `work` gives `None`
    /// where somebody else has claimed the key meanwhile.
    pub(crate) async fn once<E: From<KeyedError>>(
        &self,
        keyed: &KeyedRequest,
        work: impl Future<Output = Result<Option<Answer>, E>>,
    ) -> Result<Reply, E> {
        let entered = self.in_flight.enter(&keyed.claim.key);
        let _guard = entered.ok_or(KeyedError::Key(KeyConflict::InFlight))?;
        if let Some(reply) = self.recorded(keyed).await? {
            return Ok(reply);
        }
        match work.await? {
            Some(answer) => {
                let trace_id = keyed.context.trace.trace_id().to_owned();
                Ok(Reply { answer, replayed: false, trace_id })
            }
            // Somebody else, in another process, carried the request out meanwhile.
            None => {
                let recorded = self.recorded(keyed).await?;
                Ok(recorded.ok_or(KeyedError::Key(KeyConflict::InFlight))?)
            }
        }
    }

    async fn recorded(&self, keyed: &KeyedRequest) -> Result<Option<Reply>, KeyedError> {
        let found = self.store.look_up(&keyed.claim.key, None).await.map_err(KeyedError::Store)?;
        match found.key {
            Some(record) => {
                record.link_repeat();
                Ok(Some(record.reply_to(&keyed.claim)?))
            }
            None => Ok(None),
        }
    }

    /// Records an answer of a request that changed nothing: a unit without events.
    pub(crate) async fn record(
        &self,
        answer: Answer,
        keyed: &KeyedRequest,
    ) -> Result<Option<Answer>, KeyedError> {
        let unit = Unit {
            steps: vec![],
            observed: vec![],
            claim: Some(keyed.claim.clone()),
            answer: None,
            expect_new: false,
            context: keyed.context.clone(),
        }
        .answering(keyed.claim.key.clone(), move |_| answer.clone());
        match self.store.execute(unit).await {
            Ok(receipt) => Ok(receipt.answer),
            Err(StoreError::KeyTaken) => Ok(None),
            Err(error) => Err(KeyedError::Store(error)),
        }
    }
}
