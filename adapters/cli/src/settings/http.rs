//! The API's edge: who is let in, and how much of it each may take up.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use adapter_http::{HeaderValue, HttpSettings, Rate, RateLimits, Tls, TlsError};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::jwt::Jwt;
use super::wrong::{LONGEST_WAIT_MS, Wrong};

mod jwt;

/// What a caller and an address may ask for a second in production, where the operator says nothing else.
const IN_PRODUCTION: u32 = 5_000;
/// The highest rate that can be set: what comes more often than each microsecond is no bound.
const MOST_PER_SECOND: u64 = 1_000_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Whether callers have to say who they are; not given, `payments serve` requires it and `payments dev` does not.
    pub(crate) authentication: Option<Authentication>,
    /// How long a key goes on after it was revoked.
    pub(crate) key_cache_ms: u64,
    pub(crate) jwt: Jwt,
    pub(crate) rate_limit: RateLimit,
    /// Networks of proxies that are believed where a request comes from: `["10.0.0.0/8"]`.
    pub(crate) trusted_proxies: Vec<String>,
    /// Origins whose pages may call the API from a browser: `["https://shop.example"]`.
    pub(crate) cors_origins: Vec<String>,
    pub(crate) tls: TlsFiles,
    pub(crate) request_timeout_ms: u64,
    /// From the first byte of a request to the end of its headers; of a TLS handshake.
    pub(crate) header_timeout_ms: u64,
    pub(crate) body_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) body_limit_bytes: usize,
    pub(crate) header_limit_bytes: usize,
    pub(crate) uri_limit_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    /// How long requests should take while there are more than this process can serve.
    pub(crate) overload_target_ms: u64,
    /// How long `/readyz` says 503 before connections are refused, so that a load balancer can notice.
    pub(crate) shutdown_notice_ms: u64,
    /// How long everything that is under way may take to end after that.
    pub(crate) drain_timeout_ms: u64,
}

/// Not given, `payments serve` has a bound of its own and `payments dev` has none; 0 is none. A burst that is not given
/// is twice what comes in a second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimit {
    pub(crate) per_caller_per_second: Option<u32>,
    pub(crate) per_caller_burst: Option<u32>,
    pub(crate) per_address_per_second: Option<u32>,
    pub(crate) per_address_burst: Option<u32>,
}

/// Both or none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsFiles {
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Authentication {
    Required,
    Off,
}

/// A setting under `[http]` that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("settings: http.{name} {reason}")]
pub(crate) struct HttpError {
    name: Cow<'static, str>,
    reason: String,
}

