//! The sandbox's part of a payment's trace, as a real risk service or channel would tell it.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use commands::context::TraceContext;
use commands::spans;
use tracing::Instrument;
use tracing::field::Empty;

/// Serves a request in a span of its own, under the span of whoever asks.
pub(super) async fn serve(request: Request, next: Next) -> Response {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    // Nobody's trace: whoever sets the behaviour, or asks whether this is alive.
    let Some(traceparent) = header("traceparent").map(str::to_owned) else { return next.run(request).await };
    let method = request.method().as_str();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        parent: None,
        "request",
        otel.name = [method, " ", route].concat(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
    );
    spans::join_trace(&span, &TraceContext { traceparent, tracestate: None, baggage: None });
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("error.type", response.status().as_str());
        span.record("otel.status_code", "ERROR");
    }
    response
}
