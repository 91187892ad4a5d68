//! Asks Jaeger for spans: those of a trace, and those that handled what a trace recorded.
//!
//! By `/api/v3`, which answers OTLP as JSON. Releases before 2.14 search there by service only and ignore
//! attributes; what such a one returns is told by the spans themselves, and it is asked by the older `/api/traces`.
//!
//! **Invariants:** an answer is read up to a bound; no call outlasts its time limit.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::remote::{self, SetupError};

const SERVICE: &str = "jaeger";
/// Longest time of one call.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of one answer.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// Most services that are searched, one after the other.
const MOST_SERVICES: usize = 32;
/// Most traces of one search.
const MOST_TRACES: usize = 100;
/// The attribute by which a handler's span names the trace whose events it handled.
const ORIGIN: &str = "origin.trace_id";

/// A span as Jaeger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JaegerSpan {
    /// Its trace.
    pub trace_id: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
    /// Its parent's id, empty for a root.
    pub parent_id: String,
    /// Who did it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// When it began, in microseconds since 1970.
    pub began_us: i64,
    /// How long it took, in microseconds.
    pub took_us: i64,
    /// Whether it failed.
    pub failed: bool,
    /// The trace whose events it handled, empty where it handled none.
    pub origin: String,
}

/// Why there are no spans.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JaegerError {
    /// Nobody is there.
    #[error("connection failed")]
    ConnectionFailed,
    /// It broke off.
    #[error("connection lost")]
    ConnectionLost,
    /// It took too long.
    #[error("no answer within {} ms", TIMEOUT.as_millis())]
    Late,
    /// It is more than is read.
    #[error("the answer is longer than {ANSWER_LIMIT} bytes")]
    TooLong,
    /// Jaeger refused, or failed.
    #[error("it answered {0}")]
    Status(u16),
    /// Somebody else answered.
    #[error("what answered is not what Jaeger answers")]
    Nonsense,
}

/// A client of Jaeger's query API.
#[derive(Debug)]
pub struct JaegerQuery {
    base: String,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl JaegerQuery {
    /// Connects to nothing yet; the paths of the API are below `base_url`.
    ///
    /// # Errors
    /// [`SetupError`] when the URL is none, or there is no TLS for `https`.
    pub fn new(base_url: &str) -> Result<Self, SetupError> {
        let uri: Uri = base_url.parse().map_err(|source| SetupError::NotAUrl { service: SERVICE, source })?;
        let https = uri.scheme_str() == Some("https");
        let tls =
            if https { remote::trusting_the_machines(SERVICE)? } else { remote::trusting_nobody(SERVICE)? };
        let connector = remote::secured(HttpConnector::new(), tls, https, TIMEOUT);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base: base_url.trim_end_matches('/').to_owned(), http })
    }

    /// The spans of a trace, empty where Jaeger does not know it.
    ///
    /// # Errors
    /// [`JaegerError`] says why there are none.
    pub async fn trace(&self, trace_id: &str) -> Result<Vec<JaegerSpan>, JaegerError> {
        match self.get(&format!("/api/v3/traces/{trace_id}")).await? {
            Some(body) => otlp(&body),
            None => Ok(vec![]),
        }
    }

    /// The spans that handled what a trace recorded, begun between two times, in the order in which they began.
    ///
    /// # Errors
    /// [`JaegerError`] says why there are none.
    pub async fn handlers(
        &self,
        trace_id: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<JaegerSpan>, JaegerError> {
        let mut found: BTreeMap<(i64, String), JaegerSpan> = BTreeMap::new();
        let mut by_attributes = true;
        for service in self.services().await? {
            let mut spans = vec![];
            if by_attributes {
                spans = self.search(&service, trace_id, from, to).await?;
                by_attributes = !ignored(&spans, trace_id);
            }
            if !by_attributes {
                spans = self.older_search(&service, trace_id, from, to).await?;
            }
            let handlers = spans.into_iter().filter(|span| span.origin == trace_id);
            found.extend(handlers.map(|span| ((span.began_us, span.span_id.clone()), span)));
        }
        Ok(found.into_values().collect())
    }

    async fn services(&self) -> Result<Vec<String>, JaegerError> {
        let Some(body) = self.get("/api/v3/services").await? else { return Ok(vec![]) };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| JaegerError::Nonsense)?;
        let services = answer["services"].as_array().ok_or(JaegerError::Nonsense)?;
        Ok(services.iter().filter_map(Value::as_str).take(MOST_SERVICES).map(str::to_owned).collect())
    }

    async fn search(
        &self,
        service: &str,
        trace_id: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<JaegerSpan>, JaegerError> {
        let [from, to] = [from, to].map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true));
        let (service, tags) = (encoded(service), encoded(&tags(trace_id)));
        let path = format!(
            "/api/v3/traces?query.service_name={service}&query.attributes={tags}\
             &query.start_time_min={from}&query.start_time_max={to}\
             &query.num_traces={MOST_TRACES}&query.search_depth={MOST_TRACES}"
        );
        match self.get(&path).await? {
            Some(body) => otlp(&body),
            None => Ok(vec![]),
        }
    }

    async fn older_search(
        &self,
        service: &str,
        trace_id: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<JaegerSpan>, JaegerError> {
        let (from, to) = (from.timestamp_micros(), to.timestamp_micros());
        let (service, tags) = (encoded(service), encoded(&tags(trace_id)));
        let path =
            format!("/api/traces?service={service}&tags={tags}&start={from}&end={to}&limit={MOST_TRACES}");
        match self.get(&path).await? {
            Some(body) => older(&body),
            None => Ok(vec![]),
        }
    }

    /// The body of an answer, `None` where Jaeger has nothing of the kind.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, JaegerError> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| JaegerError::Nonsense)?;
        let exchange = tokio::time::timeout(TIMEOUT, self.exchange(uri));
        let (status, body) = exchange.await.map_err(|_| JaegerError::Late)??;
        match status {
            StatusCode::OK => Ok(Some(body)),
            // Another server does not know the path; Jaeger says what it does not know.
            StatusCode::NOT_FOUND => match serde_json::from_slice::<Value>(&body) {
                Ok(answer) if answer.get("error").is_some() => Ok(None),
                _ => Err(JaegerError::Nonsense),
            },
            other => Err(JaegerError::Status(other.as_u16())),
        }
    }

    async fn exchange(&self, uri: Uri) -> Result<(StatusCode, Bytes), JaegerError> {
        let response = self.http.get(uri).await.map_err(|error| {
            if error.is_connect() { JaegerError::ConnectionFailed } else { JaegerError::ConnectionLost }
        })?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = read.map_err(|error| {
            if error.is::<LengthLimitError>() { JaegerError::TooLong } else { JaegerError::ConnectionLost }
        })?;
        Ok((status, body.to_bytes()))
    }
}

