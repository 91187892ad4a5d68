//! The API's edge: who is let in, and how much of it each may take up.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use adapter_http::{HeaderValue, HttpSettings, JwtAlgorithm, JwtSettings, Rate, RateLimits, Tls, TlsError};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What a caller and an address may ask for a second in production, where the operator says nothing else.
const IN_PRODUCTION: u32 = 5_000;
/// The highest rate that can be set: what comes more often than each microsecond is no bound.
const MOST_PER_SECOND: u32 = 1_000_000;

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
    pub(crate) drain_timeout_ms: u64,
}

/// Tokens in place of keys; none where there is neither URL nor file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jwt {
    pub(crate) jwks_url: Option<String>,
    pub(crate) jwks_file: Option<PathBuf>,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// `RS256`, `ES256`, `EdDSA`.
    pub(crate) algorithms: Vec<String>,
    pub(crate) refresh_ms: u64,
    /// For a key that is not known the set is read again, at most so often.
    pub(crate) refresh_at_most_every_ms: u64,
    pub(crate) leeway_ms: u64,
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

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{name} must be {least} to {most}")]
    OutOfRange { name: &'static str, least: u64, most: u64 },
    #[error("body_timeout_ms must not be longer than request_timeout_ms, which it is a part of")]
    BodyTimeout,
    #[error("rate_limit.{name} must be at most {most}", most = MOST_PER_SECOND)]
    Rate { name: &'static str },
    #[error("trusted_proxies: {0:?} is not a network such as 10.0.0.0/8")]
    Network(String),
    #[error("cors_origins: {0:?} is not an origin such as https://shop.example")]
    Origin(String),
    #[error("jwt.jwks_url and jwt.jwks_file: give one of them, not both")]
    TwoKeySets,
    #[error("jwt.{0} is needed for tokens")]
    Missing(&'static str),
    #[error("jwt.algorithms must be of RS256, ES256 and EdDSA, and is {0:?}")]
    Algorithms(Vec<String>),
    #[error("tls.certificate_file and tls.key_file: one does not do without the other")]
    HalfOfTls,
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
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
            max_in_flight: 2_000,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            jwks_url: None,
            jwks_file: None,
            issuer: String::new(),
            audience: String::new(),
            algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).into(),
            refresh_ms: 300_000,
            refresh_at_most_every_ms: 10_000,
            leeway_ms: 30_000,
        }
    }
}

/// A number as its bounds are checked.
fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
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
    pub(super) fn check(&self) -> Result<(), HttpError> {
        let (hour, mebibyte) = (3_600_000, 1024 * 1024);
        let ranges = [
            ("key_cache_ms", self.key_cache_ms, 0, 60_000),
            ("request_timeout_ms", self.request_timeout_ms, 1, hour),
            ("header_timeout_ms", self.header_timeout_ms, 1, hour),
            ("body_timeout_ms", self.body_timeout_ms, 1, hour),
            ("idle_timeout_ms", self.idle_timeout_ms, 1, hour),
            ("body_limit_bytes", number(self.body_limit_bytes), 1_024, 16 * mebibyte),
            ("header_limit_bytes", number(self.header_limit_bytes), 1_024, mebibyte),
            ("uri_limit_bytes", number(self.uri_limit_bytes), 64, 65_534),
            ("max_headers", number(self.max_headers), 8, 10_000),
            ("max_connections", number(self.max_connections), 1, 1_000_000),
            ("max_in_flight", number(self.max_in_flight), 1, 1_000_000),
            ("jwt.refresh_ms", self.jwt.refresh_ms, 100, 24 * hour),
            ("jwt.refresh_at_most_every_ms", self.jwt.refresh_at_most_every_ms, 100, hour),
            ("jwt.leeway_ms", self.jwt.leeway_ms, 0, 600_000),
        ];
        if let Some((name, _, least, most)) =
            ranges.into_iter().find(|(_, value, least, most)| !(*least..=*most).contains(value))
        {
            return Err(HttpError::OutOfRange { name, least, most });
        }
        if self.body_timeout_ms > self.request_timeout_ms {
            return Err(HttpError::BodyTimeout);
        }
        if self.tls.certificate_file.is_some() != self.tls.key_file.is_some() {
            return Err(HttpError::HalfOfTls);
        }
        self.rate_limit.check()?;
        self.jwt.settings()?;
        self.origins()?;
        self.proxies().map(|_| ())
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
            drain_timeout: ms(self.drain_timeout_ms),
            ..HttpSettings::default()
        })
    }

    fn proxies(&self) -> Result<Vec<IpNet>, HttpError> {
        let read = |text: &String| text.parse().map_err(|_| HttpError::Network(text.clone()));
        self.trusted_proxies.iter().map(read).collect()
    }

    fn origins(&self) -> Result<Vec<HeaderValue>, HttpError> {
        let read = |text: &String| {
            let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
            let is_origin = authority.is_some_and(|name| !name.is_empty() && name.chars().all(fits));
            let value = HeaderValue::try_from(text).ok().filter(|_| is_origin);
            value.ok_or_else(|| HttpError::Origin(text.clone()))
        };
        self.cors_origins.iter().map(read).collect()
    }
}

impl Jwt {
    fn settings(&self) -> Result<Option<JwtSettings>, HttpError> {
        match (&self.jwks_url, &self.jwks_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(HttpError::TwoKeySets),
            (Some(_), None) | (None, Some(_)) => {}
        }
        let needed = [("issuer", &self.issuer), ("audience", &self.audience)];
        if let Some((name, _)) = needed.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(HttpError::Missing(name));
        }
        let read = |name: &String| match name.as_str() {
            "RS256" => Some(JwtAlgorithm::Rs256),
            "ES256" => Some(JwtAlgorithm::Es256),
            "EdDSA" => Some(JwtAlgorithm::EdDsa),
            _ => None,
        };
        let algorithms: Option<Vec<_>> = self.algorithms.iter().map(read).collect();
        let algorithms = algorithms.filter(|algorithms| !algorithms.is_empty());
        Ok(Some(JwtSettings {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: algorithms.ok_or_else(|| HttpError::Algorithms(self.algorithms.clone()))?,
            refresh_every: Duration::from_millis(self.refresh_ms),
            refresh_at_most_every: Duration::from_millis(self.refresh_at_most_every_ms),
            leeway: Duration::from_millis(self.leeway_ms),
        }))
    }
}

impl RateLimit {
    fn check(&self) -> Result<(), HttpError> {
        let rates = [
            ("per_caller_per_second", self.per_caller_per_second),
            ("per_caller_burst", self.per_caller_burst),
            ("per_address_per_second", self.per_address_per_second),
            ("per_address_burst", self.per_address_burst),
        ];
        match rates.into_iter().find(|(_, rate)| rate.is_some_and(|rate| rate > MOST_PER_SECOND)) {
            Some((name, _)) => Err(HttpError::Rate { name }),
            None => Ok(()),
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
    fn read(&self) -> Result<Option<Tls>, HttpError> {
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Ok(Some(Tls::load(certificate.clone(), key.clone())?)),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(HttpError::HalfOfTls),
        }
    }
}
