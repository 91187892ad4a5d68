//! What a payment meets: by its payment method, else by a draw from the configured shares.
//!
//! **Invariant:** a draw is a hash of the idempotency key (for risk, of the payment id) in whole
//! per mille. The same key always draws the same number, in every process.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Shared;
use super::change::{ChangeFate, ChangeKind};
use super::charge::{DeclineReason, Fate};
use super::reply;
use super::risk::Assessment;

/// The longest latency that can be configured: longer ones are what `stalled` is for.
const LATENCY_LIMIT_MS: u64 = 60_000;

/// How the sandbox treats payments whose method is not a magic one. All zero: all succeed, at once.
///
/// The shares are per mille of all payments and exclude each other: one payment meets one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How long the channel takes to answer a charge or an inquiry.
    pub latency_ms: u64,
    /// How long the risk service takes to answer.
    pub risk_latency_ms: u64,
    /// Share of charges declined with `card_declined`.
    pub decline_per_mille: u16,
    /// Share of charges made, and of captures, voids and refunds, whose first request is never answered.
    pub lost_answer_per_mille: u16,
    /// Share of them whose first request is neither carried out nor answered.
    pub timeout_per_mille: u16,
    /// Share of them whose first request answers 500 and is not carried out.
    pub server_error_per_mille: u16,
    /// Share of evaluations that say high.
    pub high_risk_per_mille: u16,
    /// Share of evaluations that answer 500.
    pub risk_error_per_mille: u16,
    /// While true the channel holds every request unanswered; nothing is charged or changed.
    pub stalled: bool,
    /// While true the risk service holds every evaluation unanswered.
    pub risk_stalled: bool,
}

/// Why a behaviour is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// Shares of one service that exclude each other add up to more than all payments.
    #[error("{fields} add up to {total}, more than 1000 per mille")]
    TooManyShares {
        /// The fields that were added.
        fields: &'static str,
        /// Their sum.
        total: u64,
    },
    /// A latency is longer than 60 s.
    #[error("{field} is {latency_ms}, more than {LATENCY_LIMIT_MS}")]
    LatencyTooLong {
        /// The field at fault.
        field: &'static str,
        /// Its value.
        latency_ms: u64,
    },
}

impl Behaviour {
    /// Refuses shares that cannot all be met and latencies nobody would wait for.
    pub(super) fn check(&self) -> Result<(), BehaviourError> {
        let latencies = [("latency_ms", self.latency_ms), ("risk_latency_ms", self.risk_latency_ms)];
        for (field, latency_ms) in latencies {
            if latency_ms > LATENCY_LIMIT_MS {
                return Err(BehaviourError::LatencyTooLong { field, latency_ms });
            }
        }
        let shares = [
            (
                "decline_per_mille, lost_answer_per_mille, timeout_per_mille and server_error_per_mille",
                total(&self.channel_shares()),
            ),
            ("high_risk_per_mille and risk_error_per_mille", total(&self.risk_shares())),
        ];
        for (fields, total) in shares {
            if total > 1000 {
                return Err(BehaviourError::TooManyShares { fields, total });
            }
        }
        Ok(())
    }

    /// What the first charge request with `key` meets.
    pub(super) fn fate(&self, key: &str, payment_method: &str) -> Fate {
        Fate::of_method(payment_method)
            .or_else(|| draw(key, &self.channel_shares()))
            .unwrap_or(Fate::Succeeds)
    }

    /// What the first request for a change of a charge meets. Declines are for charges: what is guaranteed
    /// or taken can be captured and given back.
    pub(super) fn change_fate(&self, key: &str, kind: ChangeKind, payment_method: &str) -> ChangeFate {
        let shares = [
            (self.lost_answer_per_mille, ChangeFate::DoneThenSilent),
            (self.timeout_per_mille, ChangeFate::SilentThenNormal),
            (self.server_error_per_mille, ChangeFate::ErrorThenNormal),
        ];
        ChangeFate::of_method(payment_method, kind).or_else(|| draw(key, &shares)).unwrap_or(ChangeFate::Done)
    }

    /// What the evaluation of a payment says.
    pub(super) fn assess(&self, payment_id: &str, user_id: &str, method: &str) -> Assessment {
        Assessment::of_method(method)
            .or_else(|| draw(payment_id, &self.risk_shares()))
            .unwrap_or_else(|| Assessment::Low { score: number(user_id) % 31 })
    }

    fn channel_shares(&self) -> [(u16, Fate); 4] {
        [
            (self.decline_per_mille, Fate::Declined(DeclineReason::CardDeclined)),
            (self.lost_answer_per_mille, Fate::ChargedThenSilent),
            (self.timeout_per_mille, Fate::SilentThenNormal),
            (self.server_error_per_mille, Fate::ErrorThenNormal),
        ]
    }

    fn risk_shares(&self) -> [(u16, Assessment); 2] {
        [(self.high_risk_per_mille, Assessment::High), (self.risk_error_per_mille, Assessment::Error)]
    }
}

fn total<T>(shares: &[(u16, T)]) -> u64 {
    shares.iter().map(|(share, _)| u64::from(*share)).sum()
}

/// The share that `text` falls into, if any.
fn draw<T: Copy>(text: &str, shares: &[(u16, T)]) -> Option<T> {
    // The plain success path does not pay for a hash.
    if total(shares) == 0 {
        return None;
    }
    let mut point = number(text) % 1000;
    for (share, outcome) in shares {
        let share = u64::from(*share);
        if point < share {
            return Some(*outcome);
        }
        point -= share;
    }
    None
}

/// A number that depends on `text` alone.
fn number(text: &str) -> u64 {
    big_endian(&Sha256::digest(text)[24..32])
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The channel's name for the charge with `key`: the same for ever, so that it need not be kept.
pub(super) fn transaction_id(key: &str) -> String {
    let digest = Sha256::digest(key);
    format!("txn_{:016x}{:016x}", big_endian(&digest[..8]), big_endian(&digest[8..16]))
}

/// `GET /v1/behaviour`
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Json<Behaviour> {
    Json(*shared.behaviour.borrow())
}

/// `PUT /v1/behaviour`: replaces it as a whole; a field that is left out is zero.
pub(super) async fn replace(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let behaviour: Behaviour = match serde_json::from_slice(&body) {
        Ok(behaviour) => behaviour,
        Err(error) => return reply::unreadable(&error),
    };
    if let Err(error) = behaviour.check() {
        return reply::refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid_behaviour", &error.to_string());
    }
    shared.behaviour.send_replace(behaviour);
    tracing::info!(?behaviour, "the sandbox behaves anew");
    Json(behaviour).into_response()
}
