//! Where telemetry is looked at. Where it goes is said by the variables of OpenTelemetry.

use adapter_http::{JaegerUi, NotAJaeger};
use serde::{Deserialize, Serialize};

use super::wrong::Wrong;

/// Stands for any while the names of services are looked at.
const ANY_JAEGER: &str = "http://127.0.0.1:16686";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Where people look at traces, for instance `http://127.0.0.1:16686`: the API gives links to it. Empty
    /// where nowhere.
    pub(crate) jaeger_ui_url: String,
    /// The services that handle events after they were recorded, by the names that they have in Jaeger.
    pub(crate) handlers: Vec<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        let handlers =
            ["payments", "payments-saga", "payments-projector", "payments-relay", "payments-notifier"];
        Self { jaeger_ui_url: String::new(), handlers: handlers.map(str::to_owned).into() }
    }
}

impl Telemetry {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if !self.jaeger_ui_url.is_empty()
            && let Err(error) = JaegerUi::new(&self.jaeger_ui_url, vec![])
        {
            wrong.add("telemetry.jaeger_ui_url", error.to_string());
        }
        for name in &self.handlers {
            if let Err(error) = JaegerUi::new(ANY_JAEGER, vec![name.clone()]) {
                wrong.add("telemetry.handlers", error.to_string());
            }
        }
    }

    /// The links, where there are some.
    ///
    /// # Errors
    /// What [`Self::check`] finds wrong.
    pub(crate) fn jaeger_ui(&self) -> Result<Option<JaegerUi>, NotAJaeger> {
        if self.jaeger_ui_url.is_empty() {
            return Ok(None);
        }
        JaegerUi::new(&self.jaeger_ui_url, self.handlers.clone()).map(Some)
    }
}
