//! Headers that keep browsers from doing what nobody asked for, and which pages may call the API from a browser.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// A year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// A page shows only what it says itself that it needs.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Adds what every answer has. A page that needs more says so itself, and keeps it.
pub(crate) fn protect(headers: &mut HeaderMap, is_api: bool, by_tls: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if is_api {
        // Balances are nobody else's, neither a proxy's nor the next user's of a browser.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    } else {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    }
    if by_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// Answers browsers that ask whether a page of these origins may call the API.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let own = |name| HeaderName::from_static(name);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.to_vec()))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            own("idempotency-key"),
            own("last-event-id"),
            own("traceparent"),
            own("tracestate"),
        ])
        .expose_headers([
            RETRY_AFTER,
            own("idempotency-replayed"),
            own("ratelimit"),
            own("ratelimit-policy"),
            own("trace-id"),
        ])
        .max_age(Duration::from_secs(600))
}
