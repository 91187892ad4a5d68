//! Events as clients see them: the log page by page or followed live, one event, a payment's story.

mod follow;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use commands::idempotency::Answer;
use commands::ports::RecordedEvent;
use commands::shown;
use domain::PaymentId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::answers::render;
use crate::jaeger::JaegerUi;
use crate::openapi::values;
use crate::path::{LogQuery, NamePath, PaymentPath, PlainQuery};
use crate::payments::payment_not_found;
use crate::problem::{self, Problem, json_text};
use crate::shared::Shared;

#[derive(Serialize, ToSchema)]
pub(crate) struct Page<'a> {
    data: Vec<EventView<'a>>,
    has_more: bool,
    /// Where the list goes on: pass it on as it is.
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView<'a> {
    #[schema(value_type = values::EventId)]
    event_id: &'a str,
    #[schema(value_type = values::Position)]
    position: i64,
    /// Its place in the stream of its aggregate: 1, 2, 3, ...
    #[schema(minimum = 1)]
    sequence: i64,
    #[schema(value_type = values::EventType)]
    r#type: &'a str,
    /// Of the payload's shape.
    version: &'a str,
    /// RFC 3339, UTC, microseconds.
    #[schema(value_type = values::Time)]
    recorded_at: String,
    aggregate: AggregateView<'a>,
    /// What the event says: the fields of its type. An event of an older version may have those that it had then.
    #[schema(value_type = Object)]
    payload: Value,
    /// What it belongs to: a payment, or the request's subject.
    correlation_id: &'a str,
    /// What caused it: a request, or an event.
    causation_id: &'a str,
    /// Whose request it was.
    actor: &'a str,
    #[schema(value_type = values::TraceId)]
    trace_id: &'a str,
    #[schema(value_type = values::Traceparent)]
    traceparent: &'a str,
    /// The trace's page in Jaeger, where there is one.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_url: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    baggage: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Aggregate)]
pub(crate) struct AggregateView<'a> {
    #[schema(value_type = values::AggregateType)]
    r#type: &'a str,
    id: &'a str,
}

/// `GET /api/v1/events`: a page of the log, or the log as it grows for whoever accepts an event stream.
pub(crate) async fn log(
    State(shared): State<Arc<Shared>>,
    query: LogQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("text/event-stream") {
        return follow::stream(&shared, query, &headers);
    }
    // One more than asked for tells whether there is more.
    let read = shared.api.reader.behind(query.after, query.limit + 1).await;
    let mut events = read.map_err(problem::read_failed)?;
    let has_more = events.len() > usize::try_from(query.limit).unwrap_or(usize::MAX);
    if has_more {
        events.pop();
    }
    let next_cursor = events.last().map(|event| event.position.to_string());
    page(&shared, &events, has_more, next_cursor)
}

/// A page of events.
pub(crate) fn page(
    shared: &Shared,
    events: &[RecordedEvent],
    has_more: bool,
    next_cursor: Option<String>,
) -> Result<Response, Problem> {
    let data = events.iter().map(|event| view(event, shared.jaeger())).collect::<Result<_, _>>()?;
    let body = json_text(&Page { data, has_more, next_cursor });
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: None }))
}

/// `GET /api/v1/events/{event_id}`.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    NamePath(event_id): NamePath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let event = found(&shared, &event_id).await?;
    let body = json_text(&view(&event, shared.jaeger())?);
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: None }))
}

/// The event of an id.
pub(crate) async fn found(shared: &Shared, event_id: &str) -> Result<RecordedEvent, Problem> {
    let found = shared.api.reader.event(event_id).await.map_err(problem::read_failed)?;
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "event_not_found", "There is no such event."))
}

/// `GET /api/v1/payments/{payment_id}/events`.
pub(crate) async fn story(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    page(&shared, &story_of(&shared, payment_id).await?, false, None)
}

/// What happened to a payment, accounts included.
pub(crate) async fn story_of(shared: &Shared, payment_id: PaymentId) -> Result<Vec<RecordedEvent>, Problem> {
    let events = shared.api.reader.story(&payment_id).await.map_err(problem::read_failed)?;
    if events.is_empty() { Err(payment_not_found(payment_id)) } else { Ok(events) }
}

/// An event as the API shows it: a JSON object, with amounts as decimals.
///
/// # Errors
/// The payload in the log is no JSON.
pub fn event_json(event: &RecordedEvent) -> Result<String, serde_json::Error> {
    serde_json::to_string(&view_of(event, None)?)
}

/// `jaeger` is where its trace is shown, if it is.
fn view<'a>(event: &'a RecordedEvent, jaeger: Option<&JaegerUi>) -> Result<EventView<'a>, Problem> {
    view_of(event, jaeger)
        .map_err(|error| Problem::internal(format!("payload of event {}: {error}", event.event_id)))
}

fn view_of<'a>(
    event: &'a RecordedEvent,
    jaeger: Option<&JaegerUi>,
) -> Result<EventView<'a>, serde_json::Error> {
    let payload = shown::payload(&event.payload)?;
    Ok(EventView {
        event_id: &event.event_id,
        position: event.position,
        sequence: event.sequence,
        r#type: &event.event_type,
        version: &event.event_version,
        recorded_at: crate::reading::time(event.recorded_at),
        aggregate: AggregateView { r#type: &event.aggregate_type, id: &event.aggregate_id },
        payload,
        correlation_id: &event.correlation_id,
        causation_id: &event.causation_id,
        actor: &event.actor,
        trace_id: shown::trace_id(event),
        traceparent: &event.traceparent,
        trace_url: jaeger
            .filter(|_| shown::is_sampled(event))
            .map(|jaeger| jaeger.trace_url(shown::trace_id(event))),
        tracestate: event.tracestate.as_deref(),
        baggage: event.baggage.as_deref(),
    })
}
