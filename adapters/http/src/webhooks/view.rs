//! Endpoints and deliveries as clients see them.

use axum::http::StatusCode;
use commands::idempotency::Answer;
use commands::webhooks::ports::Changed;
use commands::webhooks::{Delivery, Endpoint, Secret};
use serde::Serialize;

use crate::problem::json_text;
use crate::reading::{Cursor, time};

#[derive(Serialize)]
struct Page<T> {
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct EndpointView<'a> {
    endpoint_id: &'a str,
    url: &'a str,
    event_types: &'a [String],
    description: &'a str,
    status: &'static str,
    disabled_reason: Option<&'a str>,
    /// Only events behind this position are sent.
    after_position: i64,
    /// Attempts that failed since the last one that did not.
    failures: i32,
    /// The receiver has asked for nothing before then.
    held_until: Option<String>,
    /// Until then the secret before the last rotation signs as well.
    previous_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Serialize)]
struct DeliveryView<'a> {
    delivery_id: String,
    endpoint_id: &'a str,
    event_id: &'a str,
    position: i64,
    event_type: &'a str,
    payment_id: Option<&'a str>,
    status: &'static str,
    attempts: i32,
    next_attempt_at: Option<String>,
    last_attempt_at: Option<String>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    created_at: String,
    ended_at: Option<String>,
}

/// The answer to a change.
pub(super) fn changed(changed: &Changed, status: StatusCode) -> Answer {
    let body = match changed {
        Changed::Endpoint(endpoint, secret) => endpoint_body(endpoint, Some(secret)),
        Changed::Delivery(delivery) => json_text(&delivery_view(delivery)),
    };
    Answer { status: status.as_u16(), body, position: None }
}

/// An endpoint, with its secret where it is shown.
pub(super) fn endpoint_body(endpoint: &Endpoint, secret: Option<&Secret>) -> String {
    json_text(&endpoint_view(endpoint, secret))
}

/// All endpoints: there are not so many that they need pages.
pub(super) fn endpoint_page(endpoints: &[Endpoint]) -> String {
    let data = endpoints.iter().map(|endpoint| endpoint_view(endpoint, None)).collect();
    json_text(&Page { data, has_more: false, next_cursor: None })
}

/// A page of deliveries, of which one more than asked for was read.
pub(super) fn delivery_page(deliveries: &[Delivery], limit: u32) -> String {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = deliveries.len() > limit;
    let shown = deliveries.get(..limit).unwrap_or(deliveries);
    let next_cursor = shown.last().filter(|_| has_more).map(|last| Cursor(last.id.0).text());
    json_text(&Page { data: shown.iter().map(delivery_view).collect(), has_more, next_cursor })
}

fn endpoint_view<'a>(endpoint: &'a Endpoint, secret: Option<&'a Secret>) -> EndpointView<'a> {
    EndpointView {
        endpoint_id: &endpoint.id,
        url: &endpoint.url,
        event_types: endpoint.filter.names(),
        description: &endpoint.description,
        status: endpoint.status.name(),
        disabled_reason: endpoint.disabled_reason.as_deref(),
        after_position: endpoint.after_position,
        failures: endpoint.failures,
        held_until: endpoint.held_until.map(time),
        previous_secret_until: endpoint.previous_until.map(time),
        created_at: time(endpoint.created_at),
        updated_at: time(endpoint.updated_at),
        secret: secret.map(Secret::expose),
    }
}

fn delivery_view(delivery: &Delivery) -> DeliveryView<'_> {
    DeliveryView {
        delivery_id: delivery.id.to_string(),
        endpoint_id: &delivery.endpoint_id,
        event_id: &delivery.event_id,
        position: delivery.position,
        event_type: &delivery.event_type,
        payment_id: delivery.payment_id.as_deref(),
        status: delivery.status.name(),
        attempts: delivery.attempts,
        next_attempt_at: delivery.next_attempt_at.map(time),
        last_attempt_at: delivery.last_attempt_at.map(time),
        last_status: delivery.last_status,
        last_error: delivery.last_error.as_deref(),
        created_at: time(delivery.created_at),
        ended_at: delivery.ended_at.map(time),
    }
}

/// A delivery as JSON, for whoever tells of it elsewhere.
///
/// It is the API's view of it, so that a tool and the API name everything alike.
#[must_use]
pub fn delivery_json(delivery: &Delivery) -> String {
    json_text(&delivery_view(delivery))
}

/// An endpoint as JSON, without its secret.
#[must_use]
pub fn endpoint_json(endpoint: &Endpoint) -> String {
    endpoint_body(endpoint, None)
}
