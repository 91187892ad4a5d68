//! Who calls.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use commands::access::{ANONYMOUS, Scopes};

use crate::problem::Problem;

/// A caller with what it may do. The edge puts it into each request to the API.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Scopes idempotency keys, payments and webhooks; the actor of events.
    pub(crate) caller: Arc<str>,
    pub(crate) scopes: Scopes,
    pub(super) source: Source,
}

/// How it is known who calls.
#[derive(Debug)]
pub(super) enum Source {
    /// Nobody asked.
    Nobody,
    /// By a key.
    Key {
        /// The key's.
        id: String,
    },
    /// By a token.
    Token {
        /// From then on it is good for nothing.
        ends_at: DateTime<Utc>,
    },
}

impl Identity {
    /// Whoever it is, where nobody asks.
    pub(crate) fn anonymous() -> Self {
        Self { caller: Arc::from(ANONYMOUS), scopes: Scopes::all(), source: Source::Nobody }
    }
}

/// The identity that the edge has put into the request.
pub(super) fn of(parts: &Parts) -> Result<&Arc<Identity>, Problem> {
    parts.extensions.get().ok_or_else(past_the_edge)
}

pub(super) fn past_the_edge() -> Problem {
    Problem::internal("a request has come past the edge")
}

/// Who calls, for handlers.
pub(crate) struct Caller(pub(crate) Arc<Identity>);

impl Caller {
    /// The caller of a request.
    pub(crate) fn of(parts: &Parts) -> Result<Self, Problem> {
        of(parts).cloned().map(Self)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0.caller
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}
