//! Log lines: on stderr, and by OTLP where the environment says where to. Each names its trace and span.

use std::fmt;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogProcessor, SdkLogRecord, SdkLoggerProvider,
};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::drops;
use crate::service::{self, Service};

/// Records that wait for the exporter, where the operator says nothing.
const QUEUE: usize = 8_192;

/// Starts sending log records where the environment says where they go.
///
/// # Errors
/// A text that names the variable that is wrong.
pub(crate) fn start(service: &Service) -> Result<Option<SdkLoggerProvider>, String> {
    if !service::wanted("LOGS") {
        return Ok(None);
    }
    let exporter = LogExporter::builder().build().map_err(|error| service::cannot_export("logs", &error))?;
    let queue = service::number("OTEL_BLRP_MAX_QUEUE_SIZE", QUEUE)?;
    let (count, exporter) = drops::counting("logs", queue, exporter);
    let config = BatchConfigBuilder::default().with_max_queue_size(queue).build();
    let batches = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(NamesItsSpan)
        .with_log_processor(count.before(batches))
        .with_resource(service.resource())
        .build();
    Ok(Some(provider))
}

/// The span that this thread works for, where traces are kept.
fn current() -> Option<SpanContext> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.clone())
}

/// Puts the span into each record: spans are entered in `tracing` alone.
#[derive(Debug)]
struct NamesItsSpan;

impl LogProcessor for NamesItsSpan {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        if let Some(span) = current() {
            record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// A format of lines that says, at the end of each, which span wrote it.
pub(crate) struct WithIds<F> {
    pub(crate) format: F,
    /// Whether a line is a JSON object.
    pub(crate) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(span) = current() else { return self.format.format_event(context, writer, event) };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&with_ids(line.trim_end(), self.json, &span))
    }
}

fn with_ids(line: &str, json: bool, span: &SpanContext) -> String {
    let (trace_id, span_id) = (span.trace_id(), span.span_id());
    match line.strip_suffix('}').filter(|_| json) {
        Some(open) => format!("{open},\"trace_id\":\"{trace_id:032x}\",\"span_id\":\"{span_id:016x}\"}}\n"),
        None => format!("{line} trace_id={trace_id:032x} span_id={span_id:016x}\n"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    #[test]
    fn a_line_ends_with_its_ids_and_stays_what_it_is() {
        let (trace_id, span_id) = (TraceId::from(0xab), SpanId::from(0xcd));
        let span = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE);
        let json: serde_json::Value =
            serde_json::from_str(&with_ids(r#"{"message":"paid"}"#, true, &span)).unwrap();
        assert_eq!(json["message"], "paid");
        assert_eq!(json["trace_id"], "000000000000000000000000000000ab");
        assert_eq!(json["span_id"], "00000000000000cd");
        let text = with_ids("INFO paid {}", false, &span);
        assert_eq!(text, "INFO paid {} trace_id=000000000000000000000000000000ab span_id=00000000000000cd\n");
    }
}
