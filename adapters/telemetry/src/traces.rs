//! Traces by OTLP, set by the standard variables of [`crate`] and these:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `OTEL_TRACES_SAMPLER_ARG` | the share of traces that is kept, 0 to 1 |
//! | `OTEL_BSP_*` | the queue before the exporter |
//!
//! **Invariant:** whether a trace is kept is decided here, by its id alone. A caller's flag is no reason: it
//! does not pay for what is kept. All processes with one share decide alike, so a trace is kept whole.

use std::env;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider,
    ShouldSample,
};

use crate::drops;
use crate::service::{self, Service};

/// Spans that wait for the exporter, where the operator says nothing: those of a second of full load.
const QUEUE: usize = 65_536;
/// Spans of one export.
const BATCH: usize = 4_096;
/// How long a span waits to be exported.
const DELAY: Duration = Duration::from_secs(1);
/// Starts traces where the environment says where they go.
///
/// # Errors
/// A text that names the variable that is wrong.
pub(crate) fn start(service: &Service) -> Result<Option<SdkTracerProvider>, String> {
    if !service::wanted("TRACES") {
        return Ok(None);
    }
    let share = share(env::var("OTEL_TRACES_SAMPLER_ARG").ok().as_deref(), service.share)?;
    let exporter =
        SpanExporter::builder().build().map_err(|error| service::cannot_export("traces", &error))?;
    let queue = service::number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)?;
    let (count, exporter) = drops::counting("traces", queue, exporter);
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches(queue).build()).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(count.before(batches))
        .with_sampler(ByTraceId(Sampler::TraceIdRatioBased(share)))
        .with_resource(service.resource())
        .build();
    Ok(Some(provider))
}

fn share(given: Option<&str>, otherwise: f64) -> Result<f64, String> {
    let Some(given) = given else { return Ok(otherwise) };
    given
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("OTEL_TRACES_SAMPLER_ARG must be 0 to 1, and is {given:?}"))
}

fn batches(queue: usize) -> BatchConfigBuilder {
    // What the environment says, it has said to this builder.
    let given = |name: &str| env::var(name).is_ok();
    let mut batches = BatchConfigBuilder::default().with_max_queue_size(queue);
    if !given("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") {
        batches = batches.with_max_export_batch_size(BATCH);
    }
    if !given("OTEL_BSP_SCHEDULE_DELAY") {
        batches = batches.with_scheduled_delay(DELAY);
    }
    batches
}

/// Follows this process's own decision, or that for the span that a new trace leads back to, and decides
/// anew, by the trace's id, for what comes from elsewhere.
#[derive(Debug, Clone)]
struct ByTraceId(Sampler);

impl ShouldSample for ByTraceId {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent_context.map(|context| context.span().span_context().clone());
        let mut decided = self.0.should_sample(None, trace_id, name, span_kind, attributes, links);
        let follow = |sampled| match sampled {
            true => SamplingDecision::RecordAndSample,
            false => SamplingDecision::Drop,
        };
        if let Some(parent) = parent.filter(|parent| parent.is_valid()) {
            decided.trace_state = parent.trace_state().clone();
            if !parent.is_remote() {
                decided.decision = follow(parent.is_sampled());
            }
        } else if let Some(origin) = links.first() {
            decided.decision = follow(origin.span_context.is_sampled());
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    fn decide(share: f64, parent: Option<(bool, bool)>) -> SamplingDecision {
        // Of the ids from 0 to 2^63 this is the middle.
        let trace_id = TraceId::from_hex("00000000000000008000000000000000").unwrap();
        let parent = parent.map(|(sampled, remote)| {
            let flags = TraceFlags::default().with_sampled(sampled);
            let span_id = SpanId::from_hex("b7ad6b7169203331").unwrap();
            let parent = SpanContext::new(trace_id, span_id, flags, remote, TraceState::NONE);
            Context::new().with_remote_span_context(parent)
        });
        let sampler = ByTraceId(Sampler::TraceIdRatioBased(share));
        sampler.should_sample(parent.as_ref(), trace_id, "", &SpanKind::Server, &[], &[]).decision
    }

    #[test]
    fn a_caller_decides_nothing_and_our_own_spans_agree() {
        for caller_says in [true, false] {
            assert_eq!(decide(0.25, Some((caller_says, true))), SamplingDecision::Drop);
            assert_eq!(decide(1.0, Some((caller_says, true))), SamplingDecision::RecordAndSample);
        }
        assert_eq!(decide(0.25, Some((true, false))), SamplingDecision::RecordAndSample);
        assert_eq!(decide(1.0, Some((false, false))), SamplingDecision::Drop);
        assert_eq!(
            (decide(0.0, None), decide(1.0, None)),
            (SamplingDecision::Drop, SamplingDecision::RecordAndSample)
        );
    }

    #[test]
    fn a_share_is_one_or_is_refused() {
        assert_eq!(share(None, 0.1), Ok(0.1));
        assert_eq!(share(Some("0.5"), 0.1), Ok(0.5));
        for wrong in ["", "half", "-0.1", "1.1", "NaN"] {
            assert!(
                share(Some(wrong), 0.1).is_err_and(|said| said.contains("OTEL_TRACES_SAMPLER_ARG")),
                "{wrong}"
            );
        }
    }
}
