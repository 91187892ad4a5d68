//! What the saga's patience is.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Currency;

/// Limits and delays of the saga.
#[derive(Debug, Clone)]
pub struct SagaSettings {
    /// How long a request waits for its payment before it is told that it is being processed.
    pub payment_timeout: Duration,
    /// Largest amount, in minor units, that goes on while the risk service cannot answer. A
    /// currency without a limit does not go on.
    pub degraded_limits: BTreeMap<Currency, i64>,
    /// Pause before the first inquiry about an unknown outcome; doubles up to `inquiry_max_delay`.
    pub inquiry_first_delay: Duration,
    /// Longest pause between inquiries.
    pub inquiry_max_delay: Duration,
    /// After so long without an answer an operator has to find out.
    pub review_after: Duration,
    /// Age at which a payment without news is taken up by recovery; longer than `payment_timeout`,
    /// so that it is not taken from a process that is still at it.
    pub takeover_after: Duration,
    /// Age at which an authorization that nobody has captured is given up.
    pub authorization_expires_after: Duration,
    /// Name of the channel; its settlement accounts are `settlement:<name>`.
    pub channel_name: String,
}

impl Default for SagaSettings {
    fn default() -> Self {
        Self {
            payment_timeout: Duration::from_secs(5),
            degraded_limits: BTreeMap::new(),
            inquiry_first_delay: Duration::from_millis(100),
            inquiry_max_delay: Duration::from_secs(10),
            review_after: Duration::from_secs(15 * 60),
            takeover_after: Duration::from_secs(8),
            authorization_expires_after: Duration::from_secs(7 * 24 * 60 * 60),
            channel_name: "card".to_owned(),
        }
    }
}
