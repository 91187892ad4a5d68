//! The edge's limits.

use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use crate::gate::RateLimits;
use crate::jaeger::JaegerUi;
use crate::tls::Tls;

/// Whether callers have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Each request to the API needs credentials.
    Required,
    /// Everybody is the same caller, and may do everything.
    Off,
}

/// Tokens that are taken in place of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// Who must have issued them.
    pub issuer: String,
    /// For whom they must be.
    pub audience: String,
    /// How they may be signed.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How often the public keys are read.
    pub refresh_every: Duration,
    /// How often at most they are read for a key that is not known.
    pub refresh_at_most_every: Duration,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// How a token may be signed: never by a secret that is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// RSA, PKCS #1 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwtSettings {
    /// Whether tokens may be signed so.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        let known = match algorithm {
            Algorithm::RS256 => JwtAlgorithm::Rs256,
            Algorithm::ES256 => JwtAlgorithm::Es256,
            Algorithm::EdDSA => JwtAlgorithm::EdDsa,
            _ => return false,
        };
        self.algorithms.contains(&known)
    }
}

/// Limits of the HTTP edge. Each is a bound on what one client, or all of them, can take up.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Whether callers have to say who they are.
    pub authentication: Authentication,
    /// How long a key goes on after it was revoked: so long what was read of it is taken for true.
    pub key_cache: Duration,
    /// Tokens that are taken in place of keys, if any.
    pub jwt: Option<JwtSettings>,
    /// How much each caller and each address may ask for.
    pub rate_limits: RateLimits,
    /// Proxies that are believed where a request comes from (`X-Forwarded-For`).
    pub trusted_proxies: Vec<IpNet>,
    /// Pages of which origins may call the API from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// TLS; without it connections are plain.
    pub tls: Option<Tls>,
    /// Longest time that a request waits for its response.
    pub request_timeout: Duration,
    /// Largest body, in bytes.
    pub body_limit: usize,
    /// Most requests that are served at a time; one more is refused at once, not queued.
    pub max_in_flight: usize,
    /// How long requests should take at most on average while there are more than this process can serve: so
    /// many are let in, and the others refused at once.
    pub overload_target: Duration,
    /// Most commands that run at a time, those included whose callers are not waiting any more:
    /// while the channel is silent, each payment outlives its request.
    pub max_running: usize,
    /// Most connections that are open at a time; one more waits to be accepted.
    pub max_connections: usize,
    /// Most clients that follow the log at a time; each reads it on its own.
    pub max_followers: usize,
    /// Longest time from the first byte of a request to the end of its headers, and of a TLS handshake.
    pub header_timeout: Duration,
    /// Longest time that a connection may be idle, or take nothing of what is sent to it.
    pub idle_timeout: Duration,
    /// Longest time that a body may take to come.
    pub body_timeout: Duration,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Most bytes of a request's line and headers.
    pub max_header_bytes: usize,
    /// Most bytes of a path with its query.
    pub max_uri_bytes: usize,
    /// How long `/readyz` says 503 before connections are refused, so that a load balancer that
    /// polls it can notice. Zero where nobody polls.
    pub shutdown_notice: Duration,
    /// How long requests and commands may take to end at shutdown; recovery does the rest.
    pub drain_timeout: Duration,
    /// Only health and metrics are served: the process plays other roles than the API's.
    pub only_health: bool,
    /// What events say of their traces being kept where this process keeps none: without a span there is nothing
    /// to ask. What a client says about it is not trusted.
    pub sampled: bool,
    /// Where traces are shown to people, if anywhere.
    pub jaeger: Option<JaegerUi>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            authentication: Authentication::Off,
            key_cache: Duration::from_secs(5),
            jwt: None,
            rate_limits: RateLimits::default(),
            trusted_proxies: vec![],
            cors_origins: vec![],
            tls: None,
            request_timeout: Duration::from_secs(10),
            body_limit: 64 * 1024,
            max_in_flight: 512,
            overload_target: Duration::from_millis(150),
            max_running: 20_000,
            max_connections: 10_000,
            max_followers: 64,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(5),
            max_headers: 100,
            max_header_bytes: 32 * 1024,
            max_uri_bytes: 8 * 1024,
            shutdown_notice: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            only_health: false,
            sampled: false,
            jaeger: None,
        }
    }
}