impl HttpError {
    fn of(name: &'static str, reason: impl Into<String>) -> Self {
        Self { name: Cow::Borrowed(name), reason: reason.into() }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            authentication: None,
            key_cache_ms: 5_000,
            jwt: Jwt::default(),
            rate_limit: RateLimit::default(),
            trusted_proxies: vec![],
            cors_origins: vec![],
            tls: TlsFiles::default(),
            request_timeout_ms: 10_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            body_limit_bytes: 64 * 1024,
            header_limit_bytes: 32 * 1024,
            uri_limit_bytes: 8 * 1024,
            max_headers: 100,
            max_connections: 10_000,
            max_in_flight: 512,
            overload_target_ms: 150,
            shutdown_notice_ms: 0,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Http {
    /// What `payments serve` has where it is not told otherwise.
    pub(crate) fn for_production(&mut self) {
        self.authentication.get_or_insert(Authentication::Required);
        self.rate_limit.per_caller_per_second.get_or_insert(IN_PRODUCTION);
        self.rate_limit.per_address_per_second.get_or_insert(IN_PRODUCTION);
    }

    /// What `payments demo` has, whatever it is told.
    pub(crate) fn for_visitor(&mut self) {
        self.authentication = Some(Authentication::Off);
        self.tls = TlsFiles::default();
    }

    /// Checks what can be checked without a look at the files that it names.
    pub(super) fn check(&self, wrong: &mut Wrong) {
        let (hour, mebibyte) = (3_600_000, 1024 * 1024);
        let times = [
            ("http.key_cache_ms", self.key_cache_ms, 0..=60_000),
            ("http.request_timeout_ms", self.request_timeout_ms, 1..=hour),
            ("http.header_timeout_ms", self.header_timeout_ms, 1..=hour),
            ("http.body_timeout_ms", self.body_timeout_ms, 1..=hour),
            ("http.idle_timeout_ms", self.idle_timeout_ms, 1..=hour),
            ("http.overload_target_ms", self.overload_target_ms, 1..=60_000),
            ("http.shutdown_notice_ms", self.shutdown_notice_ms, 0..=LONGEST_WAIT_MS),
            ("http.drain_timeout_ms", self.drain_timeout_ms, 0..=LONGEST_WAIT_MS),
        ];
        let sizes = [
            ("http.body_limit_bytes", self.body_limit_bytes, 1_024..=16 * mebibyte),
            ("http.header_limit_bytes", self.header_limit_bytes, 1_024..=mebibyte),
            ("http.uri_limit_bytes", self.uri_limit_bytes, 64..=65_534),
            ("http.max_headers", self.max_headers, 8..=10_000),
            ("http.max_connections", self.max_connections, 1..=1_000_000),
            ("http.max_in_flight", self.max_in_flight, 1..=1_000_000),
        ];
        times.into_iter().for_each(|(name, value, bounds)| wrong.unless_in(name, value, bounds));
        sizes.into_iter().for_each(|(name, value, bounds)| wrong.unless_in(name, value, bounds));
        // What is out of bounds itself has been named.
        if (1..self.body_timeout_ms).contains(&self.request_timeout_ms) && self.body_timeout_ms <= hour {
            let reason = "must not be longer than http.request_timeout_ms, which it is a part of";
            wrong.add_with("http.body_timeout_ms", "http.request_timeout_ms", reason);
        }
        self.rate_limit.check(wrong);
        self.jwt.check(wrong);
        self.tls.check(wrong);
        let looked_at = [self.origins().map(|_| ()), self.proxies().map(|_| ())];
        for HttpError { name, reason } in looked_at.into_iter().filter_map(Result::err) {
            wrong.add(format!("http.{name}"), reason);
        }
    }

    /// The edge's settings, as far as they are under `[http]`. Reads the files of TLS.
    pub(crate) fn edge(&self) -> Result<HttpSettings, HttpError> {
        let ms = Duration::from_millis;
        Ok(HttpSettings {
            authentication: match self.authentication {
                Some(Authentication::Required) => adapter_http::Authentication::Required,
                Some(Authentication::Off) | None => adapter_http::Authentication::Off,
            },
            key_cache: ms(self.key_cache_ms),
            jwt: self.jwt.settings()?,
            rate_limits: self.rate_limit.limits(),
            trusted_proxies: self.proxies()?,
            cors_origins: self.origins()?,
            tls: self.tls.read()?,
            request_timeout: ms(self.request_timeout_ms),
            header_timeout: ms(self.header_timeout_ms),
            body_timeout: ms(self.body_timeout_ms),
            idle_timeout: ms(self.idle_timeout_ms),
            body_limit: self.body_limit_bytes,
            max_header_bytes: self.header_limit_bytes,
            max_uri_bytes: self.uri_limit_bytes,
            max_headers: self.max_headers,
            max_connections: self.max_connections,
            max_in_flight: self.max_in_flight,
            overload_target: ms(self.overload_target_ms),
            shutdown_notice: ms(self.shutdown_notice_ms),
            drain_timeout: ms(self.drain_timeout_ms),
            ..HttpSettings::default()
        })
    }

    fn proxies(&self) -> Result<Vec<IpNet>, HttpError> {
        let read = |text: &String| {
            let reason = || format!("must hold networks such as 10.0.0.0/8: {text:?} is none");
            text.parse().map_err(|_| HttpError::of("trusted_proxies", reason()))
        };
        self.trusted_proxies.iter().map(read).collect()
    }

    fn origins(&self) -> Result<Vec<HeaderValue>, HttpError> {
        let read = |text: &String| {
            let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
            let is_origin = authority.is_some_and(|name| !name.is_empty() && name.chars().all(fits));
            let value = HeaderValue::try_from(text).ok().filter(|_| is_origin);
            let reason = || format!("must hold origins such as https://shop.example: {text:?} is none");
            value.ok_or_else(|| HttpError::of("cors_origins", reason()))
        };
        self.cors_origins.iter().map(read).collect()
    }
}

impl RateLimit {
    fn check(&self, wrong: &mut Wrong) {
        let rates = [
            ("http.rate_limit.per_caller_per_second", self.per_caller_per_second),
            ("http.rate_limit.per_caller_burst", self.per_caller_burst),
            ("http.rate_limit.per_address_per_second", self.per_address_per_second),
            ("http.rate_limit.per_address_burst", self.per_address_burst),
        ];
        for (name, rate) in rates {
            wrong.unless_in(name, rate.unwrap_or(0), 0..=MOST_PER_SECOND);
        }
    }

    fn limits(&self) -> RateLimits {
        RateLimits {
            per_caller: rate(self.per_caller_per_second, self.per_caller_burst),
            per_address: rate(self.per_address_per_second, self.per_address_burst),
        }
    }
}

/// A rate of 0, or none, is no bound.
fn rate(per_second: Option<u32>, burst: Option<u32>) -> Option<Rate> {
    let per_second = NonZeroU32::new(per_second?)?;
    let twice = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
    Some(Rate { per_second, burst: burst.and_then(NonZeroU32::new).unwrap_or(twice) })
}

impl TlsFiles {
    fn check(&self, wrong: &mut Wrong) {
        let names_none = |file: &PathBuf| file.as_os_str().is_empty();
        let (certificate, key) = ("http.tls.certificate_file", "http.tls.key_file");
        for (name, file) in [(certificate, &self.certificate_file), (key, &self.key_file)] {
            if file.as_ref().is_some_and(names_none) {
                wrong.add(name, "must name a file");
            }
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(file), None) if !names_none(file) => {
                wrong.add(certificate, "needs http.tls.key_file beside it");
            }
            (None, Some(file)) if !names_none(file) => {
                wrong.add(key, "needs http.tls.certificate_file beside it");
            }
            _ => {}
        }
    }

    fn read(&self) -> Result<Option<Tls>, HttpError> {
        let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) else {
            return Ok(None);
        };
        let loaded = Tls::load(certificate.clone(), key.clone());
        loaded.map(Some).map_err(|error: TlsError| {
            // It begins with the setting of the file at fault, unless both are.
            let told = error.to_string();
            match told.split_once(' ') {
                Some((setting @ ("certificate_file" | "key_file"), reason)) => {
                    HttpError { name: format!("tls.{setting}").into(), reason: reason.to_owned() }
                }
                _ => HttpError::of("tls", format!("cannot be used: {told}")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_is_guarded_and_a_developers_machine_is_not() {
        let mut http = Http::default();
        assert_eq!(http.rate_limit.limits(), RateLimits::default());
        http.for_production();
        assert!(matches!(http.authentication, Some(Authentication::Required)));
        let [per_second, burst] = [5_000, 10_000].map(|number| NonZeroU32::new(number).unwrap());
        let rate = Some(Rate { per_second, burst });
        assert_eq!(http.rate_limit.limits(), RateLimits { per_caller: rate, per_address: rate });
        let mut http = Http { authentication: Some(Authentication::Off), ..Http::default() };
        http.rate_limit.per_caller_per_second = Some(0);
        http.for_production();
        assert!(matches!(http.authentication, Some(Authentication::Off)));
        assert_eq!(http.rate_limit.limits().per_caller, None);
    }
}
