//! The sandbox's part of a payment's trace, as a real risk service or channel would tell it.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use commands::context::TraceContext;
use commands::spans;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Serves a request in a span of its own, under the span of whoever asks.
pub(super) async fn serve(request: Request, next: Next) -> Response {
    let Some(span) = span_of(&request) else { return next.run(request).await };
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("error.type", response.status().as_str());
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// Nobody's trace, and no span: whoever sets the behaviour, or asks whether this is alive.
fn span_of(request: &Request) -> Option<Span> {
    let traceparent = request.headers().get("traceparent")?.to_str().ok()?.to_owned();
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
    Some(span)
}
