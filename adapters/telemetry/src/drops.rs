//! Counts what is lost on its way to the collector: a queue in front of an exporter drops silently.
//!
//! ```text
//! ends ── room? ── batch processor ── exporter ── taken: exported, ok
//!          └ no: dropped              └ refused: exported, failed
//! ```
//!
//! **Invariant:** what ends is exported, or lost and counted, or still waits. The batch processor's own
//! queue is as long as the room here, so it never has to drop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::metrics::Counter;
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

static COUNTERS: LazyLock<(Counter<u64>, Counter<u64>)> = LazyLock::new(|| {
    let meter = global::meter("payments");
    let counter = |name, says| meter.u64_counter(name).with_description(says).build();
    (
        counter(
            "telemetry_dropped",
            "Spans and log records for which there was no room before the exporter.",
        ),
        counter(
            "telemetry_exported",
            "Spans and log records that were sent, by whether the collector took them.",
        ),
    )
});

/// How much of a signal waits, and what is told of it.
#[derive(Debug)]
struct Waiting {
    signal: &'static str,
    room: usize,
    waiting: AtomicUsize,
}

impl Waiting {
    /// One more waits, unless there is no room.
    fn enter(&self) -> bool {
        let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < self.room).then_some(waiting + 1)
        });
        if entered.is_err() {
            self.dropped(1);
        }
        entered.is_ok()
    }

    /// So many are handed to the exporter.
    fn leave(&self, number: usize) {
        // What came past `enter` cannot leave: there is no such thing.
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            Some(waiting.saturating_sub(number))
        });
    }

    fn exported(&self, number: usize, result: &OTelSdkResult) {
        self.sent(number, if result.is_ok() { "ok" } else { "failed" });
    }

    fn sent(&self, number: usize, outcome: &'static str) {
        let labels = [KeyValue::new("signal", self.signal), KeyValue::new("outcome", outcome)];
        COUNTERS.1.add(number_of(number), &labels);
    }

    fn dropped(&self, number: usize) {
        COUNTERS.0.add(number_of(number), &[KeyValue::new("signal", self.signal)]);
    }
}

fn number_of(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The end of a queue where things come in.
#[derive(Debug)]
pub(crate) struct Entrance(Arc<Waiting>);

/// The end of a queue where they go out.
#[derive(Debug)]
pub(crate) struct Exit<E> {
    waiting: Arc<Waiting>,
    exporter: E,
}

/// Counts what waits for an exporter, at most as much as there is room for.
pub(crate) fn counting<E>(signal: &'static str, room: usize, exporter: E) -> (Entrance, Exit<E>) {
    let waiting = Arc::new(Waiting { signal, room, waiting: AtomicUsize::new(0) });
    // Zero is told from the start: an alert can only see what changes.
    waiting.dropped(0);
    waiting.sent(0, "failed");
    (Entrance(Arc::clone(&waiting)), Exit { waiting, exporter })
}

impl Entrance {
    /// Stands in front of a processor.
    pub(crate) fn before<P>(self, processor: P) -> Counted<P> {
        Counted { waiting: self.0, processor }
    }
}

/// A processor that is given what there is room for.
#[derive(Debug)]
pub(crate) struct Counted<P> {
    waiting: Arc<Waiting>,
    processor: P,
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.waiting.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.waiting.enter() {
            self.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Exit<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let number = batch.len();
        self.waiting.leave(number);
        let result = self.exporter.export(batch).await;
        self.waiting.exported(number, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Exit<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let number = batch.iter().count();
        self.waiting.leave(number);
        let result = self.exporter.export(batch).await;
        self.waiting.exported(number, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_not_let_in_and_what_leaves_makes_room() {
        let waiting = Waiting { signal: "traces", room: 2, waiting: AtomicUsize::new(0) };
        assert_eq!([waiting.enter(), waiting.enter(), waiting.enter()], [true, true, false]);
        waiting.leave(1);
        assert_eq!([waiting.enter(), waiting.enter()], [true, false]);
        waiting.leave(5);
        assert_eq!(waiting.waiting.load(Ordering::Relaxed), 0);
    }
}
