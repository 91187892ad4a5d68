//! The routes.

use std::any::Any;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use commands::access::Scope::{Operate, Read, Write};
use tower_http::catch_panic::CatchPanicLayer;

use crate::gate::routing::{Routes, get, post};
use crate::payments::{change, list, refunds};
use crate::problem::Problem;
use crate::shared::{Api, Shared, panicked};
use crate::webhooks::deliveries;
use crate::{
    accounts, edge, events, headers, health, openapi, payments, traces, transfers, webhooks, withdrawals,
};

/// The API as a service.
pub fn router(api: Api) -> Router {
    routes(Arc::new(Shared::new(api)))
}

pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let health = Router::new()
        .route("/healthz", routing::get(health::live))
        .route("/readyz", routing::get(health::ready))
        .route("/metrics", routing::get(health::metrics));
    let documents = Router::new()
        .route("/openapi.json", routing::get(openapi::json))
        .route("/docs", routing::get(openapi::docs::page))
        .route("/docs/redoc.js", routing::get(openapi::docs::program));
    let served =
        if shared.api.settings.only_health { health } else { health.merge(documents).merge(api_routes()) };
    let origins = shared.api.settings.cors_origins.clone();
    let served = served
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(Arc::clone(&shared), edge::pass))
        .with_state(shared);
    // Outside of the edge: a browser that asks whether it may call says nothing of who it is.
    if origins.is_empty() { served } else { served.layer(headers::cors(&origins)) }
}

/// Each method with the scope that a caller needs for it.
fn api_routes() -> Router<Arc<Shared>> {
    Routes::new()
        .route("/api/v1/payment", post(Write, payments::create))
        .route("/api/v1/payments", post(Write, payments::create).get(Read, list::list))
        .route("/api/v1/payments/{payment_id}", get(Read, payments::show))
        .route("/api/v1/payments/{payment_id}/capture", post(Write, change::capture))
        .route("/api/v1/payments/{payment_id}/void", post(Write, change::void))
        .route("/api/v1/payments/{payment_id}/refunds", post(Write, refunds::create).get(Read, refunds::list))
        .route("/api/v1/payments/{payment_id}/refunds/{refund_id}", get(Read, refunds::show))
        .route("/api/v1/payments/{payment_id}/review", post(Operate, change::review))
        .route("/api/v1/transfers", post(Write, transfers::create))
        .route("/api/v1/payments/{payment_id}/events", get(Read, events::story))
        .route("/api/v1/payments/{payment_id}/traces", get(Read, traces::of_payment))
        .route("/api/v1/payments/{payment_id}/deliveries", get(Operate, deliveries::of_payment))
        .route("/api/v1/webhooks", post(Operate, webhooks::register).get(Operate, webhooks::list))
        .route(
            "/api/v1/webhooks/{endpoint_id}",
            get(Operate, webhooks::show).patch(Operate, webhooks::update).delete(Operate, webhooks::delete),
        )
        .route("/api/v1/webhooks/{endpoint_id}/rotate-secret", post(Operate, webhooks::rotate_secret))
        .route("/api/v1/webhooks/{endpoint_id}/deliveries", get(Operate, deliveries::of_endpoint))
        .route("/api/v1/deliveries", get(Operate, deliveries::list))
        .route("/api/v1/deliveries/{delivery_id}/resend", post(Operate, deliveries::resend))
        .route("/api/v1/accounts", post(Write, accounts::open))
        .route("/api/v1/accounts/{account_id}", get(Read, accounts::show))
        .route("/api/v1/accounts/{account_id}/entries", get(Read, accounts::entries))
        .route("/api/v1/accounts/{account_id}/deposits", post(Write, accounts::deposit))
        .route("/api/v1/accounts/{account_id}/withdrawals", post(Write, withdrawals::create))
        .route("/api/v1/accounts/{account_id}/freeze", post(Operate, accounts::freeze))
        .route("/api/v1/accounts/{account_id}/unfreeze", post(Operate, accounts::unfreeze))
        .route("/api/v1/accounts/{account_id}/close", post(Operate, accounts::close))
        .route("/api/v1/events", get(Operate, events::log))
        .route("/api/v1/events/{event_id}", get(Operate, events::show))
        .route("/api/v1/events/{event_id}/traces", get(Operate, traces::of_event))
        .route("/api/v1/traces/{trace_id}/events", get(Operate, traces::events_of))
        .into_router()
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
