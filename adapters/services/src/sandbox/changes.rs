//! Captures, voids and refunds at the simulated channel.
//!
//! | call | answers |
//! | --- | --- |
//! | `POST /v1/charges/{key}/capture`, `/void`, `/refunds` | 201, 402; 404 without such a charge |
//! | `GET /v1/charges/{key}/capture`, `/void`, `/refunds/{refund_id}` | 200 with the status, 404 `not_found` |

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use super::behaviour::transaction_id;
use super::change::{Answer, Asked, Body, ChangeKind, ChangeState};
use super::channel::{IdempotencyKey, not_found, other_body, succeeded, unrecorded};
use super::connection::Line;
use super::record::PayError;
use super::reply;

/// `POST /v1/charges/{key}/capture`
pub(super) async fn capture(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
    _: IdempotencyKey,
    body: Bytes,
) -> Response {
    let body: Body<'_> = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return reply::unreadable(&error),
    };
    let asked = Asked {
        kind: ChangeKind::Capture,
        id: ChangeKind::Capture.name(),
        amount: &body.amount,
        currency: &body.currency,
    };
    change(&shared, &line, &key, asked).await
}

/// `POST /v1/charges/{key}/void`
pub(super) async fn void(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
    _: IdempotencyKey,
) -> Response {
    let asked = Asked { kind: ChangeKind::Void, id: ChangeKind::Void.name(), amount: "", currency: "" };
    change(&shared, &line, &key, asked).await
}

/// `POST /v1/charges/{key}/refunds`
pub(super) async fn refund(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
    named: IdempotencyKey,
    body: Bytes,
) -> Response {
    let body: Body<'_> = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return reply::unreadable(&error),
    };
    let refund_id = body.refund_id.as_deref().unwrap_or_default();
    if refund_id != named.as_str() {
        let detail = "refund_id is the Idempotency-Key";
        return reply::refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail);
    }
    let asked =
        Asked { kind: ChangeKind::Refund, id: refund_id, amount: &body.amount, currency: &body.currency };
    change(&shared, &line, &key, asked).await
}

async fn change(shared: &Arc<Shared>, line: &Line, key: &str, asked: Asked<'_>) -> Response {
    let Some(behaviour) = reply::past_stall(shared, |behaviour| behaviour.stalled).await else {
        return reply::nothing(line);
    };
    let changed = shared.record.change(key, &asked, |payment_method| {
        behaviour.change_fate(&[key, asked.id].join(":"), asked.kind, payment_method)
    });
    reply::delay_ms(behaviour.latency_ms).await;
    match changed {
        Ok(Answer::Done) => succeeded(StatusCode::CREATED, &transaction(key, &asked)),
        Ok(Answer::Declined(reason)) => declined(StatusCode::PAYMENT_REQUIRED, reason),
        Ok(Answer::NoCharge) => not_found(),
        Ok(Answer::ServerError) => reply::server_error(),
        Ok(Answer::Silence) => reply::silence(shared, line).await,
        Err(PayError::OtherBody(field)) => other_body(field),
        Err(PayError::Journal(error)) => unrecorded(&error),
    }
}

/// `GET /v1/charges/{key}/capture`
pub(super) async fn inquire_capture(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
) -> Response {
    inquire(&shared, &line, &key, ChangeKind::Capture, ChangeKind::Capture.name()).await
}

/// `GET /v1/charges/{key}/void`
pub(super) async fn inquire_void(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
) -> Response {
    inquire(&shared, &line, &key, ChangeKind::Void, ChangeKind::Void.name()).await
}

/// `GET /v1/charges/{key}/refunds/{refund_id}`
pub(super) async fn inquire_refund(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path((key, refund_id)): Path<(String, String)>,
) -> Response {
    inquire(&shared, &line, &key, ChangeKind::Refund, &refund_id).await
}

async fn inquire(shared: &Arc<Shared>, line: &Line, key: &str, kind: ChangeKind, id: &str) -> Response {
    let Some(behaviour) = reply::past_stall(shared, |behaviour| behaviour.stalled).await else {
        return reply::nothing(line);
    };
    let asked = Asked { kind, id, amount: "", currency: "" };
    let state = shared.record.inquire_change(key, &asked);
    reply::delay_ms(behaviour.latency_ms).await;
    match state {
        Some(ChangeState::Done) => succeeded(StatusCode::OK, &transaction(key, &asked)),
        Some(ChangeState::Declined) => declined(StatusCode::OK, "declined"),
        Some(ChangeState::NotDone) | None => not_found(),
    }
}

/// A refund has a transaction of its own; a capture and a void are those of their charge.
fn transaction(key: &str, asked: &Asked<'_>) -> String {
    match asked.kind {
        ChangeKind::Capture | ChangeKind::Void => transaction_id(key),
        ChangeKind::Refund => transaction_id(asked.id),
    }
}

fn declined(status: StatusCode, reason: &str) -> Response {
    reply::json(status, serde_json::json!({ "status": "declined", "reason": reason }).to_string())
}
