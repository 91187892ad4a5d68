//! Telemetry: logs, metrics, and traces by OpenTelemetry.
//!
//! Logs go to stderr, because stdout belongs to what a command prints for its user (`ready ...`). Metrics are
//! there to be scraped. All three go out by OTLP as well where the environment says where to:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, or `..._TRACES_ENDPOINT` and its like | where they go; without one nothing is sent |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL`, `..._COMPRESSION`, `..._HEADERS`, `..._TIMEOUT` | how: `grpc` or `http/protobuf`, `gzip` |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who says so |
//! | `OTEL_TRACES_EXPORTER=none` and its like, `OTEL_SDK_DISABLED=true` | sends nothing |
//!
//! | module | what is in it |
//! | --- | --- |
//! | `service` | who tells, and whether it is wanted |
//! | `traces` | the provider of spans, and which traces are kept |
//! | `logs` | lines and records, with their trace |
//! | `meters` | the provider of metrics, and those that are read when they are asked for |
//! | `drops` | what is lost on the way to the collector, counted |
//!
//! Start at [`start`].

mod drops;
mod logs;
mod meters;
mod service;
mod traces;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, dynamic_filter_fn};
use tracing_subscriber::fmt::format::{self, JsonFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::logs::WithIds;
pub use self::meters::Meters;
pub use self::service::Service;

/// Where spans come from: our own crates. Those of libraries would say how they work inside.
const OURS: [&str; 3] = ["adapter_", "commands", "payments"];
/// How long the end of the process waits for what is left of each signal.
const PATIENCE: Duration = Duration::from_secs(3);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What tells of this process, until it ends.
#[derive(Debug)]
pub struct Telemetry {
    meters: Arc<Meters>,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Starts it; `filter` of the log is in the syntax of `RUST_LOG`, for instance `info,sqlx=warn`. Without a
/// service nothing but log lines is told.
///
/// # Errors
/// A text that says what is wrong with the filter or with the environment, or that this was started before.
pub fn start(filter: &str, format: LogFormat, service: Option<Service>) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    // Spans are for traces. Where none are kept nobody wants them, and they cost nothing.
    // Asked anew for each line: whoever only asks whether something would be logged (`log_enabled!`) leaves its
    // answer behind, and a line that every layer always wants would be lost by it.
    let filter = filter.and(dynamic_filter_fn(|metadata, _| metadata.is_event()));
    // First of all: instruments that are made before their provider measure nothing for ever.
    let meters = Arc::new(Meters::start(service)?);
    let traces = service.as_ref().map(traces::start).transpose()?.flatten();
    let logs = service.as_ref().map(logs::start).transpose()?.flatten();
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let stderr = match format {
        LogFormat::Text => {
            let format = format::format().compact().with_target(false);
            stderr.event_format(WithIds { format, json: false }).boxed()
        }
        LogFormat::Json => {
            let format = format::format().json().flatten_event(true);
            let stderr = stderr.fmt_fields(JsonFields::new());
            stderr.event_format(WithIds { format, json: true }).boxed()
        }
    };
    let spans = traces.as_ref().map(|traces| {
        global::set_tracer_provider(traces.clone());
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("payments"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_targets(OURS.map(|target| (target, LevelFilter::INFO))))
    });
    let lines = stderr.and_then(logs.as_ref().map(OpenTelemetryTracingBridge::new)).with_filter(filter);
    let started = tracing_subscriber::registry().with(lines).with(spans).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(Telemetry { meters, traces, logs })
}

/// Whether a filter of the log can be read.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(|_| ()).map_err(|error| error.to_string())
}

impl Telemetry {
    /// What is read when it is asked for.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// Whether spans are kept.
    #[must_use]
    pub const fn keeps_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends what is left. Waits, but not for ever: a collector that is away holds no process back.
    pub fn end(&self) {
        let ended = [
            ("traces", self.traces.as_ref().map(|traces| traces.shutdown_with_timeout(PATIENCE))),
            ("metrics", Some(self.meters.end(PATIENCE))),
            // Last, so that what the others say at their end is sent.
            ("logs", self.logs.as_ref().map(|logs| logs.shutdown_with_timeout(PATIENCE))),
        ];
        for (signal, ended) in ended {
            if let Some(Err(error)) = ended {
                tracing::warn!(signal, %error, "what was told last may be lost");
            }
        }
    }
}
