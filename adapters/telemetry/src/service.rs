//! Who tells, and whether the environment wants it to be told.

use std::env;

use opentelemetry::KeyValue;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;

/// The process as it appears in traces, metrics and logs, and how many of its traces are kept.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// `service.name`, where the environment gives none.
    pub name: &'static str,
    /// `deployment.environment.name`, where the environment gives none.
    pub environment: &'static str,
    /// The share of traces that is kept, where the environment gives none: 0 to 1.
    pub share: f64,
}

impl Service {
    pub(crate) fn resource(&self) -> Resource {
        // The builder has read the environment by now; what it gives wins.
        let given = env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !given.contains("service.name=") && env::var("OTEL_SERVICE_NAME").is_err() {
            resource = resource.with_service_name(self.name);
        }
        if !given.contains("deployment.environment.name=") {
            let name = KeyValue::new("deployment.environment.name", self.environment);
            resource = resource.with_attribute(name);
        }
        resource.build()
    }
}

/// Whether the environment wants a signal (`TRACES`, `METRICS`, `LOGS`) to be sent.
pub(crate) fn wanted(signal: &str) -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|given| given.eq_ignore_ascii_case(value));
    let given = |name: &str| env::var(name).is_ok_and(|given| !given.is_empty());
    (given("OTEL_EXPORTER_OTLP_ENDPOINT") || given(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is(&format!("OTEL_{signal}_EXPORTER"), "none")
}

/// A number above 0 of the environment.
pub(crate) fn number(name: &str, otherwise: usize) -> Result<usize, String> {
    let Ok(given) = env::var(name) else { return Ok(otherwise) };
    let number = given.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{name} must be a whole number above 0, and is {given:?}"))
}

pub(crate) fn cannot_export(signal: &str, error: &ExporterBuildError) -> String {
    format!("{signal} cannot be exported: {error}; see OTEL_EXPORTER_OTLP_ENDPOINT and its like")
}
