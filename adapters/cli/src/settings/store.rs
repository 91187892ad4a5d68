//! The event store: its database, its memory, and how long answers are kept.

use serde::{Deserialize, Serialize};

use super::wrong::{LONGEST_KEEP_HOURS, LONGEST_WAIT_MS, Wrong};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    pub(crate) timeout_ms: u64,
    pub(crate) connections: u32,
    pub(crate) cached_accounts: usize,
    pub(crate) cached_payments: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Idempotency {
    /// How long a repeat of a request gets the first answer; a day is the least that is promised.
    pub(crate) keep_hours: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { timeout_ms: 2_000, connections: 16, cached_accounts: 200_000, cached_payments: 50_000 }
    }
}

impl Default for Idempotency {
    fn default() -> Self {
        Self { keep_hours: 72 }
    }
}

impl Store {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("store.timeout_ms", self.timeout_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("store.connections", self.connections, 2..=10_000);
        wrong.unless_in("store.cached_accounts", self.cached_accounts, 100..=1_000_000_000);
        wrong.unless_in("store.cached_payments", self.cached_payments, 100..=1_000_000_000);
    }
}

impl Idempotency {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("idempotency.keep_hours", self.keep_hours, 24..=LONGEST_KEEP_HOURS);
    }
}
