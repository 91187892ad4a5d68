//! A story for machines. Times between are whole microseconds.

use adapter_services::jaeger::JaegerSpan;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use projections::PaymentRow;
use serde_json::{Value, json};

use super::Told;
use super::story::{Append, Mark, Part, Story};
use crate::Failure;

/// One JSON object.
///
/// # Errors
/// A payload of the log is no JSON.
pub(super) fn json(told: &Told) -> Result<Value, Failure> {
    let stories = told.stories.iter().map(|story| of_story(story, told));
    let stories = stories.collect::<Result<Vec<Value>, Failure>>()?;
    Ok(json!({
        "stories": stories, "more_payments": told.more_payments, "spans_missing": told.spans_missing,
    }))
}

fn of_story(story: &Story, told: &Told) -> Result<Value, Failure> {
    let traces = story.traces.iter().map(|part| of_part(part, story.began, told));
    let traces = traces.collect::<Result<Vec<Value>, Failure>>()?;
    Ok(json!({
        "payment": story.payment.as_ref().map(of_payment), "began_at": time(story.began), "traces": traces,
    }))
}

fn of_payment(payment: &PaymentRow) -> Value {
    json!({
        "payment_id": payment.payment_id, "user_id": payment.user_id, "status": payment.status.name(),
        "amount": payment.amount.to_string(), "currency": payment.amount.currency.code(),
        "payment_method": payment.payment_method,
    })
}

fn of_part(part: &Part, began: DateTime<Utc>, told: &Told) -> Result<Value, Failure> {
    let appends = part.appends.iter().map(of_append).collect::<Result<Vec<Value>, Failure>>()?;
    let spans: Vec<Value> = part.spans.iter().map(|span| of_span(span, began)).collect();
    let handled_by: Vec<Value> = part.handlers.iter().map(|span| of_span(span, began)).collect();
    Ok(json!({
        "trace_id": part.trace_id, "sampled": part.sampled, "url": told.url(part), "actor": part.actor,
        "after_us": part.after.map(micros), "appends": appends, "spans": spans, "handled_by": handled_by,
    }))
}

fn of_append(append: &Append) -> Result<Value, Failure> {
    let mut events: Vec<Value> = vec![];
    for event in &append.events {
        events.push(serde_json::from_str(&adapter_http::event_json(event)?)?);
    }
    let marks: Vec<&str> = append.marks().into_iter().map(Mark::name).collect();
    Ok(json!({
        "recorded_at": time(append.at), "offset_us": micros(append.offset), "delay_us": append.delay.map(micros),
        "span_id": append.span_id, "marks": marks, "events": events,
    }))
}

fn of_span(span: &JaegerSpan, began: DateTime<Utc>) -> Value {
    json!({
        "trace_id": span.trace_id, "span_id": span.span_id, "parent_span_id": span.parent_id,
        "service": span.service, "name": span.name, "offset_us": span.began_us - began.timestamp_micros(),
        "duration_us": span.took_us, "failed": span.failed,
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap_or(i64::MAX)
}
