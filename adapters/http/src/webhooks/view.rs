//! Endpoints and deliveries as clients see them.

use axum::http::StatusCode;
use commands::idempotency::Answer;
use commands::webhooks::ports::Changed;
use commands::webhooks::{Delivery, Endpoint, Secret};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::values;

use crate::problem::json_text;
use crate::reading::{Cursor, time};

#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    data: Vec<T>,
    has_more: bool,
    #[schema(value_type = Option<values::Cursor>, required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct EndpointView<'a> {
    #[schema(value_type = values::EndpointId)]
    endpoint_id: &'a str,
    url: &'a str,
    event_types: &'a [String],
    description: &'a str,
    #[schema(value_type = values::EndpointState)]
    status: &'static str,
    #[schema(required)]
    disabled_reason: Option<&'a str>,
    /// Only events behind this position are sent.
    #[schema(value_type = values::Reached)]
    after_position: i64,
    /// Attempts that failed since the last one that did not.
    failures: i32,
    /// The receiver has asked for nothing before then.
    #[schema(value_type = Option<values::Time>, required)]
    held_until: Option<String>,
    /// Until then the secret before the last rotation signs as well.
    #[schema(value_type = Option<values::Time>, required)]
    previous_secret_until: Option<String>,
    #[schema(value_type = values::Time)]
    created_at: String,
    #[schema(value_type = values::Time)]
    updated_at: String,
    /// In the answers to a registration and a rotation alone.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryView<'a> {
    #[schema(value_type = values::DeliveryId)]
    delivery_id: String,
    #[schema(value_type = values::EndpointId)]
    endpoint_id: &'a str,
    #[schema(value_type = values::EventId)]
    event_id: &'a str,
    #[schema(value_type = values::Position)]
    position: i64,
    #[schema(value_type = values::EventType)]
    event_type: &'a str,
    #[schema(value_type = Option<values::PaymentId>, required)]
    payment_id: Option<&'a str>,
    #[schema(value_type = values::DeliveryState)]
    status: &'static str,
    #[schema(minimum = 0)]
    attempts: i32,
    #[schema(value_type = Option<values::Time>, required)]
    next_attempt_at: Option<String>,
    #[schema(value_type = Option<values::Time>, required)]
    last_attempt_at: Option<String>,
    /// The receiver's status code.
    #[schema(required)]
    last_status: Option<u16>,
    #[schema(required)]
    last_error: Option<&'a str>,
    #[schema(value_type = values::Time)]
    created_at: String,
    #[schema(value_type = Option<values::Time>, required)]
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
