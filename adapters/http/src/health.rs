//! Whether this process runs, and whether it can serve.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use projections::ports::ProjectionStatus;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::values;

use crate::problem::{Problem, json_text};
use crate::reading;
use crate::shared::Shared;

/// Longer than this is as good as no answer to whoever watches.
const PATIENCE: Duration = Duration::from_secs(1);

/// 200 while the process runs.
pub(crate) async fn live() -> Response {
    ok(r#"{"status":"ok"}"#)
}

/// How far a projection is, for whoever looks why this process is not quite well.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProjectionHealth {
    name: String,
    position: i64,
    lag: i64,
    lag_ms: u64,
    /// There where an event cannot be folded.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<Stopped>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rebuilding: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Stopped {
    position: i64,
    #[schema(value_type = values::EventId)]
    event_id: String,
    reason: String,
    trace_id: String,
    #[schema(value_type = values::Time)]
    since: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    status: &'static str,
    database: &'static str,
    projections: Vec<ProjectionHealth>,
    services: Vec<ServiceHealth>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayHealth>,
}

/// Whether a service outside is asked: `breaker` is `closed`, `half_open` or `open`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceHealth {
    name: &'static str,
    breaker: &'static str,
}

/// How far the log is published, where it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct RelayHealth {
    position: i64,
    lag: i64,
    lag_ms: u64,
    working: bool,
}

/// Everything that is measured, in Prometheus' text format.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.api.metrics.render().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// 200 while requests can be served.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let not_ready = |detail: &'static str| Problem::unavailable("not_ready", detail, 1);
    if shared.is_draining() {
        return Err(not_ready("This process is shutting down."));
    }
    if !shared.api.store.is_running() {
        return Err(not_ready("The event store of this process has broken off; restart the process."));
    }
    match tokio::time::timeout(PATIENCE, shared.api.reader.is_up()).await {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(not_ready("The database does not answer.")),
    }
    // A projection or a relay that is behind or stopped keeps no payment from being made: it is told, no more.
    let status = tokio::time::timeout(PATIENCE, shared.api.read_models.status()).await;
    let Ok(Ok(status)) = status else { return Err(not_ready("The read models do not answer.")) };
    let projections = status.into_iter().map(health_of).collect();
    let outbox = tokio::time::timeout(PATIENCE, shared.api.outbox.status()).await;
    let Ok(Ok(outbox)) = outbox else { return Err(not_ready("The outbox does not answer.")) };
    let relay = outbox.map(|outbox| RelayHealth {
        position: outbox.position,
        lag: outbox.lag(),
        lag_ms: outbox.lag_ms,
        working: outbox.working,
    });
    // A service that is away makes payments be refused or go on without it; this process is well.
    let services = shared.api.services.breakers().into_iter();
    let services = services.map(|(name, breaker)| ServiceHealth { name, breaker }).collect();
    let body = json_text(&Ready { status: "ready", database: "up", projections, services, relay });
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn health_of(status: ProjectionStatus) -> ProjectionHealth {
    ProjectionHealth {
        name: status.name,
        position: status.position,
        lag: status.lag,
        lag_ms: status.lag_ms,
        stopped_at: status.failure.map(|failure| Stopped {
            position: failure.position,
            event_id: failure.event_id,
            reason: failure.reason,
            trace_id: failure.traceparent.split('-').nth(1).unwrap_or_default().to_owned(),
            since: reading::time(failure.since),
        }),
        rebuilding: status.rebuilding.is_some() || status.outdated,
    }
}

fn ok(body: &'static str) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
