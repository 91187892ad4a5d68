//! The patience of payments.

use std::collections::BTreeMap;
use std::time::Duration;

use commands::saga::SagaSettings;
use domain::money::parse_currency;
use domain::{Currency, Money, MoneyError};
use serde::{Deserialize, Serialize};

use super::wrong::{LONGEST_WAIT_MS, Wrong};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Saga {
    pub(crate) payment_timeout_ms: u64,
    pub(crate) inquiry_first_delay_ms: u64,
    pub(crate) inquiry_max_delay_ms: u64,
    pub(crate) review_after_ms: u64,
    pub(crate) takeover_after_ms: u64,
    pub(crate) recovery_interval_ms: u64,
    /// Age at which an authorization that nobody has captured is given up.
    pub(crate) authorization_expires_after_ms: u64,
    pub(crate) channel_name: String,
    /// Largest amount a currency goes on with while the risk service cannot answer: `USD = "10.00"`.
    pub(crate) degraded_limits: BTreeMap<String, String>,
}

impl Default for Saga {
    fn default() -> Self {
        Self {
            payment_timeout_ms: 5_000,
            inquiry_first_delay_ms: 100,
            inquiry_max_delay_ms: 10_000,
            review_after_ms: 900_000,
            takeover_after_ms: 8_000,
            recovery_interval_ms: 1_000,
            authorization_expires_after_ms: 7 * 24 * 3_600_000,
            channel_name: "card".to_owned(),
            degraded_limits: BTreeMap::from([
                ("USD".to_owned(), "10.00".to_owned()),
                ("EUR".to_owned(), "10.00".to_owned()),
            ]),
        }
    }
}

impl Saga {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("saga.payment_timeout_ms", self.payment_timeout_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("saga.inquiry_first_delay_ms", self.inquiry_first_delay_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("saga.inquiry_max_delay_ms", self.inquiry_max_delay_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("saga.review_after_ms", self.review_after_ms, 0..=30 * LONGEST_WAIT_MS);
        wrong.unless_in("saga.takeover_after_ms", self.takeover_after_ms, 1..=LONGEST_WAIT_MS);
        wrong.unless_in("saga.recovery_interval_ms", self.recovery_interval_ms, 10..=LONGEST_WAIT_MS);
        let expires_after = self.authorization_expires_after_ms;
        wrong.unless_in("saga.authorization_expires_after_ms", expires_after, 1..=365 * LONGEST_WAIT_MS);
        if self.takeover_after_ms <= self.payment_timeout_ms {
            let reason = "must be longer than saga.payment_timeout_ms, so that a payment is not taken from a \
                          process that is still at it";
            wrong.add_with("saga.takeover_after_ms", "saga.payment_timeout_ms", reason);
        }
        if self.inquiry_max_delay_ms < self.inquiry_first_delay_ms {
            let reason = "must be at least saga.inquiry_first_delay_ms";
            wrong.add_with("saga.inquiry_max_delay_ms", "saga.inquiry_first_delay_ms", reason);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !(1..=20).contains(&self.channel_name.len()) || !self.channel_name.chars().all(fits) {
            wrong.add("saga.channel_name", "must be 1 to 20 letters, digits, `_` or `-`");
        }
        for (code, amount) in &self.degraded_limits {
            if let Err(error) = limit(code, amount) {
                wrong.add(format!("saga.degraded_limits.{code}"), error.to_string());
            }
        }
    }

    /// The same as the saga takes it.
    ///
    /// # Errors
    /// What [`Self::check`] finds wrong with a limit.
    pub(crate) fn settings(&self) -> Result<SagaSettings, MoneyError> {
        let limits = self.degraded_limits.iter().map(|(code, amount)| limit(code, amount));
        Ok(SagaSettings {
            payment_timeout: Duration::from_millis(self.payment_timeout_ms),
            degraded_limits: limits.collect::<Result<_, _>>()?,
            inquiry_first_delay: Duration::from_millis(self.inquiry_first_delay_ms),
            inquiry_max_delay: Duration::from_millis(self.inquiry_max_delay_ms),
            review_after: Duration::from_millis(self.review_after_ms),
            takeover_after: Duration::from_millis(self.takeover_after_ms),
            authorization_expires_after: Duration::from_millis(self.authorization_expires_after_ms),
            channel_name: self.channel_name.clone(),
        })
    }
}

/// A currency and its limit in minor units.
fn limit(code: &str, amount: &str) -> Result<(Currency, i64), MoneyError> {
    let currency = parse_currency(code)?;
    Ok((currency, Money::parse(amount, currency)?.minor))
}