/// Whether a search by attributes was answered as one without them: a trace is there that has none.
fn ignored(spans: &[JaegerSpan], origin: &str) -> bool {
    let has_it = |trace_id: &str| spans.iter().any(|span| span.trace_id == trace_id && span.origin == origin);
    spans.iter().any(|span| !has_it(&span.trace_id))
}

fn tags(trace_id: &str) -> String {
    format!(r#"{{"{ORIGIN}":"{trace_id}"}}"#)
}

/// A text as a part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The spans of OTLP's JSON in `{"result": ...}`, of which a stream may have several.
fn otlp(body: &[u8]) -> Result<Vec<JaegerSpan>, JaegerError> {
    let mut spans = vec![];
    for answer in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        let answer = answer.map_err(|_| JaegerError::Nonsense)?;
        let result = answer.get("result").and_then(Value::as_object).ok_or(JaegerError::Nonsense)?;
        for of_resource in list(result.get("resourceSpans")) {
            let service = attribute(&of_resource["resource"]["attributes"], "service.name", "value");
            for of_scope in list(of_resource.get("scopeSpans")) {
                for span in list(of_scope.get("spans")) {
                    spans.push(otlp_span(span, &service).ok_or(JaegerError::Nonsense)?);
                }
            }
        }
    }
    Ok(spans)
}

fn otlp_span(span: &Value, service: &str) -> Option<JaegerSpan> {
    let nanos = |name: &str| -> Option<i64> {
        let value = span.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    };
    let (began, ended) = (nanos("startTimeUnixNano").unwrap_or(0), nanos("endTimeUnixNano").unwrap_or(0));
    Some(JaegerSpan {
        trace_id: span["traceId"].as_str()?.to_owned(),
        span_id: span["spanId"].as_str()?.to_owned(),
        parent_id: span["parentSpanId"].as_str().unwrap_or_default().to_owned(),
        service: service.to_owned(),
        name: span["name"].as_str().unwrap_or_default().to_owned(),
        began_us: began / 1_000,
        took_us: ended.saturating_sub(began).max(0) / 1_000,
        failed: span["status"]["code"] == 2 || span["status"]["code"] == "STATUS_CODE_ERROR",
        origin: attribute(&span["attributes"], ORIGIN, "value"),
    })
}

