//! What is measured while commands are carried out and events are handled.
//!
//! Instruments of OpenTelemetry's API: where no provider was set up before the first measurement they are
//! empty, and cost next to nothing. Ours have the names of the contract and no unit in them; `http.*`, `db.*`
//! and `messaging.*` are those of the semantic conventions, in seconds. `docs/metrics.md` lists them all.
//!
//! **Invariant:** no label has a value that a caller chooses.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// Upper bounds of what takes milliseconds: from a memory access to a caller's patience.
const MILLISECONDS: [f64; 18] = [
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 200.0, 350.0, 500.0, 1_000.0, 2_500.0,
    5_000.0, 10_000.0,
];
/// Upper bounds that the conventions advise for durations in seconds, and two below.
const SECONDS: [f64; 16] =
    [0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Upper bounds of a batch.
const EVENTS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

static METERS: LazyLock<Meters> = LazyLock::new(|| {
    let meters = Meters::of(&global::meter("payments"));
    // Whoever watches sees a counter grow only from its second value on: zero is told from the start.
    for ended in [Ended::Success, Ended::Failed, Ended::Rejected, Ended::Duplicate] {
        meters.requests.add(0, &[KeyValue::new("status", ended.name())]);
    }
    for service in ["risk", "channel", "event_store", "notification"] {
        meters.errors.add(0, &[KeyValue::new("service", service)]);
    }
    meters.concurrent_modifications.add(0, &[]);
    meters
});

struct Meters {
    requests: Counter<u64>,
    duration: Histogram<f64>,
    errors: Counter<u64>,
    concurrent_modifications: Counter<u64>,
    account_operations: Counter<u64>,
    risk_assessments: Counter<u64>,
    channel_duration: Histogram<f64>,
    batch_events: Histogram<u64>,
    append_duration: Histogram<f64>,
    payments_open: Gauge<u64>,
    oldest_open: Gauge<f64>,
    breaker_state: Gauge<u64>,
    http_served: Histogram<f64>,
    http_active: UpDownCounter<i64>,
    http_asked: Histogram<f64>,
    database: Histogram<f64>,
    sent: Counter<u64>,
    sending: Histogram<f64>,
    consumed: Counter<u64>,
    processing: Histogram<f64>,
}

impl Meters {
    fn of(meter: &Meter) -> Self {
        let counter =
            |name: &'static str, says: &'static str| meter.u64_counter(name).with_description(says).build();
        let milliseconds = |name: &'static str, says: &'static str| {
            let bounds = MILLISECONDS.to_vec();
            meter.f64_histogram(name).with_description(says).with_boundaries(bounds).build()
        };
        let seconds = |name: &'static str, says: &'static str| {
            let bounds = SECONDS.to_vec();
            meter.f64_histogram(name).with_unit("s").with_description(says).with_boundaries(bounds).build()
        };
        Self {
            requests: counter("payment_requests", "Requests for payments, by what they came to."),
            duration: milliseconds("payment_duration", "From a request to its recorded answer, in ms."),
            errors: counter("payment_errors", "Failures of what payments need, by who failed."),
            concurrent_modifications: counter(
                "account_concurrent_modification",
                "Appends that another process outran on an aggregate, and that were decided anew.",
            ),
            account_operations: counter("account_operations", "Commands to accounts that were carried out."),
            risk_assessments: counter("risk_assessments", "Payments that were judged."),
            channel_duration: milliseconds("channel_duration", "Calls of the payment channel, in ms."),
            batch_events: meter
                .u64_histogram("eventstore_batch_events")
                .with_description("Events that became durable in one statement.")
                .with_boundaries(EVENTS.to_vec())
                .build(),
            append_duration: milliseconds(
                "eventstore_append_duration",
                "From the sending of a batch to its being durable, in ms.",
            ),
            payments_open: meter
                .u64_gauge("payments_open")
                .with_description("Payments that hold funds and are not settled.")
                .build(),
            oldest_open: meter
                .f64_gauge("payments_oldest_open_seconds")
                .with_description("How long the payment that has waited longest has had no news.")
                .build(),
            breaker_state: meter
                .u64_gauge("breaker_state")
                .with_description("0 closed, 1 a call tries, 2 open.")
                .build(),
            http_served: seconds("http.server.request.duration", "Requests served."),
            http_active: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_description("Requests that are being served.")
                .build(),
            http_asked: seconds("http.client.request.duration", "Requests made of other services."),
            database: seconds("db.client.operation.duration", "Statements of the event store."),
            sent: counter("messaging.client.sent.messages", "Messages that a broker has acknowledged."),
            sending: seconds(
                "messaging.client.operation.duration",
                "From a message's sending to its answer.",
            ),
            consumed: counter(
                "messaging.client.consumed.messages",
                "Messages that were taken from a broker.",
            ),
            processing: seconds("messaging.process.duration", "Handling of a batch of messages."),
        }
    }
}

/// What a request for a payment came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The money is taken, or held until it is captured.
    Success,
    /// No money moved, or nobody knows yet whether it did.
    Failed,
    /// The risk was too high.
    Rejected,
    /// Its key or its payment was there before.
    Duplicate,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A request for a payment ended, after so long where its beginning is known.
pub fn payment_ended(ended: Ended, after: Option<Duration>) {
    let labels = [KeyValue::new("status", ended.name())];
    METERS.requests.add(1, &labels);
    if let Some(after) = after {
        METERS.duration.record(milliseconds(after), &labels);
    }
}

/// Something that payments need failed: `risk`, `channel`, `event_store` or `notification`.
pub fn failed(service: &'static str) {
    METERS.errors.add(1, &[KeyValue::new("service", service)]);
}

/// An append met another process on so many aggregates.
pub fn concurrent_modifications(aggregates: usize) {
    METERS.concurrent_modifications.add(u64::try_from(aggregates).unwrap_or(u64::MAX), &[]);
}

/// A command to an account was carried out.
pub fn account_operation(operation: &'static str) {
    METERS.account_operations.add(1, &[KeyValue::new("operation", operation)]);
}

/// A payment was judged; `unknown` where the risk service could not and the payment goes on.
pub fn risk_assessed(level: &'static str, degraded: bool) {
    let labels = [KeyValue::new("level", level), KeyValue::new("degraded", degraded)];
    METERS.risk_assessments.add(1, &labels);
}

/// The channel was asked to `pay` or was `inquire`d of, and said `paid`, `declined`, `not_found` or `unknown`.
pub fn channel_answered(operation: &'static str, outcome: &'static str, took: Duration) {
    let labels = [KeyValue::new("operation", operation), KeyValue::new("outcome", outcome)];
    METERS.channel_duration.record(milliseconds(took), &labels);
}

/// A batch became durable.
pub fn appended(events: usize, took: Duration) {
    METERS.batch_events.record(u64::try_from(events).unwrap_or(u64::MAX), &[]);
    METERS.append_duration.record(milliseconds(took), &[]);
}

/// How many payments are not settled, and how long the first of them has had no news.
pub fn open_payments(open: usize, oldest: Duration) {
    METERS.payments_open.record(u64::try_from(open).unwrap_or(u64::MAX), &[]);
    METERS.oldest_open.record(oldest.as_secs_f64(), &[]);
}

/// The breaker of a service is closed (0), lets one call try (1), or is open (2).
pub fn breaker(service: &'static str, state: u64) {
    METERS.breaker_state.record(state, &[KeyValue::new("service", service)]);
}

/// A request is being served, until the guard is dropped.
#[must_use]
pub fn http_serving() -> Serving {
    METERS.http_active.add(1, &[]);
    Serving(())
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serving(());

impl Drop for Serving {
    fn drop(&mut self) {
        METERS.http_active.add(-1, &[]);
    }
}

/// A request was served. `method` is one of HTTP's own, `route` a template.
pub fn http_served(method: &'static str, route: Option<&str>, status: u16, took: Duration) {
    let mut labels = Vec::with_capacity(4);
    labels.push(KeyValue::new("http.request.method", method));
    if let Some(route) = route {
        labels.push(KeyValue::new("http.route", route.to_owned()));
    }
    labels.push(KeyValue::new("http.response.status_code", i64::from(status)));
    if status >= 500 {
        labels.push(KeyValue::new("error.type", i64::from(status).to_string()));
    }
    METERS.http_served.record(took.as_secs_f64(), &labels);
}

/// A service was asked; `status` where it answered, `error` where it did not.
pub fn http_asked(
    service: &'static str,
    method: &'static str,
    status: Option<u16>,
    error: Option<&'static str>,
    took: Duration,
) {
    let mut labels = Vec::with_capacity(4);
    labels.push(KeyValue::new("http.request.method", method));
    labels.push(KeyValue::new("service.peer.name", service));
    if let Some(status) = status {
        labels.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    match (error, status) {
        (Some(error), _) => labels.push(KeyValue::new("error.type", error)),
        (None, Some(status @ 400..)) => {
            labels.push(KeyValue::new("error.type", i64::from(status).to_string()));
        }
        (None, _) => {}
    }
    METERS.http_asked.record(took.as_secs_f64(), &labels);
}

/// The database answered a statement, or did not.
pub fn database_asked(operation: &'static str, failed: bool, took: Duration) {
    let system = KeyValue::new("db.system.name", "postgresql");
    let operation = KeyValue::new("db.operation.name", operation);
    match failed {
        false => METERS.database.record(took.as_secs_f64(), &[system, operation]),
        true => {
            let error = KeyValue::new("error.type", "failed");
            METERS.database.record(took.as_secs_f64(), &[system, operation, error]);
        }
    }
}

/// So many messages of a topic were acknowledged, the first of them after so long.
pub fn messages_sent(topic: &str, messages: usize, took: Duration) {
    let labels = messaging(topic, "send");
    METERS.sent.add(u64::try_from(messages).unwrap_or(u64::MAX), &labels);
    METERS.sending.record(took.as_secs_f64(), &labels);
}

/// So many messages of a topic were taken and handled in so long.
pub fn messages_processed(topic: &str, messages: usize, took: Duration) {
    let labels = messaging(topic, "process");
    METERS.consumed.add(u64::try_from(messages).unwrap_or(u64::MAX), &labels);
    METERS.processing.record(took.as_secs_f64(), &labels);
}

fn messaging(topic: &str, operation: &'static str) -> [KeyValue; 3] {
    [
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
        KeyValue::new("messaging.operation.name", operation),
    ]
}

#[expect(clippy::float_arithmetic, reason = "a duration is measured, and no money")]
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
