//! Signs and sends webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) has it.
//!
//! ```text
//! POST <url>
//! webhook-id: <the event's id, at each attempt the same>
//! webhook-timestamp: <seconds>
//! webhook-signature: v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>     two while a rotation lasts
//! traceparent, tracestate, baggage: those of the event
//! ```
//!
//! **Invariants:** no attempt outlasts the configured time; redirects are not followed; what is connected
//! to is what the [`Guard`] has let through. Of an answer only its status and its `Retry-After` are kept.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use commands::meters;
use commands::spans::{self, LinkKind};
use commands::webhooks::ports::{Outgoing, WebhookSender};
use commands::webhooks::schedule::Attempted;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::guard::{Guard, GuardedResolver, NotAllowed, NotResolved, Scheme, literal};
use crate::remote::{self, SetupError};

const ID: HeaderName = HeaderName::from_static(HEADER_WEBHOOK_ID);
const TIMESTAMP: HeaderName = HeaderName::from_static(HEADER_WEBHOOK_TIMESTAMP);
const SIGNATURE: HeaderName = HeaderName::from_static(HEADER_WEBHOOK_SIGNATURE);
const SENT_BY: HeaderValue =
    HeaderValue::from_static(concat!("payments-webhooks/", env!("CARGO_PKG_VERSION")));

/// How much of an answer is read, in bytes: enough for the connection to serve again.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The longest that a receiver may ask to be left alone.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3_600);
/// Idle connections kept to one receiver.
const IDLE_CONNECTIONS: usize = 8;
/// How long they are kept.
const IDLE_FOR: Duration = Duration::from_secs(30);

type HttpClient = Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>;

/// Sends webhooks over HTTP/1.1.
#[derive(Debug)]
pub struct HttpWebhooks {
    guard: Guard,
    /// Reaches public addresses, with TLS only.
    https: HttpClient,
    /// Reaches the networks that the operator has named.
    http: HttpClient,
    timeout: Duration,
}

impl HttpWebhooks {
    /// Connects to nothing yet. `timeout` is the longest that an attempt takes, connecting included.
    ///
    /// # Errors
    /// [`SetupError`] when there is no TLS at all. A machine without certificate authorities is not one that
    /// cannot start: it reaches named networks by plain HTTP, and no receiver by `https`.
    pub fn new(guard: Guard, timeout: Duration) -> Result<Self, SetupError> {
        let service = "webhook";
        let tls = match remote::trusting_the_machines(service) {
            Err(error @ SetupError::Authorities { .. }) => {
                tracing::warn!(%error, "no webhook can be sent by https");
                remote::trusting_nobody(service)?
            }
            tls => tls?,
        };
        let client = |scheme: Scheme| {
            let resolver = GuardedResolver { guard: guard.clone(), scheme, system: GaiResolver::new() };
            let tcp = HttpConnector::new_with_resolver(resolver);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build(remote::secured(tcp, tls.clone(), scheme == Scheme::Https, timeout))
        };
        let (https, http) = (client(Scheme::Https), client(Scheme::Http));
        Ok(Self { guard, https, http, timeout })
    }

