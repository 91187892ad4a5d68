//! The edge's limits.

use std::time::Duration;

use crate::jaeger::JaegerUi;

/// Whether callers have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Each request to the API needs credentials.
    Required,
    /// Everybody is the same caller, and may do everything.
    Off,
}

/// Limits of the HTTP edge. Each is a bound on what one client, or all of them, can take up.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Whether callers have to say who they are.
    pub authentication: Authentication,
    /// How long a key goes on after it was revoked: so long what was read of it is taken for true.
    pub key_cache: Duration,
    /// Longest time that a request waits for its response.
    pub request_timeout: Duration,
    /// Largest body, in bytes.
    pub body_limit: usize,
    /// Most requests that are served at a time; one more is refused at once, not queued.
    pub max_in_flight: usize,
    /// Most commands that run at a time, those included whose callers are not waiting any more:
    /// while the channel is silent, each payment outlives its request.
    pub max_running: usize,
    /// Most connections that are open at a time; one more waits to be accepted.
    pub max_connections: usize,
    /// Most clients that follow the log at a time; each reads it on its own.
    pub max_followers: usize,
    /// Longest time that a connection may be idle, or take to send a request's headers.
    pub header_timeout: Duration,
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
            request_timeout: Duration::from_secs(10),
            body_limit: 64 * 1024,
            max_in_flight: 2_000,
            max_running: 20_000,
            max_connections: 10_000,
            max_followers: 64,
            header_timeout: Duration::from_secs(60),
            shutdown_notice: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            only_health: false,
            sampled: false,
            jaeger: None,
        }
    }
}
