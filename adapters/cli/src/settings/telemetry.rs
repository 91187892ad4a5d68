//! Where telemetry is looked at. Where it goes is said by the variables of OpenTelemetry.

use adapter_http::{JaegerUi, NotAJaeger};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Where people look at traces, for instance `http://127.0.0.1:16686`: the API gives links to it. Empty
    /// where nowhere.
    pub(crate) jaeger_ui_url: String,
    /// The services that handle events after they were recorded, by the names that they have in Jaeger.
    pub(crate) handlers: Vec<String>,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    #[error("jaeger_ui_url {0}")]
    Url(NotAJaeger),
    #[error("handlers: {0}")]
    Handlers(NotAJaeger),
}

impl Default for Telemetry {
    fn default() -> Self {
        let handlers =
            ["payments", "payments-saga", "payments-projector", "payments-relay", "payments-notifier"];
        Self { jaeger_ui_url: String::new(), handlers: handlers.map(str::to_owned).into() }
    }
}

impl Telemetry {
    /// The links, where there are some.
    pub(crate) fn jaeger_ui(&self) -> Result<Option<JaegerUi>, TelemetryError> {
        if self.jaeger_ui_url.is_empty() {
            return Ok(None);
        }
        let jaeger = JaegerUi::new(&self.jaeger_ui_url, self.handlers.clone());
        jaeger.map(Some).map_err(|wrong| match wrong {
            NotAJaeger::Url => TelemetryError::Url(wrong),
            NotAJaeger::Service(_) => TelemetryError::Handlers(wrong),
        })
    }
}
