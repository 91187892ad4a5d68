//! Spans, and the trace contexts that events and requests carry: where the two meet.
//!
//! Work is described by spans of `tracing`; where traces are kept, each of them is a span of OpenTelemetry
//! as well. What is stored with an event, and what goes out with a request, is the context of the span
//! that caused it. Where no traces are kept a context is passed on as it came.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::context::TraceContext;

/// Puts a span that has not begun into the trace of a stranger's. Whether it is kept is decided here.
pub fn continue_trace(span: &Span, parent: &TraceContext) {
    set_parent(span, parent, true);
}

/// Puts a span that has not begun into the trace of a process of ours, which has decided whether it is kept.
pub fn join_trace(span: &Span, parent: &TraceContext) {
    set_parent(span, parent, false);
}

/// A parent that is `remote` is a stranger's to the sampler of `adapter-telemetry`.
fn set_parent(span: &Span, parent: &TraceContext, remote: bool) {
    if let Some(parent) = span_context(parent, remote) {
        // Refused where no traces are kept, and then there is nothing to continue.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Why a span that begins a trace of its own leads back to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// It handles what the other recorded.
    CausedBy,
}

impl LinkKind {
    const fn name(self) -> &'static str {
        match self {
            Self::CausedBy => "caused_by",
        }
    }
}

/// Has a span that has not begun, and that begins a trace, lead back to the span that recorded what it works
/// on. Its trace is kept if that one's is: a workflow is told whole or not at all. Some viewers show links
/// forward only, and without their attributes, so the span says itself where it comes from.
pub fn link(span: &Span, origin: &TraceContext, kind: LinkKind) {
    if let Some(linked) = span_context(origin, true) {
        span.set_attribute("link.kind", kind.name());
        span.set_attribute("origin.trace_id", origin.trace_id().to_owned());
        span.add_link_with_attributes(linked, vec![KeyValue::new("link.kind", kind.name())]);
    }
}

/// The context of what a span causes: `None` where no traces are kept.
#[must_use]
pub fn context_of(span: &Span, within: &TraceContext) -> Option<TraceContext> {
    let context = span.context();
    let entered = context.span();
    let own = entered.span_context();
    own.is_valid().then(|| TraceContext {
        traceparent: format!(
            "00-{:032x}-{:016x}-{:02x}",
            own.trace_id(),
            own.span_id(),
            own.trace_flags().to_u8()
        ),
        tracestate: within.tracestate.clone(),
        baggage: within.baggage.clone(),
    })
}

/// A context as OpenTelemetry has it; `None` when its `traceparent` is none.
fn span_context(trace: &TraceContext, remote: bool) -> Option<SpanContext> {
    let mut fields = trace.traceparent.split('-').skip(1);
    let trace_id = TraceId::from_hex(fields.next()?).ok()?;
    let span_id = SpanId::from_hex(fields.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(fields.next()?, 16).ok()?);
    // Vendors' part goes on in the context that is passed on; for a span it is only more to copy.
    let context = SpanContext::new(trace_id, span_id, flags, remote, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: traceparent.to_owned(), tracestate: None, baggage: None }
    }

    #[test]
    fn a_context_is_read_whole_or_not_at_all() {
        let read =
            span_context(&trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), true).unwrap();
        assert_eq!(format!("{:032x}", read.trace_id()), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(format!("{:016x}", read.span_id()), "b7ad6b7169203331");
        assert!(read.is_sampled() && read.is_remote());
        for wrong in ["", "00-0-0-0", "00-0af7651916cd43dd8448eb211c80319c", "00-x-b7ad6b7169203331-01"] {
            assert_eq!(span_context(&trace(wrong), true), None, "{wrong}");
        }
    }

    #[test]
    fn where_no_traces_are_kept_a_span_has_no_context() {
        let parent = trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let span = tracing::info_span!("work");
        continue_trace(&span, &parent);
        assert_eq!(context_of(&span, &parent), None);
    }
}
