//! Spans, and the trace contexts that events and requests carry: where the two meet.
//!
//! Work is described by spans of `tracing`; where traces are kept, each of them is a span of OpenTelemetry
//! as well. What is stored with an event, and what goes out with a request, is the context of the span
//! that caused it. Where no traces are kept a context is passed on as it came.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, StringValue, global};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub use opentelemetry::trace::SpanKind;
pub use opentelemetry::{Array, KeyValue, Value};

use crate::context::TraceContext;
use crate::ports::RecordedEvent;

/// Links of one span, at most.
pub const MOST_LINKS: usize = 64;

/// Whether this process keeps traces.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Says that this process keeps traces: once, before it begins to work.
pub fn keep() {
    KEPT.store(true, Ordering::Relaxed);
}

/// Whether it is worth asking for what only traces want to know.
#[must_use]
pub fn are_kept() -> bool {
    KEPT.load(Ordering::Relaxed)
}

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

/// The span of a call of another service, by the conventions for HTTP; whoever makes the call says in it
/// how, and what became of it.
#[must_use]
pub fn call(name: &'static str) -> Span {
    tracing::info_span!(
        "call",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = Empty,
        http.response.status_code = Empty,
        server.address = Empty,
        server.port = Empty,
        error.type = Empty,
        risk.level = Empty,
        risk.score = Empty,
        transaction.id = Empty,
    )
}

/// Why a span that begins a trace of its own leads back to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// It handles what the other recorded, or asks what became of it.
    CausedBy,
    /// It tells again what the other recorded.
    ReplayOf,
    /// It is the other's request once more.
    RetryOf,
    /// It takes back what the other did.
    Compensates,
}

impl LinkKind {
    const fn name(self) -> &'static str {
        match self {
            Self::CausedBy => "caused_by",
            Self::ReplayOf => "replay_of",
            Self::RetryOf => "retry_of",
            Self::Compensates => "compensates",
        }
    }
}

/// Has a span lead back to another, such as the one that recorded what it works on. Where it begins a trace,
/// and has not begun itself, its trace is kept if that one's is: a workflow is told whole or not at all. Some viewers show links
/// forward only, and without their attributes, so the span says itself where it comes from.
pub fn link(span: &Span, origin: &TraceContext, kind: LinkKind) {
    if let Some(linked) = span_context(origin, true) {
        span.set_attribute("link.kind", kind.name());
        span.set_attribute("origin.trace_id", origin.trace_id().to_owned());
        span.add_link_with_attributes(linked, vec![KeyValue::new("link.kind", kind.name())]);
    }
}

/// What was done with events after they were recorded.
#[derive(Debug, Clone)]
pub struct Handling {
    /// The span's name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began; it ends when it is told.
    pub began: SystemTime,
    /// What it is to the spans that recorded the events.
    pub link: LinkKind,
    /// What else is to be said of it.
    pub attributes: Vec<KeyValue>,
}

/// An event that was handled, by what leads back to it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The span that recorded it.
    pub traceparent: String,
    /// The event.
    pub event_id: String,
    /// Its story.
    pub correlation_id: String,
}

impl Origin {
    /// What leads back to an event.
    #[must_use]
    pub fn of(event: &RecordedEvent) -> Self {
        Self {
            traceparent: event.traceparent.clone(),
            event_id: event.event_id.clone(),
            correlation_id: event.correlation_id.clone(),
        }
    }
}

/// Tells that a batch of events was handled: for each trace that is kept and recorded some of them, a span
/// that begins a trace of its own and links to the spans that recorded them. So whoever looks for what became
/// of a trace finds each handler once, by `origin.trace_id`, and a workflow is told whole or not at all.
pub fn handled(handling: &Handling, origins: impl IntoIterator<Item = Origin>) {
    if !are_kept() {
        return;
    }
    let mut traces: HashMap<TraceId, Vec<Origin>> = HashMap::new();
    for origin in origins {
        if let Some(recorded) = sampled(&origin.traceparent) {
            traces.entry(recorded.trace_id()).or_default().push(origin);
        }
    }
    for (trace_id, events) in traces {
        let mut attributes = vec![KeyValue::new("origin.trace_id", format!("{trace_id:032x}"))];
        if let Some(first) = events.first() {
            attributes.push(KeyValue::new("correlation.id", first.correlation_id.clone()));
        }
        let links = links(handling.link, &events);
        attributes.push(KeyValue::new("event.id", ids(events)));
        tell(handling, attributes, links);
    }
}

/// Tells of work on a long stretch of the log: one span with links to the first spans that are kept, of at
/// most [`MOST_LINKS`] events that `origins` begins with.
pub fn worked_through(handling: &Handling, origins: impl IntoIterator<Item = Origin>) {
    if are_kept() {
        let origins: Vec<Origin> =
            origins.into_iter().filter(|origin| is_kept(&origin.traceparent)).take(MOST_LINKS).collect();
        tell(handling, vec![], links(handling.link, &origins));
    }
}

fn tell(handling: &Handling, attributes: Vec<KeyValue>, links: Vec<Link>) {
    let tracer = global::tracer("payments");
    let kind = KeyValue::new("link.kind", handling.link.name());
    let attributes = handling.attributes.iter().cloned().chain(attributes).chain([kind]);
    let span = tracer
        .span_builder(handling.name.clone())
        .with_kind(handling.kind.clone())
        .with_start_time(handling.began)
        .with_links(links)
        .with_attributes(attributes);
    span.start_with_context(&tracer, &Context::new()).end();
}

/// Links to the spans that recorded events, each once, at most [`MOST_LINKS`].
fn links(kind: LinkKind, origins: &[Origin]) -> Vec<Link> {
    let mut linked: Vec<SpanContext> = vec![];
    for recorded in origins.iter().filter_map(|origin| sampled(&origin.traceparent)) {
        if linked.len() < MOST_LINKS && !linked.iter().any(|known| known.span_id() == recorded.span_id()) {
            linked.push(recorded);
        }
    }
    let kind = KeyValue::new("link.kind", kind.name());
    linked.into_iter().map(|recorded| Link::new(recorded, vec![kind.clone()], 0)).collect()
}

/// Whether the span that recorded an event is kept.
#[must_use]
pub fn is_kept(traceparent: &str) -> bool {
    sampled(traceparent).is_some()
}

fn sampled(traceparent: &str) -> Option<SpanContext> {
    span_context_of(traceparent, true).filter(SpanContext::is_sampled)
}

/// One is found by its very value; several are a list.
fn ids(mut events: Vec<Origin>) -> Value {
    match (events.len(), events.pop()) {
        (1, Some(only)) => Value::from(only.event_id),
        (_, last) => {
            let ids = events.into_iter().chain(last).map(|event| StringValue::from(event.event_id));
            Value::Array(Array::String(ids.collect()))
        }
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
    span_context_of(&trace.traceparent, remote)
}

fn span_context_of(traceparent: &str, remote: bool) -> Option<SpanContext> {
    let mut fields = traceparent.split('-').skip(1);
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
