//! Who asked, for what, in which trace.

use std::sync::Arc;

use crate::spans;

/// W3C trace context of the span that caused a command, kept in full even when unsampled, so that
/// each event leads back to its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`.
    pub traceparent: String,
    /// Vendors' part of the context.
    pub tracestate: Option<String>,
    /// W3C baggage: `user_id`, `request_id`, `session_id`.
    pub baggage: Option<String>,
}

impl TraceContext {
    /// The 32 hexadecimal digits that name the trace.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.traceparent.split('-').nth(1).unwrap_or_default()
    }
}

/// What every event says about its origin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// The business story that the events belong to: the payment, or the posting.
    pub correlation_id: Arc<str>,
    /// What caused the events: the request, or an earlier event.
    pub causation_id: Arc<str>,
    /// Who acts: the caller, or a part of the engine such as `saga:recovery`.
    pub actor: Arc<str>,
    /// The trace that the command runs in.
    pub trace: Arc<TraceContext>,
}

impl CommandContext {
    /// The same story, told by a span: what is recorded, or asked, leads back to it.
    #[must_use]
    pub fn within(&self, span: &tracing::Span) -> Self {
        match spans::context_of(span, &self.trace) {
            Some(trace) => Self { trace: Arc::new(trace), ..self.clone() },
            None => self.clone(),
        }
    }

    /// The same story, caused by something else.
    #[must_use]
    pub fn caused_by(&self, causation_id: &str) -> Self {
        Self { causation_id: Arc::from(causation_id), ..self.clone() }
    }
}
