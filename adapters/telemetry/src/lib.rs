//! Telemetry: logs, metrics, and traces by OpenTelemetry.
//!
//! Logs go to stderr, because stdout belongs to what a command prints for its user (`ready ...`).

mod meters;
mod traces;

use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use meters::Meters;
pub use traces::{TraceSettings, Traces};

/// Where spans come from: our own crates. Those of libraries would say how they work inside.
const OURS: [&str; 3] = ["adapter_", "commands", "payments"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging, and traces where they are given and the environment says where they go; `filter` is in
/// the syntax of `RUST_LOG`, for instance `info,sqlx=warn`.
///
/// # Errors
/// A text that says what is wrong with the filter or with the environment, or that this was started before.
pub fn start(
    filter: &str,
    format: LogFormat,
    traces: Option<TraceSettings>,
) -> Result<Option<Traces>, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let traces = traces.map(Traces::start).transpose()?.flatten();
    // Spans are for traces. Where none are kept nobody wants them, and they cost nothing.
    let filter = filter.and(filter_fn(|metadata| metadata.is_event()));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = match format {
        LogFormat::Text => logs.compact().with_target(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    let spans = traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_targets(OURS.map(|target| (target, LevelFilter::INFO))))
    });
    let started = tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).try_init();
    started.map(|()| traces).map_err(|error| error.to_string())
}
