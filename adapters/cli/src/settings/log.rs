//! What this process says for itself.

use adapter_telemetry::LogFormat;
use serde::{Deserialize, Serialize};

use super::wrong::Wrong;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// In the syntax of RUST_LOG.
    pub(crate) filter: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,sqlx=warn".to_owned(), json: false }
    }
}

impl Log {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if let Err(reason) = adapter_telemetry::check_filter(&self.filter) {
            wrong.add("log.filter", format!("must be in the syntax of RUST_LOG: {reason}"));
        }
    }

    pub(crate) fn format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}
