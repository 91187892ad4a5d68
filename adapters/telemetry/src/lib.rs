//! Telemetry: logs and metrics; traces by OpenTelemetry join them here.
//!
//! Logs go to stderr, because stdout belongs to what a command prints for its user (`ready ...`).

mod meters;

use tracing_subscriber::EnvFilter;

pub use meters::Meters;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging; `filter` is in the syntax of `RUST_LOG`, for instance `info,sqlx=warn`.
///
/// # Errors
/// A text that says what is wrong with the filter, or that logging was started before.
pub fn start_logs(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => logs.compact().with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())
}
