//! The simulated payment channel.
//!
//! **Invariant:** the record is changed in one synchronous step, before any wait. A caller that
//! goes away cannot stop a charge half way; it only misses the answer.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::Shared;
use super::behaviour::transaction_id;
use super::charge::{DeclineReason, Inquiry, Order, Payment, PayoutBody};
use super::connection::Line;
use super::journal::JournalError;
use super::record::{PayError, Record};
use super::reply;

/// The longest idempotency key, in bytes.
const KEY_LIMIT: usize = 255;

/// The `Idempotency-Key` header, 1 to 255 visible ASCII characters.
pub(super) struct IdempotencyKey(HeaderValue);

impl IdempotencyKey {
    pub(super) fn as_str(&self) -> &str {
        // `from_request_parts` let nothing else through.
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Some(header) = parts.headers.get("idempotency-key") else {
            return Err(refused_key("the header Idempotency-Key is missing"));
        };
        match header.to_str() {
            Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) => Ok(Self(header.clone())),
            Ok(_) => Err(refused_key("Idempotency-Key has 1 to 255 characters")),
            Err(_) => Err(refused_key("Idempotency-Key is visible ASCII")),
        }
    }
}

fn refused_key(detail: &str) -> Response {
    reply::refusal(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail)
}

/// `POST /v1/charges`
pub(super) async fn pay(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    key: IdempotencyKey,
    body: Bytes,
) -> Response {
    match serde_json::from_slice(&body) {
        Ok(order) => carry_out(&shared, &line, &key, order).await,
        Err(error) => reply::unreadable(&error),
    }
}

/// `POST /v1/payouts`
pub(super) async fn pay_out(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    key: IdempotencyKey,
    body: Bytes,
) -> Response {
    match serde_json::from_slice::<PayoutBody<'_>>(&body) {
        Ok(payout) => carry_out(&shared, &line, &key, payout.into()).await,
        Err(error) => reply::unreadable(&error),
    }
}

async fn carry_out(shared: &Arc<Shared>, line: &Line, key: &IdempotencyKey, order: Order<'_>) -> Response {
    if let Err(detail) = order.check() {
        return reply::refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail);
    }
    let Some(behaviour) = reply::past_stall(shared, |behaviour| behaviour.stalled).await else {
        return reply::nothing(line);
    };
    let key = key.as_str();
    let paid = shared.record.pay(key, &order, || behaviour.fate(key, &order.payment_method));
    reply::delay_ms(behaviour.latency_ms).await;
    match paid {
        Ok(Payment::Succeeded) => {
            if order.payment_method == "card_slow" {
                reply::delay_ms(1_000).await;
            }
            succeeded(StatusCode::CREATED, &transaction_id(key))
        }
        Ok(Payment::Declined(reason)) => declined(StatusCode::PAYMENT_REQUIRED, reason),
        Ok(Payment::Processing) => processing(StatusCode::ACCEPTED),
        Ok(Payment::ServerError) => reply::server_error(),
        Ok(Payment::Silence) => reply::silence(shared, line).await,
        Ok(Payment::Drop) => reply::nothing(line),
        Err(PayError::OtherBody(field)) => other_body(field),
        Err(PayError::Journal(error)) => unrecorded(&error),
    }
}

/// `GET /v1/charges/{idempotency_key}`, `GET /v1/payouts/{idempotency_key}`
pub(super) async fn inquire(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
) -> Response {
    if !(1..=KEY_LIMIT).contains(&key.len()) {
        return refused_key("idempotency_key has 1 to 255 characters");
    }
    let Some(behaviour) = reply::past_stall(&shared, |behaviour| behaviour.stalled).await else {
        return reply::nothing(&line);
    };
    let inquiry = shared.record.inquire(&key);
    reply::delay_ms(behaviour.latency_ms).await;
    match inquiry {
        Ok(Inquiry::Succeeded) => succeeded(StatusCode::OK, &transaction_id(&key)),
        Ok(Inquiry::Declined(reason)) => declined(StatusCode::OK, reason),
        Ok(Inquiry::Processing) => processing(StatusCode::OK),
        Ok(Inquiry::NotFound) => not_found(),
        Ok(Inquiry::Unavailable) => reply::refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "simulated_outage",
            "the sandbox will never tell the fate of this charge",
        ),
        Err(error) => unrecorded(&error),
    }
}

/// `GET /v1/charges`: the entire record, each line a charge or a payout. The lines are no snapshot of one
/// moment, but each line is whole.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let mut lines = Vec::new();
    for shard in 0..Record::SHARDS {
        shared.record.write_shard(shard, &mut lines);
        // Payments go on while a long record is written.
        tokio::task::yield_now().await;
    }
    reply::typed(StatusCode::OK, "application/x-ndjson", Body::from(lines))
}

pub(super) fn other_body(field: &str) -> Response {
    let detail = format!("Idempotency-Key was used with another {field}");
    reply::refusal(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", &detail)
}

pub(super) fn not_found() -> Response {
    reply::json(StatusCode::NOT_FOUND, r#"{"status":"not_found"}"#)
}

pub(super) fn succeeded(status: StatusCode, transaction_id: &str) -> Response {
    reply::json(status, format!(r#"{{"transaction_id":"{transaction_id}","status":"succeeded"}}"#))
}

fn declined(status: StatusCode, reason: DeclineReason) -> Response {
    let reason = reason.as_str();
    reply::json(status, format!(r#"{{"status":"declined","reason":"{reason}"}}"#))
}

fn processing(status: StatusCode) -> Response {
    reply::json(status, r#"{"status":"processing"}"#)
}

/// No money moves that cannot be recorded.
pub(super) fn unrecorded(error: &JournalError) -> Response {
    tracing::error!(%error, "the sandbox cannot record a charge");
    reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, "not_recorded", "nothing was charged")
}
