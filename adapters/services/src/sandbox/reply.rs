//! The ways a simulated service answers, or does not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use serde_json::error::Category;

use super::connection::{Line, Phase, until};
use super::{Behaviour, Shared};

/// How long a request is held unanswered; every caller's own time limit is far shorter.
const HOLD: Duration = Duration::from_secs(60);

/// A JSON answer whose body is already text.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    typed(status, "application/json", body)
}

/// An answer of any content type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = HttpResponse::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A refusal that names what is wrong with the request.
pub(super) fn refusal(status: StatusCode, error: &str, detail: &str) -> Response {
    let body = serde_json::json!({ "status": "error", "error": error, "detail": detail });
    json(status, body.to_string())
}

/// The refusal of a body: 400 where it is not JSON, 422 where a field is at fault.
pub(super) fn unreadable(error: &serde_json::Error) -> Response {
    let status = match error.classify() {
        Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
        Category::Syntax | Category::Eof | Category::Io => StatusCode::BAD_REQUEST,
    };
    refusal(status, "invalid_body", &error.to_string())
}

/// The simulated failure inside a service.
pub(super) fn server_error() -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "simulated_error", "the sandbox was asked to fail")
}

/// Drops the connection without an answer.
pub(super) fn nothing(line: &Line) -> Response {
    line.cut();
    // The server wants a response to go on with; the cut line refuses its first byte.
    Response::default()
}

/// Holds the connection unanswered until the caller goes away (the server then drops this
/// future), the sandbox ends or 60 s are over.
pub(super) async fn silence(shared: &Shared, line: &Line) -> Response {
    tokio::select! {
        () = until(shared.phase.clone(), Phase::Draining) => {}
        () = tokio::time::sleep(HOLD) => {}
    }
    nothing(line)
}

/// The behaviour, once it is not stalled; `None` when the wait was given up.
pub(super) async fn past_stall(shared: &Arc<Shared>, stalled: fn(&Behaviour) -> bool) -> Option<Behaviour> {
    let behaviour = *shared.behaviour.borrow();
    if !stalled(&behaviour) {
        return Some(behaviour);
    }
    let mut behaviours = shared.behaviour.subscribe();
    tokio::select! {
        released = behaviours.wait_for(|behaviour| !stalled(behaviour)) => {
            released.ok().map(|behaviour| *behaviour)
        }
        () = until(shared.phase.clone(), Phase::Draining) => None,
        () = tokio::time::sleep(HOLD) => None,
    }
}

/// Waits, unless there is nothing to wait for.
pub(super) async fn delay_ms(delay_ms: u64) {
    if delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}
