//! One outside service, asked over HTTP/1.1: what the clients of risk and channel share.
//!
//! Start at [`Remote::ask`].
//!
//! **Invariant:** a request that may have reached the service is sent once. The pool of
//! `hyper-util` repeats a request by itself only when it had picked an idle connection that turned
//! out to be closed before the request was handed to it: hyper then gives the whole request back
//! unread, so not one byte of it was sent. From the first byte on every failure comes back here.
//! Redirects are not followed.

use std::io;
use std::time::{Duration, Instant};

use commands::context::{CommandContext, TraceContext};
use commands::meters;
use domain::Money;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, InvalidUri, Scheme};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use serde::{Serialize, Serializer};
use tracing::Span;

use crate::breaker::{Breaker, BreakerSettings};
use crate::bulkhead::Bulkhead;

/// The longest body of an answer that is read, in bytes; a verdict is some 30.
const BODY_LIMIT: usize = 64 * 1024;

/// Idle connections kept, so that a burst does not end in a burst of new connections.
const IDLE_CONNECTIONS: usize = 512;

/// How long an idle connection is kept: shorter than the 60 s after which load balancers commonly
/// drop one, so that few requests meet a connection that is about to be closed.
const IDLE_FOR: Duration = Duration::from_secs(50);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Why a client cannot be set up. The base URL itself is not repeated: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base URL cannot be read.
    #[error("the base URL of the {service} service is not a URL: {source}")]
    NotAUrl {
        /// `risk`, `channel` or `webhook`.
        service: &'static str,
        /// What is wrong with it.
        source: InvalidUri,
    },
    /// The base URL is none that a path can be added to.
    #[error("the base URL of the {service} service {problem}")]
    BaseUrl {
        /// `risk`, `channel` or `webhook`.
        service: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `https` needs the machine's certificate authorities, and they cannot be read.
    #[error("no certificate authority to trust the {service} service by: {source}")]
    Authorities {
        /// `risk`, `channel` or `webhook`.
        service: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// TLS itself cannot be set up.
    #[error("TLS for the {service} service: {source}")]
    Tls {
        /// `risk`, `channel` or `webhook`.
        service: &'static str,
        /// What the TLS library said.
        source: rustls::Error,
    },
}

/// What a service said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no [`Reply`]. The texts are stored in events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoReply {
    /// Nothing was sent.
    #[error("breaker open")]
    BreakerOpen,
    /// Nothing was sent.
    #[error("too many calls at a time")]
    NoPlace,
    /// Nothing was sent: there is no connection.
    #[error("connection failed")]
    ConnectionFailed,
    #[error("connection lost")]
    ConnectionLost,
    #[error("no answer within {timeout_ms} ms")]
    Late { timeout_ms: u128 },
    #[error("answer too long")]
    TooLong,
    /// Nothing was sent: what was to be sent is no HTTP.
    #[error("request could not be written")]
    Unwritable,
}

impl NoReply {
    /// Its name in spans and in what is measured.
    const fn kind(&self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::NoPlace => "bulkhead_full",
            Self::ConnectionFailed => "connection_failed",
            Self::ConnectionLost => "connection_lost",
            Self::Late { .. } => "timeout",
            Self::TooLong => "answer_too_long",
            Self::Unwritable => "unwritable",
        }
    }
}

/// One service: its address, its connections, its breaker.
#[derive(Debug)]
pub(crate) struct Remote {
    service: &'static str,
    authority: Authority,
    /// Scheme, host and path prefix, without a slash at the end.
    base: String,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    breaker: Breaker,
    bulkhead: Bulkhead,
}

/// How long one service is waited for, when it is given a rest, and how much of this process it may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest wait for an answer, connecting included.
    pub timeout: Duration,
    /// When the service is given a rest.
    pub breaker: BreakerSettings,
    /// Most calls that are under way at a time; one more is refused at once.
    pub max_in_flight: usize,
}

impl Limits {
    /// This wait, the breaker's defaults, and 1,024 calls at a time.
    #[must_use]
    pub fn waiting(timeout: Duration) -> Self {
        Self { timeout, breaker: BreakerSettings::default(), max_in_flight: 1_024 }
    }
}