    async fn exchange(&self, outgoing: &Outgoing, end: Instant) -> Result<Attempted, String> {
        let uri: Uri = outgoing.url.parse().map_err(|_| "the URL cannot be read".to_owned())?;
        let scheme = Scheme::of(&uri).ok_or("the URL cannot be read")?;
        // No resolver is asked for these.
        if literal(&uri).is_some_and(|address| !self.guard.allows(address, scheme)) {
            return Err(NotAllowed.to_string());
        }
        let request = request(uri, outgoing).ok_or("the message cannot be signed")?;
        let client = match scheme {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
        };
        let response = match tokio::time::timeout_at(end, client.request(request)).await {
            Ok(response) => response.map_err(|error| reason(&error))?,
            Err(_) => return Err(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        let status = response.status().as_u16();
        let retry_after = match status {
            429 | 503 => retry_after(response.headers()),
            _ => None,
        };
        finish(response, end).await;
        Ok(Attempted::Answered { status, retry_after })
    }
}

#[async_trait]
impl WebhookSender for HttpWebhooks {
    async fn send(&self, outgoing: &Outgoing) -> Attempted {
        let end = Instant::now() + self.timeout;
        let span = span(outgoing);
        let exchanging = self.exchange(outgoing, end).instrument(span.clone());
        let attempted = exchanging.await.unwrap_or_else(|reason| Attempted::Failed { reason });
        record(&span, &attempted);
        attempted
    }
}

/// The span of an attempt: a trace of its own that leads back to the event. Of the URL it has the host only:
/// the rest is the receiver's secret as often as not.
fn span(outgoing: &Outgoing) -> Span {
    let uri: Option<Uri> = outgoing.url.parse().ok();
    let span = tracing::info_span!(
        parent: None,
        "notification.send",
        otel.kind = "client",
        otel.status_code = Empty,
        event.id = outgoing.message_id,
        http.request.method = "POST",
        http.response.status_code = Empty,
        server.address = uri.as_ref().and_then(Uri::host),
        error.type = Empty,
    );
    spans::link(&span, &outgoing.trace, LinkKind::CausedBy);
    span
}

fn record(span: &Span, attempted: &Attempted) {
    let failed = match attempted {
        Attempted::Answered { status, .. } => {
            span.record("http.response.status_code", *status);
            (!(200..300).contains(status)).then(|| status.to_string())
        }
        Attempted::Failed { .. } => Some("no_answer".to_owned()),
    };
    if let Some(error) = failed {
        meters::failed("notification");
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}

/// Reads what is left of an answer, so that its connection serves again. The status says everything:
/// whatever goes wrong here changes nothing.
async fn finish(response: Response<Incoming>, end: Instant) {
    let rest = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
    let _ = tokio::time::timeout_at(end, rest).await;
}

/// The signed request; `None` where a secret or a text cannot be used.
fn request(uri: Uri, outgoing: &Outgoing) -> Option<Request<Full<Bytes>>> {
    #[expect(clippy::disallowed_methods, reason = "a signature tells receivers when it was made")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let timestamp = i64::try_from(now.as_secs()).ok()?;
    let mut request = Request::post(uri).body(Full::new(Bytes::from(outgoing.body.clone()))).ok()?;
    let headers = request.headers_mut();
    remote::add_trace(headers, &outgoing.trace);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, SENT_BY);
    headers.insert(ID, HeaderValue::from_str(&outgoing.message_id).ok()?);
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
    headers.insert(SIGNATURE, HeaderValue::from_str(&signatures(outgoing, timestamp)?).ok()?);
    Some(request)
}

/// A signature by each secret.
fn signatures(outgoing: &Outgoing, timestamp: i64) -> Option<String> {
    let sign = |secret: &commands::webhooks::Secret| {
        Webhook::new(secret.expose())
            .ok()?
            .sign(&outgoing.message_id, timestamp, outgoing.body.as_bytes())
            .ok()
    };
    let signatures: Option<Vec<String>> = outgoing.secrets.iter().map(sign).collect();
    signatures.filter(|signatures| !signatures.is_empty()).map(|signatures| signatures.join(" "))
}

/// How long a receiver asks to be left alone: seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        // More digits than fit are more than a day.
        text.parse().map_or(LONGEST_HOLD, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        #[expect(clippy::disallowed_methods, reason = "a date of a receiver is a time of its clock")]
        let now = SystemTime::now();
        // One that is over asks for nothing.
        date.duration_since(now).unwrap_or_default()
    };
    Some(asked.min(LONGEST_HOLD))
}

/// Why there is no answer, fit to be shown: no address and no text of a library.
fn reason(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotAllowed>() || error.is::<NotResolved>() {
            return error.to_string();
        }
        if error.is::<rustls::Error>() {
            return "no TLS: the certificate is not trusted, or the versions differ".to_owned();
        }
        // What an I/O error holds is not its source, but stands in its place.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    tracing::debug!(?error, "a webhook had no answer");
    if error.is_connect() { "connection failed" } else { "connection lost" }.to_owned()
}

#[cfg(test)]
mod tests {
    use commands::context::TraceContext;
    use commands::webhooks::Secret;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn outgoing(secrets: &[&str]) -> Outgoing {
        Outgoing {
            url: "https://8.8.8.8/hook".to_owned(),
            message_id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".to_owned(),
            body: r#"{"email":"test@example.com","username":"test_user"}"#.to_owned(),
            secrets: secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect(),
            trace: TraceContext {
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
                tracestate: None,
                baggage: Some("user_id=7".to_owned()),
            },
        }
    }

