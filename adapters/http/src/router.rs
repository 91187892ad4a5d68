//! The routes.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::payments::{change, list, refunds};
use crate::problem::Problem;
use crate::shared::{Api, Shared, panicked};
use crate::webhooks::deliveries;
use crate::{accounts, edge, events, health, openapi, payments, traces, transfers, webhooks};

/// The API as a service.
pub fn router(api: Api) -> Router {
    routes(Arc::new(Shared::new(api)))
}

pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let health = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    let documents = Router::new()
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::docs::page))
        .route("/docs/redoc.js", get(openapi::docs::program));
    let served =
        if shared.api.settings.only_health { health } else { health.merge(documents).merge(api_routes()) };
    served
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(Arc::clone(&shared), edge::pass))
        .with_state(shared)
}

fn api_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/payment", post(payments::create))
        .route("/api/v1/payments", post(payments::create).get(list::list))
        .route("/api/v1/payments/{payment_id}", get(payments::show))
        .route("/api/v1/payments/{payment_id}/capture", post(change::capture))
        .route("/api/v1/payments/{payment_id}/void", post(change::void))
        .route("/api/v1/payments/{payment_id}/refunds", post(refunds::create).get(refunds::list))
        .route("/api/v1/payments/{payment_id}/refunds/{refund_id}", get(refunds::show))
        .route("/api/v1/payments/{payment_id}/review", post(change::review))
        .route("/api/v1/transfers", post(transfers::create))
        .route("/api/v1/payments/{payment_id}/events", get(events::story))
        .route("/api/v1/payments/{payment_id}/traces", get(traces::of_payment))
        .route("/api/v1/payments/{payment_id}/deliveries", get(deliveries::of_payment))
        .route("/api/v1/webhooks", post(webhooks::register).get(webhooks::list))
        .route(
            "/api/v1/webhooks/{endpoint_id}",
            get(webhooks::show).patch(webhooks::update).delete(webhooks::delete),
        )
        .route("/api/v1/webhooks/{endpoint_id}/rotate-secret", post(webhooks::rotate_secret))
        .route("/api/v1/webhooks/{endpoint_id}/deliveries", get(deliveries::of_endpoint))
        .route("/api/v1/deliveries", get(deliveries::list))
        .route("/api/v1/deliveries/{delivery_id}/resend", post(deliveries::resend))
        .route("/api/v1/accounts", post(accounts::open))
        .route("/api/v1/accounts/{account_id}", get(accounts::show))
        .route("/api/v1/accounts/{account_id}/entries", get(accounts::entries))
        .route("/api/v1/accounts/{account_id}/deposits", post(accounts::deposit))
        .route("/api/v1/accounts/{account_id}/withdrawals", post(accounts::withdraw))
        .route("/api/v1/accounts/{account_id}/freeze", post(accounts::freeze))
        .route("/api/v1/accounts/{account_id}/unfreeze", post(accounts::unfreeze))
        .route("/api/v1/accounts/{account_id}/close", post(accounts::close))
        .route("/api/v1/events", get(events::log))
        .route("/api/v1/events/{event_id}", get(events::show))
        .route("/api/v1/events/{event_id}/traces", get(traces::of_event))
        .route("/api/v1/traces/{trace_id}/events", get(traces::events_of))
}

async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path.")
}

async fn no_such_method() -> Problem {
    let detail = "This path does not know this method; the Allow header names those that it knows.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    panicked(&*panic).into_response()
}
