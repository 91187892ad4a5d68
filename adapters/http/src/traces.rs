//! Both directions between events and traces.
//!
//! A trace leads to the events that it recorded through the log. An event leads to the trace that recorded it,
//! which it names, and by a search in Jaeger to the traces that handled it later: those begin after the event, so
//! the log cannot name them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use commands::idempotency::Answer;
use commands::ports::{RecordedEvent, SearchError};
use commands::shown;
use commands::traces::{RecordedTrace, by_trace};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::render;
use crate::events;
use crate::jaeger::{HandlersLink, JaegerUi};
use crate::openapi::values;
use crate::path::{ForwardQuery, NamePath, PaymentPath, PlainQuery, TracePath};
use crate::problem::{self, Problem, json_text};
use crate::reading::{self, Cursor};
use crate::shared::Shared;

#[derive(Serialize, ToSchema)]
#[schema(as = TracePage)]
pub(crate) struct Traces<'a> {
    data: Vec<TraceView<'a>>,
    has_more: bool,
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Trace)]
pub(crate) struct TraceView<'a> {
    #[schema(value_type = values::TraceId)]
    trace_id: &'a str,
    /// What the trace did with the events.
    kind: &'static str,
    /// Whether its spans were to be kept.
    sampled: bool,
    #[schema(value_type = Vec<values::SpanId>)]
    span_ids: Vec<&'a str>,
    /// RFC 3339, UTC, microseconds.
    #[schema(value_type = values::Time)]
    first_at: String,
    #[schema(value_type = values::Time)]
    last_at: String,
    /// Its page in Jaeger, `null` where there is none.
    #[schema(required)]
    url: Option<String>,
    /// Searches in Jaeger for what handled these events later.
    handled_by: Vec<HandlersLink>,
    events: Vec<EventRef<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EventRef<'a> {
    #[schema(value_type = values::EventId)]
    event_id: &'a str,
    #[schema(value_type = values::Position)]
    position: i64,
    #[schema(value_type = values::EventType)]
    r#type: &'a str,
    #[schema(value_type = values::SpanId)]
    span_id: &'a str,
}

/// `GET /api/v1/traces/{trace_id}/events`: what a trace recorded, in the order of the log. Most traces record
/// nothing, those of readers for instance, so none is an empty list and no 404.
pub(crate) async fn events_of(
    State(shared): State<Arc<Shared>>,
    TracePath(trace_id): TracePath,
    query: ForwardQuery,
) -> Result<Response, Problem> {
    // One more than asked for tells whether there is more.
    let read = shared.api.reader.of_trace(&trace_id, query.after, query.limit + 1).await;
    let mut events = read.map_err(not_found_in_time)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let has_more = events.len() > limit;
    events.truncate(limit);
    let next_cursor = events.last().filter(|_| has_more).map(|event| Cursor(event.position).text());
    events::page(&shared, &events, has_more, next_cursor)
}

/// `GET /api/v1/events/{event_id}/traces`.
pub(crate) async fn of_event(
    State(shared): State<Arc<Shared>>,
    NamePath(event_id): NamePath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let event = events::found(&shared, &event_id).await?;
    Ok(answer(&[event], shared.jaeger()))
}

/// `GET /api/v1/payments/{payment_id}/traces`: the traces that recorded its story, accounts included, in the
/// order of the log.
pub(crate) async fn of_payment(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    Ok(answer(&events::story_of(&shared, payment_id).await?, shared.jaeger()))
}

fn answer(events: &[RecordedEvent], jaeger: Option<&JaegerUi>) -> Response {
    let traces = by_trace(events);
    let data = traces.iter().map(|trace| trace_view(trace, jaeger)).collect();
    let body = json_text(&Traces { data, has_more: false, next_cursor: None });
    render(&Answer { status: StatusCode::OK.as_u16(), body, position: None })
}

fn trace_view<'a>(trace: &RecordedTrace<'a>, jaeger: Option<&JaegerUi>) -> TraceView<'a> {
    // Of a trace that was not kept there is no page, and whatever handled its events is not kept either.
    let jaeger = jaeger.filter(|_| trace.sampled);
    let (first_at, last_at) = (trace.first_at(), trace.last_at());
    TraceView {
        trace_id: trace.trace_id,
        kind: "recorded_by",
        sampled: trace.sampled,
        span_ids: trace.span_ids(),
        first_at: reading::time(first_at),
        last_at: reading::time(last_at),
        url: jaeger.map(|jaeger| jaeger.trace_url(trace.trace_id)),
        handled_by: jaeger
            .map(|jaeger| jaeger.handlers(trace.trace_id, first_at, last_at))
            .unwrap_or_default(),
        events: trace.events.iter().map(|event| event_ref(event)).collect(),
    }
}

fn event_ref(event: &RecordedEvent) -> EventRef<'_> {
    EventRef {
        event_id: &event.event_id,
        position: event.position,
        r#type: &event.event_type,
        span_id: shown::span_id(event),
    }
}

fn not_found_in_time(error: SearchError) -> Problem {
    match error {
        SearchError::Store(error) => problem::read_failed(error),
        SearchError::TookTooLong { limit_ms } => Problem::unavailable(
            "search_took_too_long",
            format!(
                "The trace's events were not found within {limit_ms} ms: the log has grown faster than its \
                 index of traces. Repeat the request later, or ask by payment."
            ),
            60,
        ),
    }
}
