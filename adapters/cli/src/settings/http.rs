//! The API's edge: who is let in, and how much of it each may take up.

use std::time::Duration;

use adapter_http::HttpSettings;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Whether callers have to say who they are; not given, `payments serve` requires it and `payments dev` does not.
    pub(crate) authentication: Option<Authentication>,
    /// How long a key goes on after it was revoked.
    pub(crate) key_cache_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) body_limit_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) drain_timeout_ms: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Authentication {
    Required,
    Off,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{name} must be {least} to {most}")]
    OutOfRange { name: &'static str, least: u64, most: u64 },
}

impl Default for Http {
    fn default() -> Self {
        Self {
            authentication: None,
            key_cache_ms: 5_000,
            request_timeout_ms: 10_000,
            body_limit_bytes: 64 * 1024,
            max_in_flight: 2_000,
            drain_timeout_ms: 10_000,
        }
    }
}

/// The bounds of a number as it is checked.
fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

impl Http {
    /// What `payments serve` has where it is not told otherwise.
    pub(crate) fn for_production(&mut self) {
        self.authentication.get_or_insert(Authentication::Required);
    }

    pub(super) fn check(&self) -> Result<(), HttpError> {
        let ranges = [
            ("key_cache_ms", self.key_cache_ms, 0, 60_000),
            ("request_timeout_ms", self.request_timeout_ms, 1, 600_000),
            ("body_limit_bytes", number(self.body_limit_bytes), 1_024, 16 * 1024 * 1024),
            ("max_in_flight", number(self.max_in_flight), 1, 1_000_000),
        ];
        match ranges.into_iter().find(|(_, value, least, most)| !(*least..=*most).contains(value)) {
            Some((name, _, least, most)) => Err(HttpError::OutOfRange { name, least, most }),
            None => Ok(()),
        }
    }

    /// The edge's settings, as far as they are under `[http]`.
    pub(crate) fn edge(&self) -> HttpSettings {
        HttpSettings {
            authentication: match self.authentication {
                Some(Authentication::Required) => adapter_http::Authentication::Required,
                Some(Authentication::Off) | None => adapter_http::Authentication::Off,
            },
            key_cache: Duration::from_millis(self.key_cache_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            body_limit: self.body_limit_bytes,
            max_in_flight: self.max_in_flight,
            drain_timeout: Duration::from_millis(self.drain_timeout_ms),
            ..HttpSettings::default()
        }
    }
}