    #[test]
    fn a_message_is_signed_by_each_secret() {
        // The vector of the reference library.
        let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        let one = signatures(&outgoing(&[SECRET]), 1_649_367_553).unwrap();
        assert_eq!(one, signature);
        let two = signatures(&outgoing(&[SECRET, "whsec_AAAA"]), 1_649_367_553).unwrap();
        assert!(two.starts_with(&format!("{signature} v1,")), "{two}");
        assert_eq!(signatures(&outgoing(&["whsec_!"]), 1), None);
        assert_eq!(signatures(&outgoing(&[]), 1), None);
    }

    #[test]
    fn a_request_has_the_headers_of_the_standard_and_of_the_trace() {
        let request = request("https://8.8.8.8/hook".parse().unwrap(), &outgoing(&[SECRET])).unwrap();
        Webhook::new(SECRET).unwrap().verify(outgoing(&[]).body.as_bytes(), request.headers()).unwrap();
        assert_eq!(request.headers()["webhook-id"], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
        assert_eq!(request.headers()["baggage"], "user_id=7");
        assert!(request.headers().contains_key("traceparent"));
    }

    #[test]
    fn how_long_a_receiver_wants_to_be_left_alone_is_read_and_bounded() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("99999999"), Some(LONGEST_HOLD));
        assert_eq!(asked("99999999999999999999999"), Some(LONGEST_HOLD));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST_HOLD));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(asked(text), None, "{text}");
        }
    }

    /// What comes of sending to a URL, for a sender that may reach these networks.
    async fn sent(networks: &[&str], url: String) -> String {
        let sender =
            HttpWebhooks::new(Guard::allowing(networks).unwrap(), Duration::from_millis(500)).unwrap();
        match sender.send(&Outgoing { url, ..outgoing(&[SECRET]) }).await {
            Attempted::Failed { reason } => reason,
            Attempted::Answered { status, .. } => format!("answered {status}"),
        }
    }

    #[tokio::test]
    async fn why_there_is_no_answer_is_told_by_its_kind_and_without_addresses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let here = ["127.0.0.0/8"];
        let no_tls = "no TLS: the certificate is not trusted, or the versions differ";
        // It speaks, and not TLS.
        let speaking = async {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut client, b"220 mail.example ready\r\n").await.unwrap();
            client
        };
        let (_client, told) = tokio::join!(speaking, sent(&here, format!("https://127.0.0.1:{port}/")));
        assert_eq!(told, no_tls);
        // It takes the connection and says nothing.
        assert_eq!(sent(&here, format!("http://127.0.0.1:{port}/")).await, "no answer within 500 ms");
        drop(listener);
        assert_eq!(sent(&here, format!("http://127.0.0.1:{port}/")).await, "connection failed");
        for url in [format!("https://127.0.0.1:{port}/"), format!("https://localhost:{port}/")] {
            assert_eq!(sent(&[], url).await, "the address is not allowed");
        }
        let nowhere = "https://no-such-host.invalid/".to_owned();
        assert_eq!(sent(&here, nowhere).await, "the host cannot be resolved");
    }
}
