//! How webhooks are sent, and where to.

use adapter_services::guard::{Guard, NotANetwork};
use serde::{Deserialize, Serialize};

use super::wrong::{LONGEST_KEEP_HOURS, LONGEST_WAIT_MS, Wrong};

/// Most attempts that a webhook may be retried.
const MOST_PAUSES: usize = 50;
/// The longest pause between two of them: 30 days.
const LONGEST_PAUSE_MS: u64 = 30 * 24 * 3_600_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// Longest time of one attempt, connecting included.
    pub(crate) timeout_ms: u64,
    /// Pauses after each attempt that failed; behind the last the delivery is dead.
    pub(crate) retry_pauses_ms: Vec<u64>,
    /// Most attempts under way to one endpoint, in all processes.
    pub(crate) max_per_endpoint: u32,
    /// Most attempts under way in this process.
    pub(crate) max_in_flight: u32,
    /// How soon what has become due is looked for.
    pub(crate) poll_ms: u64,
    /// Networks that may be sent to beside public addresses, and without TLS: `["10.1.0.0/16"]`.
    pub(crate) allowed_networks: Vec<String>,
    /// How long an old secret signs after a rotation.
    pub(crate) old_secret_hours: u64,
    /// How long what was delivered is told of.
    pub(crate) keep_days: u64,
}

impl Default for Webhooks {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            timeout_ms: 15_000,
            // Those of Standard Webhooks: more than three days.
            retry_pauses_ms: vec![
                5_000,
                5 * MINUTE,
                30 * MINUTE,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                14 * HOUR,
                20 * HOUR,
                24 * HOUR,
            ],
            max_per_endpoint: 16,
            max_in_flight: 256,
            poll_ms: 250,
            allowed_networks: vec![],
            old_secret_hours: 24,
            keep_days: 30,
        }
    }
}

impl Webhooks {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("webhooks.timeout_ms", self.timeout_ms, 1..=LONGEST_WAIT_MS);
        let pauses = &self.retry_pauses_ms;
        if pauses.len() > MOST_PAUSES || pauses.iter().any(|pause| *pause > LONGEST_PAUSE_MS) {
            let reason = format!("must have at most {MOST_PAUSES} pauses, none longer than 30 days");
            wrong.add("webhooks.retry_pauses_ms", reason);
        }
        wrong.unless_in("webhooks.max_per_endpoint", self.max_per_endpoint, 1..=10_000);
        wrong.unless_in("webhooks.max_in_flight", self.max_in_flight, 1..=100_000);
        wrong.unless_in("webhooks.poll_ms", self.poll_ms, 10..=LONGEST_WAIT_MS);
        for network in &self.allowed_networks {
            if let Err(error) = Guard::allowing(&[network]) {
                wrong.add("webhooks.allowed_networks", format!("must hold networks: {error}"));
            }
        }
        wrong.unless_in("webhooks.old_secret_hours", self.old_secret_hours, 0..=LONGEST_KEEP_HOURS);
        wrong.unless_in("webhooks.keep_days", self.keep_days, 1..=LONGEST_KEEP_HOURS / 24);
    }

    /// Where they may be sent to.
    ///
    /// # Errors
    /// What [`Self::check`] finds wrong.
    pub(crate) fn guard(&self) -> Result<Guard, NotANetwork> {
        Guard::allowing(&self.allowed_networks)
    }
}
