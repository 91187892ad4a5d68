//! One request under one key is carried out once and answered the same again.
//!
//! The key is claimed in the append that first changes anything, the answer is recorded in the
//! append that ends the request; both therefore survive what the events survive. Whoever repeats
//! the request while it runs is told so, and afterwards gets the recorded bytes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::payment::Requester;
use tracing::Span;

use crate::context::{CommandContext, TraceContext};
use crate::spans::{self, LinkKind};

/// A caller's name for one request. Keys of different callers do not meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose key it is.
    pub caller: Arc<str>,
    /// The key, 1 to 255 printable characters.
    pub key: Arc<str>,
}

impl From<&Requester> for IdempotencyKey {
    fn from(requester: &Requester) -> Self {
        Self {
            caller: Arc::from(requester.caller.as_str()),
            key: Arc::from(requester.idempotency_key.as_str()),
        }
    }
}

impl IdempotencyKey {
    /// The request under this key, as events name it.
    #[must_use]
    pub fn requester(&self) -> Requester {
        Requester { caller: self.caller.as_ref().to_owned(), idempotency_key: self.key.as_ref().to_owned() }
    }
}

/// A key as it is written when a request first changes something.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The key.
    pub key: IdempotencyKey,
    /// SHA-256 of what was asked; another request under the same key is a mistake.
    pub request_hash: [u8; 32],
    /// `traceparent` of the first request.
    pub traceparent: String,
}

/// An answer to a request. `body` is a JSON object; the position of the last event becomes its last
/// member when the events have one, see [`Answer::render`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status code, the one language that all callers share.
    pub status: u16,
    /// A JSON object, without the position.
    pub body: String,
    /// Position of the last event that the answer tells of.
    pub position: Option<i64>,
}

impl Claim {
    /// The trace of the first request.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        trace_id_of(&self.traceparent)
    }
}

fn trace_id_of(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or(traceparent)
}

impl Answer {
    /// The bytes of the answer: the same for the first caller and for each repeat.
    #[must_use]
    pub fn render(&self) -> String {
        match (self.position, self.body.strip_suffix('}')) {
            (Some(position), Some(open)) => format!("{open},\"position\":{position}}}"),
            _ => self.body.clone(),
        }
    }
}

/// An answer together with how it came about.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What is answered.
    pub answer: Answer,
    /// Whether it was recorded earlier.
    pub replayed: bool,
    /// The trace that carried the request out: the first one, for a repeat.
    pub trace_id: String,
}

/// What is recorded under a key.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// SHA-256 of the first request.
    pub request_hash: [u8; 32],
    /// `traceparent` of the first request; of older records only its trace id.
    pub traceparent: String,
    /// Absent while the request runs.
    pub answer: Option<Answer>,
}

/// Why a keyed request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyConflict {
    /// The first request still runs.
    #[error("a request with this idempotency key is still being processed")]
    InFlight,
    /// The key belongs to another request.
    #[error("this idempotency key was used for another request")]
    OtherRequest,
}

impl KeyRecord {
    /// The trace of the first request.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        trace_id_of(&self.traceparent)
    }

    /// Has the span of a repeat lead back to the first request, where that one's trace is kept: the client
    /// chose the repeat's own trace, so each is kept or not by itself.
    pub(crate) fn link_repeat(&self) {
        if !spans::is_kept(&self.traceparent) {
            return;
        }
        let first = TraceContext { traceparent: self.traceparent.clone(), tracestate: None, baggage: None };
        spans::link(&Span::current(), &first, LinkKind::RetryOf);
    }

    /// The recorded answer for a repeat of the request.
    ///
    /// # Errors
    /// [`KeyConflict`] when there is none, or when the request is another one.
    pub fn reply_to(&self, claim: &Claim) -> Result<Reply, KeyConflict> {
        if self.request_hash != claim.request_hash {
            return Err(KeyConflict::OtherRequest);
        }
        match &self.answer {
            None => Err(KeyConflict::InFlight),
            Some(answer) => {
                Ok(Reply { answer: answer.clone(), replayed: true, trace_id: self.trace_id().to_owned() })
            }
        }
    }
}

/// Keys whose requests run in this process: the quick half of "still in flight". The claim in the
/// store is the half that decides.
#[derive(Debug, Default, Clone)]
pub struct InFlight {
    keys: Arc<Mutex<HashSet<IdempotencyKey>>>,
}

/// Holds a key until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard {
    keys: InFlight,
    key: IdempotencyKey,
}

impl InFlight {
    /// Enters a key, unless it is in.
    #[must_use]
    pub fn enter(&self, key: &IdempotencyKey) -> Option<InFlightGuard> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| InFlightGuard { keys: self.clone(), key: key.clone() })
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut keys = self.keys.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

/// A request's key, what it asks, and where it comes from.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// The key and the hash of the request.
    pub claim: Claim,
    /// Origin of the events that it causes.
    pub context: CommandContext,
}
