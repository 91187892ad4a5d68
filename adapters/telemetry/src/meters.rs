//! What is measured: the provider of every instrument, for Prometheus to scrape and by OTLP; and those
//! instruments that are read when they are asked for. What is counted as it happens is in `commands::meters`.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, MeterProvider};
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use crate::service::{self, Service};

/// The instruments of this process. Names are those of the contract, so no unit is added to them.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    provider: SdkMeterProvider,
    projection_position: Gauge<i64>,
    projection_lag: Gauge<i64>,
    projection_lag_seconds: Gauge<f64>,
    projection_stopped: Gauge<i64>,
    webhook_deliveries: Counter<u64>,
    webhook_pending: Gauge<i64>,
    webhook_dead: Gauge<i64>,
    relay_position: Gauge<i64>,
    relay_lag: Gauge<i64>,
    relay_lag_seconds: Gauge<f64>,
    relay_working: Gauge<i64>,
    dead_letters: Counter<u64>,
    payments_needs_review: Gauge<i64>,
}

impl Meters {
    /// Starts measuring, for this whole process.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub(crate) fn start(service: Option<Service>) -> Result<Self, String> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .map_err(|error| error.to_string())?;
        let mut provider = SdkMeterProvider::builder().with_reader(exporter);
        if let Some(service) = service {
            provider = provider.with_resource(service.resource());
            if service::wanted("METRICS") {
                let exporter = MetricExporter::builder()
                    .build()
                    .map_err(|error| service::cannot_export("metrics", &error))?;
                provider = provider.with_periodic_exporter(exporter);
            }
        }
        let provider = provider.build();
        global::set_meter_provider(provider.clone());
        Ok(Self::of(registry, provider))
    }

    fn of(registry: Registry, provider: SdkMeterProvider) -> Self {
        let meter = provider.meter("payments");
        let gauge =
            |name: &'static str, says: &'static str| meter.i64_gauge(name).with_description(says).build();
        Self {
            projection_position: gauge("projection_position", "Position up to which the log is folded."),
            projection_lag: gauge("projection_lag", "Events of the log that are not folded yet."),
            projection_lag_seconds: meter
                .f64_gauge("projection_lag_seconds")
                .with_description("How long the first event that is not folded has waited; 0 at the head.")
                .build(),
            projection_stopped: gauge(
                "projection_stopped",
                "1 while an event that cannot be folded stops it.",
            ),
            // The exporter adds `_total`.
            webhook_deliveries: meter
                .u64_counter("webhook_deliveries")
                .with_description("Attempts to deliver a webhook, by what they came to.")
                .build(),
            webhook_pending: gauge("webhook_pending", "Deliveries that are tried now or later."),
            webhook_dead: gauge("webhook_dead", "Deliveries that are not tried any more."),
            relay_position: gauge("relay_position", "Position up to which the log is published."),
            relay_lag: gauge("relay_lag", "Events of the log that are not published yet."),
            relay_lag_seconds: meter
                .f64_gauge("relay_lag_seconds")
                .with_description("How long the first event that is not published has waited; 0 at the head.")
                .build(),
            relay_working: gauge("relay_working", "1 while a process publishes the log."),
            dead_letters: meter
                .u64_counter("dead_letters")
                .with_description("Messages that no handler can handle, put aside by topic.")
                .build(),
            payments_needs_review: gauge(
                "payments_needs_review",
                "Payments whose outcome the channel never told: a person has to.",
            ),
            registry,
            provider,
        }
    }

    /// Sends what is left, where it is sent.
    pub(crate) fn end(&self, patience: Duration) -> OTelSdkResult {
        self.provider.shutdown_with_timeout(patience)
    }

    /// How many payments wait for a person.
    pub fn needs_review(&self, payments: i64) {
        self.payments_needs_review.record(payments, &[]);
    }

    /// How far a projection is: position, events behind it, how long the first of them has waited,
    /// whether an event stops it.
    pub fn projection(&self, name: &str, position: i64, lag: i64, waiting: Duration, stopped: bool) {
        let labels = [KeyValue::new("projection", name.to_owned())];
        self.projection_position.record(position, &labels);
        self.projection_lag.record(lag, &labels);
        self.projection_lag_seconds.record(waiting.as_secs_f64(), &labels);
        self.projection_stopped.record(i64::from(stopped), &labels);
    }

    /// An attempt to deliver a webhook came to this: `delivered`, `retry`, `dead` or `gone`.
    pub fn webhook_attempted(&self, outcome: &'static str) {
        self.webhook_deliveries.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// How many deliveries have not come to their receiver, in all processes.
    pub fn webhooks(&self, pending: i64, dead: i64) {
        self.webhook_pending.record(pending, &[]);
        self.webhook_dead.record(dead, &[]);
    }

    /// How far the log is published: position, events behind it, how long the first of them has waited,
    /// whether a process is at it.
    pub fn relay(&self, position: i64, lag: i64, waiting: Duration, working: bool) {
        self.relay_position.record(position, &[]);
        self.relay_lag.record(lag, &[]);
        self.relay_lag_seconds.record(waiting.as_secs_f64(), &[]);
        self.relay_working.record(i64::from(working), &[]);
    }

    /// A message of a topic was put aside.
    pub fn dead_letter(&self, topic: &str) {
        self.dead_letters.add(1, &[KeyValue::new("topic", topic.to_owned())]);
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn render(&self) -> Result<String, String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_has_its_names() {
        let meters = Meters::start(None).unwrap();
        meters.projection("payments", 41, 2, Duration::from_secs(3), false);
        meters.projection("payments", 42, 1, Duration::from_millis(1_250), true);
        meters.projection("account_balances", 43, 0, Duration::ZERO, false);
        meters.webhook_attempted("delivered");
        meters.webhook_attempted("delivered");
        meters.webhooks(3, 1);
        meters.relay(40, 3, Duration::from_millis(500), true);
        meters.dead_letter("payments.events");
        meters.needs_review(2);
        let text = meters.render().unwrap();
        for line in [
            "projection_position{projection=\"payments\"} 42",
            "projection_lag{projection=\"payments\"} 1",
            "projection_lag_seconds{projection=\"payments\"} 1.25",
            "projection_lag_seconds{projection=\"account_balances\"} 0",
            "projection_stopped{projection=\"payments\"} 1",
            "webhook_deliveries_total{outcome=\"delivered\"} 2",
            "webhook_pending 3",
            "webhook_dead 1",
            "relay_position 40",
            "relay_lag 3",
            "relay_lag_seconds 0.5",
            "relay_working 1",
            "payments_needs_review 2",
            "dead_letters_total{topic=\"payments.events\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
