//! A collector: what OTLP sends, as OTLP has it. It can also be one that is ill.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty where the span begins a trace.
    pub(crate) parent_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace, span and kind of each.
    pub(crate) links: Vec<(String, String, String)>,
}

impl Span {
    pub(crate) fn says(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

/// A log record as it came.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) body: String,
    pub(crate) trace_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// How a collector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Takes whatever comes.
    Well,
    /// Reads, and never answers.
    Stalled,
    /// Answers 200 and nonsense.
    Raving,
    /// Answers 503.
    Refusing,
}

#[derive(Debug)]
struct Taken {
    health: Health,
    spans: Vec<Span>,
    records: Vec<Record>,
    /// Names of metrics.
    metrics: Vec<String>,
    /// Everything, as text: what is in it can be searched for.
    text: String,
}

type Shared = Arc<Mutex<Taken>>;

/// A collector. It ends with the value.
#[derive(Debug)]
pub(crate) struct Collector {
    address: String,
    taken: Shared,
    _serving: JoinSet<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let taken = Taken {
            health: Health::Well,
            spans: vec![],
            records: vec![],
            metrics: vec![],
            text: String::new(),
        };
        let taken = Arc::new(Mutex::new(taken));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/v1/traces", post(take_traces))
            .route("/v1/logs", post(take_logs))
            .route("/v1/metrics", post(take_metrics))
            .with_state(Arc::clone(&taken));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, taken, _serving: serving }
    }

    /// Settings of an engine that sends here what it has to tell. The environment outlives the test's processes.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.address.clone().leak()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ]
    }

    pub(crate) fn is(&self, health: Health) {
        self.taken.lock().unwrap().health = health;
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap().spans.clone()
    }

    pub(crate) fn of_trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.taken.lock().unwrap().records.clone()
    }

    pub(crate) fn metrics(&self) -> Vec<String> {
        self.taken.lock().unwrap().metrics.clone()
    }

    /// Everything that came, as text.
    pub(crate) fn text(&self) -> String {
        self.taken.lock().unwrap().text.clone()
    }
}

/// What the collector's health lets it answer; `None` where it takes what came.
async fn ill(taken: &Shared) -> Option<Response> {
    let health = taken.lock().unwrap().health;
    match health {
        Health::Well => None,
        Health::Stalled => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            None
        }
        Health::Raving => Some((StatusCode::OK, vec![0xff_u8; 64]).into_response()),
        Health::Refusing => Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    }
}

async fn take_logs(State(taken): State<Shared>, body: Bytes) -> Response {
    if let Some(answer) = ill(&taken).await {
        return answer;
    }
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let mut taken = taken.lock().unwrap();
    taken.text.push_str(&format!("{request:?}"));
    let records = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    taken.records.extend(records.flat_map(|scope| scope.log_records).map(|record| Record {
        body: text(record.body.as_ref()),
        trace_id: hex(&record.trace_id),
        attributes: attributes(&record.attributes),
    }));
    StatusCode::OK.into_response()
}

async fn take_metrics(State(taken): State<Shared>, body: Bytes) -> Response {
    if let Some(answer) = ill(&taken).await {
        return answer;
    }
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut taken = taken.lock().unwrap();
    taken.text.push_str(&format!("{request:?}"));
    let metrics = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    taken.metrics.extend(metrics.flat_map(|scope| scope.metrics).map(|metric| metric.name));
    StatusCode::OK.into_response()
}

async fn take_traces(State(taken): State<Shared>, body: Bytes) -> Response {
    if let Some(answer) = ill(&taken).await {
        return answer;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut taken = taken.lock().unwrap();
    taken.text.push_str(&format!("{request:?}"));
    for of_resource in request.resource_spans {
        let service = attributes(&of_resource.resource.unwrap().attributes).remove("service.name").unwrap();
        let of_scopes = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        taken.spans.extend(of_scopes.map(|span| {
            Span {
                service: service.clone(),
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                links: span
                    .links
                    .iter()
                    .map(|link| {
                        let kind = attributes(&link.attributes).remove("link.kind").unwrap_or_default();
                        (hex(&link.trace_id), hex(&link.span_id), kind)
                    })
                    .collect(),
            }
        }));
    }
    StatusCode::OK.into_response()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
