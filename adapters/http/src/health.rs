//! Whether this process runs, and whether it can serve.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::shared::Shared;

/// Longer than this is as good as no answer to whoever watches.
const PATIENCE: Duration = Duration::from_secs(1);

/// 200 while the process runs.
pub(crate) async fn live() -> Response {
    ok(r#"{"status":"ok"}"#)
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
        Ok(true) => Ok(ok(r#"{"status":"ready","database":"up"}"#)),
        Ok(false) | Err(_) => Err(not_ready("The database does not answer.")),
    }
}

fn ok(body: &'static str) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
