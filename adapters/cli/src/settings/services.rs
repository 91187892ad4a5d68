//! The patience with risk and channel.

use serde::{Deserialize, Serialize};

use super::wrong::{LONGEST_WAIT_MS, Wrong};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Services {
    pub(crate) risk_timeout_ms: u64,
    pub(crate) channel_timeout_ms: u64,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_open_ms: u64,
    /// Most calls of a service that are under way at a time.
    pub(crate) risk_max_in_flight: usize,
    pub(crate) channel_max_in_flight: usize,
    /// Most inquiries among them: payments whose outcome is unknown leave room for new ones.
    pub(crate) channel_max_inquiries: usize,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            risk_timeout_ms: 1_000,
            channel_timeout_ms: 3_000,
            breaker_failures: 20,
            breaker_open_ms: 1_000,
            risk_max_in_flight: 1_024,
            channel_max_in_flight: 1_024,
            channel_max_inquiries: 64,
        }
    }
}

impl Services {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("services.risk_timeout_ms", self.risk_timeout_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("services.channel_timeout_ms", self.channel_timeout_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("services.breaker_failures", self.breaker_failures, 1..=1_000_000);
        wrong.unless_in("services.breaker_open_ms", self.breaker_open_ms, 0..=LONGEST_WAIT_MS);
        wrong.unless_in("services.risk_max_in_flight", self.risk_max_in_flight, 1..=1_000_000);
        wrong.unless_in("services.channel_max_in_flight", self.channel_max_in_flight, 1..=1_000_000);
        wrong.unless_in("services.channel_max_inquiries", self.channel_max_inquiries, 1..=1_000_000);
    }
}
