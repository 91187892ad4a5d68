//! The simulated risk service.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::Shared;
use super::connection::Line;
use super::reply;

/// The body of an evaluation; the fields that decide nothing here are not read.
#[derive(Deserialize)]
struct Evaluation<'a> {
    #[serde(borrow)]
    payment_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    payment_method: Cow<'a, str>,
}

/// What the risk service makes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assessment {
    Low { score: u64 },
    Medium,
    High,
    Error,
    Silent,
}

impl Assessment {
    pub(super) fn of_method(payment_method: &str) -> Option<Self> {
        match payment_method {
            "card_high_risk" => Some(Self::High),
            "card_medium_risk" => Some(Self::Medium),
            "card_risk_timeout" => Some(Self::Silent),
            "card_risk_error" => Some(Self::Error),
            _ => None,
        }
    }
}

/// `POST /v1/risk/evaluations`
pub(super) async fn evaluate(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    body: Bytes,
) -> Response {
    let evaluation: Evaluation<'_> = match serde_json::from_slice(&body) {
        Ok(evaluation) => evaluation,
        Err(error) => return reply::unreadable(&error),
    };
    let Some(behaviour) = reply::past_stall(&shared, |behaviour| behaviour.risk_stalled).await else {
        return reply::nothing(&line);
    };
    reply::delay_ms(behaviour.risk_latency_ms).await;
    let Evaluation { payment_id, user_id, payment_method } = evaluation;
    match behaviour.assess(&payment_id, &user_id, &payment_method) {
        Assessment::Low { score } => assessed("low", score),
        Assessment::Medium => assessed("medium", 60),
        Assessment::High => assessed("high", 95),
        Assessment::Error => reply::server_error(),
        Assessment::Silent => reply::silence(&shared, &line).await,
    }
}

fn assessed(level: &str, score: u64) -> Response {
    reply::json(StatusCode::OK, format!(r#"{{"level":"{level}","score":{score}}}"#))
}
