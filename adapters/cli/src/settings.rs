//! One tree of settings, from defaults, a TOML file and the environment, in this order.
//!
//! `PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS=5000` is `payment_timeout_ms` under `[saga]`.

mod kafka;
mod telemetry;
mod webhooks;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use adapter_services::sandbox::Behaviour;
use adapter_telemetry::LogFormat;
use commands::saga::SagaSettings;
use domain::Money;
use domain::money::parse_currency;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

pub(crate) use self::kafka::Kafka;
pub(crate) use self::telemetry::Telemetry;
pub(crate) use self::webhooks::Webhooks;

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) log: Log,
    pub(crate) http: Http,
    pub(crate) saga: Saga,
    pub(crate) idempotency: Idempotency,
    pub(crate) store: Store,
    pub(crate) services: Services,
    pub(crate) webhooks: Webhooks,
    pub(crate) kafka: Kafka,
    pub(crate) telemetry: Telemetry,
    pub(crate) sandbox: Behaviour,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// In the syntax of RUST_LOG.
    pub(crate) filter: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) request_timeout_ms: u64,
    pub(crate) body_limit_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) drain_timeout_ms: u64,
}

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

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Idempotency {
    /// How long a repeat of a request gets the first answer; a day is the least that is promised.
    pub(crate) keep_hours: u64,
}

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
pub(crate) struct Services {
    pub(crate) risk_timeout_ms: u64,
    pub(crate) channel_timeout_ms: u64,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_open_ms: u64,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("settings: {0}")]
    Read(Box<figment::Error>),
    #[error("settings: saga.degraded_limits.{currency}: {reason}")]
    DegradedLimit { currency: String, reason: String },
    #[error("settings: {name} must be at least {least}")]
    TooSmall { name: &'static str, least: u64 },
    #[error(
        "settings: saga.takeover_after_ms must be longer than saga.payment_timeout_ms, so that a payment is not taken from a process that is still at it"
    )]
    Takeover,
    #[error("settings: webhooks.{0}")]
    Webhooks(#[from] webhooks::WebhooksError),
    #[error("settings: telemetry.{0}")]
    Telemetry(#[from] telemetry::TelemetryError),
    #[error("settings: {0}")]
    Kafka(#[from] kafka::KafkaError),
    #[error("settings: saga.channel_name must be 1 to 20 letters, digits, `_` or `-`")]
    ChannelName,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,sqlx=warn".to_owned(), json: false }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            request_timeout_ms: 10_000,
            body_limit_bytes: 64 * 1024,
            max_in_flight: 2_000,
            drain_timeout_ms: 10_000,
        }
    }
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

impl Default for Idempotency {
    fn default() -> Self {
        Self { keep_hours: 72 }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { timeout_ms: 2_000, connections: 16, cached_accounts: 200_000, cached_payments: 50_000 }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self {
            risk_timeout_ms: 1_000,
            channel_timeout_ms: 3_000,
            breaker_failures: 20,
            breaker_open_ms: 1_000,
        }
    }
}

impl Settings {
    /// Reads and checks the settings.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        // Names without `__` belong to the command line (PAYMENTS_DATA_DIR) and are not settings.
        let environment = Env::prefixed("PAYMENTS_").filter(|name| name.as_str().contains("__")).split("__");
        let settings: Self =
            figment.merge(environment).extract().map_err(|error| SettingsError::Read(Box::new(error)))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let least = [
            ("http.request_timeout_ms", self.http.request_timeout_ms, 1),
            ("http.max_in_flight", u64::try_from(self.http.max_in_flight).unwrap_or(u64::MAX), 1),
            ("http.body_limit_bytes", u64::try_from(self.http.body_limit_bytes).unwrap_or(u64::MAX), 1_024),
            ("saga.payment_timeout_ms", self.saga.payment_timeout_ms, 1),
            ("saga.inquiry_first_delay_ms", self.saga.inquiry_first_delay_ms, 1),
            ("saga.recovery_interval_ms", self.saga.recovery_interval_ms, 10),
            ("saga.authorization_expires_after_ms", self.saga.authorization_expires_after_ms, 1),
            ("idempotency.keep_hours", self.idempotency.keep_hours, 24),
            ("store.timeout_ms", self.store.timeout_ms, 1),
            ("store.connections", u64::from(self.store.connections), 2),
            ("store.cached_accounts", u64::try_from(self.store.cached_accounts).unwrap_or(u64::MAX), 100),
            ("store.cached_payments", u64::try_from(self.store.cached_payments).unwrap_or(u64::MAX), 100),
            ("services.risk_timeout_ms", self.services.risk_timeout_ms, 1),
            ("services.channel_timeout_ms", self.services.channel_timeout_ms, 1),
            ("services.breaker_failures", u64::from(self.services.breaker_failures), 1),
            ("webhooks.timeout_ms", self.webhooks.timeout_ms, 1),
            ("webhooks.max_per_endpoint", u64::from(self.webhooks.max_per_endpoint), 1),
            ("webhooks.max_in_flight", u64::from(self.webhooks.max_in_flight), 1),
            ("webhooks.poll_ms", self.webhooks.poll_ms, 10),
            ("webhooks.keep_days", self.webhooks.keep_days, 1),
        ];
        if let Some((name, _, least)) = least.into_iter().find(|(_, value, least)| value < least) {
            return Err(SettingsError::TooSmall { name, least });
        }
        if self.saga.takeover_after_ms <= self.saga.payment_timeout_ms {
            return Err(SettingsError::Takeover);
        }
        self.webhooks.check()?;
        self.kafka.connection()?;
        self.telemetry.jaeger_ui()?;
        let name = &self.saga.channel_name;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 20 || !name.chars().all(fits) {
            return Err(SettingsError::ChannelName);
        }
        self.degraded_limits().map(|_| ())
    }

    /// The saga's patience.
    pub(crate) fn saga(&self) -> Result<SagaSettings, SettingsError> {
        Ok(SagaSettings {
            payment_timeout: Duration::from_millis(self.saga.payment_timeout_ms),
            degraded_limits: self.degraded_limits()?,
            inquiry_first_delay: Duration::from_millis(self.saga.inquiry_first_delay_ms),
            inquiry_max_delay: Duration::from_millis(self.saga.inquiry_max_delay_ms),
            review_after: Duration::from_millis(self.saga.review_after_ms),
            takeover_after: Duration::from_millis(self.saga.takeover_after_ms),
            authorization_expires_after: Duration::from_millis(self.saga.authorization_expires_after_ms),
            channel_name: self.saga.channel_name.clone(),
        })
    }

    fn degraded_limits(&self) -> Result<BTreeMap<domain::Currency, i64>, SettingsError> {
        let read = |(code, amount): (&String, &String)| {
            let wrong = |reason: domain::MoneyError| SettingsError::DegradedLimit {
                currency: code.clone(),
                reason: reason.to_string(),
            };
            let currency = parse_currency(code).map_err(wrong)?;
            Ok((currency, Money::parse(amount, currency).map_err(wrong)?.minor))
        };
        self.saga.degraded_limits.iter().map(read).collect()
    }
}

impl Log {
    pub(crate) fn format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}