impl Remote {
    pub(crate) fn new(service: &'static str, base_url: &str, limits: Limits) -> Result<Self, SetupError> {
        let Limits { timeout, breaker, max_in_flight } = limits;
        let base: Uri = base_url.parse().map_err(|source| SetupError::NotAUrl { service, source })?;
        check_base(&base, base_url).map_err(|problem| SetupError::BaseUrl { service, problem })?;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector(service, base.scheme() == Some(&Scheme::HTTPS), timeout)?);
        let problem = "has no host";
        let authority = base.authority().cloned().ok_or(SetupError::BaseUrl { service, problem })?;
        let base = base_url.trim_end_matches('/').to_owned();
        let (breaker, bulkhead) = (Breaker::new(service, breaker), Bulkhead::new(max_in_flight));
        Ok(Self { service, authority, base, http, timeout, breaker, bulkhead })
    }

    pub(crate) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether a call would be sent now.
    pub(crate) fn admits(&self) -> bool {
        self.bulkhead.has_place() && self.breaker.would_admit()
    }

    /// The address of a path that begins with a slash.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, InvalidUri> {
        [self.base.as_str(), path].concat().parse()
    }

    /// Sends a request once, past breaker and time limit, and reads nothing but the head of the answer.
    pub(crate) async fn sent(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.http.request(request).await
    }

    /// Sends a request once and reads the answer to its end, all within the time limit.
    ///
    /// The breaker counts as a failure whatever is no answer, and 5xx.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let (method, began) = (request.method().clone(), Instant::now());
        let reply = self.ask_once(request).await;
        self.record(&method, &reply, began.elapsed());
        reply
    }

    async fn ask_once(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let _place = self.bulkhead.enter().ok_or(NoReply::NoPlace)?;
        let permit = self.breaker.admit().ok_or(NoReply::BreakerOpen)?;
        let reply = match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(NoReply::Late { timeout_ms: self.timeout.as_millis() }),
        };
        match &reply {
            Ok(reply) if !reply.status.is_server_error() => permit.answered(),
            _ => permit.failed(),
        }
        reply
    }

    /// Says in the span of a request, by the conventions for HTTP, what became of it, and measures it.
    fn record(&self, method: &Method, reply: &Result<Reply, NoReply>, took: Duration) {
        let method = if *method == Method::POST { "POST" } else { "GET" };
        let (status, error) = match reply {
            Ok(reply) => (Some(reply.status.as_u16()), None),
            Err(no_reply) => (None, Some(no_reply.kind())),
        };
        meters::http_asked(self.service, method, status, error, took);
        let span = Span::current();
        if span.is_disabled() {
            return;
        }
        span.record("http.request.method", method);
        span.record("server.address", self.authority.host());
        if let Some(port) = self.authority.port_u16() {
            span.record("server.port", port);
        }
        if let Some(status) = status {
            span.record("http.response.status_code", status);
        }
        let status = status.filter(|status| *status >= 400).map(|status| status.to_string());
        if let Some(error) = error.or(status.as_deref()) {
            span.record("error.type", error);
            span.record("otel.status_code", "ERROR");
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let service = self.service;
        let response = self.http.request(request).await.map_err(|error| {
            // The caller reports the failure; only the detail that must not leave is said here.
            tracing::debug!(service, ?error, "a request had no answer");
            if error.is_connect() { NoReply::ConnectionFailed } else { NoReply::ConnectionLost }
        })?;
        let status = response.status();
        match Limited::new(response.into_body(), BODY_LIMIT).collect().await {
            Ok(body) => Ok(Reply { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(NoReply::TooLong),
            Err(error) => {
                tracing::debug!(service, ?error, "an answer broke off");
                Err(NoReply::ConnectionLost)
            }
        }
    }
}

/// A request with the trace it belongs to. Trace headers that are no header values are left out:
/// no payment fails for its telemetry.
fn request(method: Method, uri: Uri, body: Bytes, context: &CommandContext) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    add_trace(request.headers_mut(), &context.trace);
    request
}

/// Adds the headers of a trace.
pub(crate) fn add_trace(headers: &mut HeaderMap, trace: &TraceContext) {
    let texts = [
        (TRACEPARENT, Some(trace.traceparent.as_str())),
        (TRACESTATE, trace.tracestate.as_deref()),
        (BAGGAGE, trace.baggage.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}

/// A GET.
pub(crate) fn get(uri: Uri, context: &CommandContext) -> Request<Full<Bytes>> {
    request(Method::GET, uri, Bytes::new(), context)
}

/// A POST of `body` as JSON.
pub(crate) fn post(
    uri: Uri,
    body: &impl Serialize,
    context: &CommandContext,
) -> Result<Request<Full<Bytes>>, NoReply> {
    // Enough for the bodies sent here, so that they are written without a second allocation.
    let mut json = Vec::with_capacity(256);
    serde_json::to_writer(&mut json, body).map_err(|_| NoReply::Unwritable)?;
    let mut request = request(Method::POST, uri, Bytes::from(json), context);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// Writes an amount as an exact decimal text, for instance `"7.53"`.
pub(crate) fn decimal<S: Serializer>(amount: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Says what keeps a URL from being a base.
fn check_base(base: &Uri, text: &str) -> Result<(), &'static str> {
    if ![Some("http"), Some("https")].contains(&base.scheme_str()) {
        Err("begins with neither http:// nor https://")
    } else if base.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        Err("has a user name or password in it")
    } else if text.contains(['?', '#']) {
        Err("has a query or fragment")
    } else {
        Ok(())
    }
}

/// Connects by TCP, and by TLS on top for `https`.
fn connector(
    service: &'static str,
    https: bool,
    timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, SetupError> {
    // A machine without certificate authorities can still speak plain HTTP.
    let tls = if https { trusting_the_machines(service)? } else { trusting_nobody(service)? };
    Ok(secured(HttpConnector::new(), tls, https, timeout))
}

/// Puts TLS on top of connections by TCP; with `only_https` plain HTTP is refused.
pub(crate) fn secured<R>(
    mut tcp: HttpConnector<R>,
    tls: ClientConfig,
    only_https: bool,
    timeout: Duration,
) -> HttpsConnector<HttpConnector<R>> {
    tcp.set_nodelay(true);
    // The pool goes on connecting when the request it did so for is given up.
    tcp.set_connect_timeout(Some(timeout));
    // TLS is added by the connector around this one, which must not refuse `https` for it.
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let builder = if only_https { builder.https_only() } else { builder.https_or_http() };
    builder.enable_http1().wrap_connector(tcp)
}

/// TLS that trusts whom the machine trusts.
pub(crate) fn trusting_the_machines(service: &'static str) -> Result<ClientConfig, SetupError> {
    let tls = tls(service)?.with_native_roots();
    Ok(tls.map_err(|source| SetupError::Authorities { service, source })?.with_no_client_auth())
}

/// TLS by which no server is who it says.
pub(crate) fn trusting_nobody(service: &'static str) -> Result<ClientConfig, SetupError> {
    Ok(tls(service)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn tls(service: &'static str) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SetupError> {
    // The provider is named, so that it does not depend on what other crates switch on.
    let provider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|source| SetupError::Tls { service, source })
}
