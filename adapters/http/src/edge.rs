//! What every request passes on its way in and out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use commands::context::TraceContext;

use crate::problem::{self, Problem};
use crate::shared::{Shared, overloaded};
use crate::trace;

/// Names the trace that carried a request out; for a repeat that is the first one.
pub(crate) const TRACE_ID: &str = "trace-id";

/// Gives the request its trace and its limits, and the response its trace id and its problem.
pub(crate) async fn pass(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let trace = Arc::new(trace::context(request.headers(), shared.api.settings.sampled));
    request.extensions_mut().insert::<Arc<TraceContext>>(Arc::clone(&trace));
    let mut response = within_limits(&shared, request, next).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        problem.write_into(&mut response, trace.trace_id());
    }
    if !response.headers().contains_key(TRACE_ID)
        && let Ok(trace_id) = HeaderValue::from_str(trace.trace_id())
    {
        response.headers_mut().insert(TRACE_ID, trace_id);
    }
    response
}

async fn within_limits(shared: &Shared, request: Request, next: Next) -> Response {
    // Whoever watches this process must get an answer while it is overloaded, too.
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let Ok(_permit) = shared.requests.try_acquire() else {
        return overloaded().into_response();
    };
    let changes = request.method() == Method::POST;
    match tokio::time::timeout(shared.api.settings.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) if changes => problem::outcome_unknown().into_response(),
        Err(_) => Problem::unavailable("timed_out", "The answer took too long. Repeat the request.", 1)
            .into_response(),
    }
}
