//! Jaeger itself, with its traces in memory, asked as an operator's tools ask it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::collector::Span;
use super::folder::Folder;
use super::kafka::free_port;

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A search has to say when; a test's Jaeger knows only the test.
const ALWAYS: &str = "query.start_time_min=2000-01-01T00:00:00Z&query.start_time_max=2100-01-01T00:00:00Z";

/// One with a memory of its own. It ends with the value, whatever becomes of the test.
#[derive(Debug)]
pub(crate) struct Jaeger {
    child: Child,
    otlp: String,
    query: String,
    _folder: Folder,
}

impl Jaeger {
    pub(crate) async fn start(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let program = std::env::var_os("PAYMENTS_JAEGER")
            .map_or_else(|| root.join(".dev/jaeger/jaeger"), PathBuf::from);
        assert!(program.exists(), "{} is missing: run ./dev test, or ./dev jaeger first", program.display());
        let folder = Folder::new(&format!("{name}-jaeger"));
        let log = folder.path().join("jaeger.log");
        let said = File::create(&log).unwrap();
        let address = || format!("127.0.0.1:{}", free_port());
        let (otlp, query, health) = (address(), address(), address());
        let mut child = Command::new(program)
            .arg("--config")
            .arg(root.join("deploy/jaeger/jaeger.yaml"))
            .envs([("JAEGER_OTLP_GRPC", &otlp), ("JAEGER_OTLP_HTTP", &address())])
            .envs([("JAEGER_QUERY", &query), ("JAEGER_QUERY_GRPC", &address()), ("JAEGER_HEALTH", &health)])
            .stdout(Stdio::from(said.try_clone().unwrap()))
            .stderr(Stdio::from(said))
            .spawn()
            .unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        let began = Instant::now();
        while !is_well(&health).await {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("Jaeger ended with {status}: {}", said());
            }
            assert!(began.elapsed() < PATIENCE, "Jaeger does not start: {}", said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { child, otlp: format!("http://{otlp}"), query: format!("http://{query}"), _folder: folder }
    }

    /// Settings of a process that tells it all its traces. The environment outlives the test's processes.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.otlp.clone().leak()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER_ARG", "1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ]
    }

    /// Who has told it something.
    pub(crate) async fn services(&self) -> BTreeSet<String> {
        let found = self.ask("/api/v3/services").await;
        let names = found["services"].as_array().cloned().unwrap_or_default();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The spans of a trace; none where it knows nothing of it.
    pub(crate) async fn trace(&self, trace_id: &str) -> Vec<Span> {
        spans(&self.ask(&format!("/api/v3/traces/{trace_id}")).await)
    }

    /// The spans of the traces in which a service has done something.
    pub(crate) async fn find(&self, service: &str, span: &str) -> Vec<Span> {
        let span = span.replace(' ', "%20");
        let of = format!("query.service_name={service}&query.operation_name={span}&query.num_traces=1000");
        spans(&self.ask(&format!("/api/v3/traces?{of}&{ALWAYS}")).await)
    }

    async fn ask(&self, path: &str) -> Value {
        let answer = reqwest::get(format!("{}{path}", self.query)).await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        // What it has not heard of yet is not found.
        assert!(status == 200 || status == 404, "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_well(health: &str) -> bool {
    let Ok(answer) = reqwest::get(format!("http://{health}/status")).await else { return false };
    answer.status() == 200
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Traces as OTLP has them in JSON.
fn spans(traces: &Value) -> Vec<Span> {
    let mut found = vec![];
    for of_resource in list(&traces["result"]["resourceSpans"]) {
        let service = attributes(&of_resource["resource"]).remove("service.name").unwrap();
        for span in list(&of_resource["scopeSpans"]).flat_map(|of_scope| list(&of_scope["spans"])) {
            let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
            let link = |link: &Value| {
                let kind = attributes(link).remove("link.kind").unwrap_or_default();
                (text(link, "traceId"), text(link, "spanId"), kind)
            };
            found.push(Span {
                service: service.clone(),
                name: text(span, "name"),
                trace_id: text(span, "traceId"),
                span_id: text(span, "spanId"),
                parent_id: text(span, "parentSpanId"),
                attributes: attributes(span),
                links: list(&span["links"]).map(link).collect(),
            });
        }
    }
    found
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let value = |pair: &Value| {
        let value = pair["value"].as_object().and_then(|value| value.values().next());
        value.map_or_else(String::new, |value| value.as_str().map_or(value.to_string(), str::to_owned))
    };
    list(&of["attributes"]).map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(pair))).collect()
}