/// The spans of the older API's JSON.
fn older(body: &[u8]) -> Result<Vec<JaegerSpan>, JaegerError> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| JaegerError::Nonsense)?;
    let traces = answer.get("data").ok_or(JaegerError::Nonsense)?;
    let mut spans = vec![];
    for trace in list(Some(traces)) {
        for span in list(trace.get("spans")) {
            spans.push(older_span(span, &trace["processes"]).ok_or(JaegerError::Nonsense)?);
        }
    }
    Ok(spans)
}

fn older_span(span: &Value, processes: &Value) -> Option<JaegerSpan> {
    let process = span["processID"].as_str().unwrap_or_default();
    let parents = list(span.get("references")).iter().filter(|reference| reference["refType"] == "CHILD_OF");
    let parent = parents.filter_map(|reference| reference["spanID"].as_str()).next();
    Some(JaegerSpan {
        trace_id: span["traceID"].as_str()?.to_owned(),
        span_id: span["spanID"].as_str()?.to_owned(),
        parent_id: parent.unwrap_or_default().to_owned(),
        service: processes[process]["serviceName"].as_str().unwrap_or_default().to_owned(),
        name: span["operationName"].as_str().unwrap_or_default().to_owned(),
        began_us: span["startTime"].as_i64()?,
        took_us: span["duration"].as_i64().unwrap_or(0).max(0),
        failed: list(span.get("tags")).iter().any(|tag| tag["key"] == "error" && tag["value"] == true),
        origin: attribute(&span["tags"], ORIGIN, "value"),
    })
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text of an attribute, empty where there is none.
fn attribute(attributes: &Value, name: &str, value: &str) -> String {
    let found = list(Some(attributes)).iter().find(|pair| pair["key"] == name);
    let text = found.and_then(|pair| pair[value].as_str().or_else(|| pair[value]["stringValue"].as_str()));
    text.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTLP: &str = r#"{"result":{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"payments"}}]},"scopeSpans":[{"spans":[{"traceId":"t","spanId":"s",
        "parentSpanId":"p","name":"n","startTimeUnixNano":"1700000000000002500","endTimeUnixNano":
        "1700000000000004500","status":{"code":2},"attributes":[{"key":"origin.trace_id","value":
        {"stringValue":"o"}}]}]}]}]}}"#;
    const OLDER: &str = r#"{"data":[{"spans":[{"traceID":"t","spanID":"s","operationName":"n","references":
        [{"refType":"CHILD_OF","spanID":"p"}],"startTime":1700000000000002,"duration":2,"processID":"p1","tags":
        [{"key":"origin.trace_id","value":"o"},{"key":"error","value":true}]}],
        "processes":{"p1":{"serviceName":"payments"}}}]}"#;

    #[test]
    fn both_of_jaegers_answers_say_the_same() {
        let expected = JaegerSpan {
            trace_id: "t".to_owned(),
            span_id: "s".to_owned(),
            parent_id: "p".to_owned(),
            service: "payments".to_owned(),
            name: "n".to_owned(),
            began_us: 1_700_000_000_000_002,
            took_us: 2,
            failed: true,
            origin: "o".to_owned(),
        };
        assert_eq!(otlp(OTLP.as_bytes()).unwrap(), std::slice::from_ref(&expected));
        assert_eq!(otlp(format!("{OTLP}\n{OTLP}").as_bytes()).unwrap().len(), 2, "a stream");
        assert_eq!(older(OLDER.as_bytes()).unwrap(), [expected]);
    }

    #[test]
    fn whatever_else_answers_is_told_apart() {
        for body in [
            "",
            "<html>",
            "{\"result\":7}",
            "[]",
            "{\"result\":{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{}]}]}]}}",
        ] {
            let read = otlp(body.as_bytes());
            assert!(read == Err(JaegerError::Nonsense) || (body.is_empty() && read == Ok(vec![])), "{body}");
        }
        assert_eq!(older(b"{}"), Err(JaegerError::Nonsense));
    }

    #[test]
    fn a_search_that_ignored_the_attributes_is_noticed() {
        let span = otlp(OTLP.as_bytes()).unwrap().remove(0);
        let child = JaegerSpan { origin: String::new(), ..span.clone() };
        let stranger = JaegerSpan { trace_id: "other".to_owned(), ..child.clone() };
        assert!(!ignored(&[], "o") && !ignored(&[span.clone(), child], "o"));
        assert!(ignored(&[span, stranger], "o"));
        assert_eq!(encoded("a b/\u{e9}"), "a%20b%2F%C3%A9");
    }
}
