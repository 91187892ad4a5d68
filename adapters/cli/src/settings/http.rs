//! The edge: what one client, or all of them, can take up.

use serde::{Deserialize, Serialize};

use super::wrong::{LONGEST_WAIT_MS, Wrong};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) request_timeout_ms: u64,
    pub(crate) body_limit_bytes: usize,
    pub(crate) max_in_flight: usize,
    /// How long `/readyz` says 503 before connections are refused, so that a load balancer can notice.
    pub(crate) shutdown_notice_ms: u64,
    /// How long everything that is under way may take to end after that.
    pub(crate) drain_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            request_timeout_ms: 10_000,
            body_limit_bytes: 64 * 1024,
            max_in_flight: 2_000,
            shutdown_notice_ms: 0,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Http {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("http.request_timeout_ms", self.request_timeout_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("http.body_limit_bytes", self.body_limit_bytes, 1_024..=64 * 1024 * 1024);
        wrong.unless_in("http.max_in_flight", self.max_in_flight, 1..=1_000_000);
        wrong.unless_in("http.shutdown_notice_ms", self.shutdown_notice_ms, 0..=LONGEST_WAIT_MS);
        wrong.unless_in("http.drain_timeout_ms", self.drain_timeout_ms, 0..=LONGEST_WAIT_MS);
    }
}
