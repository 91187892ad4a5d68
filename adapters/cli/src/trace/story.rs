//! A story told apart: by trace, and in each by append.
//!
//! **Invariant:** nothing here reads or writes anything; what Jaeger says is put in by the caller.

use adapter_postgres::log::fact_of;
use adapter_services::jaeger::JaegerSpan;
use chrono::{DateTime, TimeDelta, Utc};
use commands::ports::RecordedEvent;
use commands::shown;
use commands::traces::by_trace;
use projections::{LogEvent, PaymentRow, Payments, ReadModel};
use uuid::Uuid;

/// What happened to one payment, or what one trace recorded of none.
#[derive(Debug)]
pub(super) struct Story {
    /// As its events leave it; `None` where they are no payment's, or cannot be folded.
    pub(super) payment: Option<PaymentRow>,
    pub(super) began: DateTime<Utc>,
    pub(super) traces: Vec<Part>,
}

/// What one trace recorded of a story.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) trace_id: String,
    pub(super) sampled: bool,
    /// Who acted in it.
    pub(super) actor: String,
    /// How long nothing had been recorded when it began; `None` for the trace that began the story.
    pub(super) after: Option<TimeDelta>,
    pub(super) appends: Vec<Append>,
    /// All of its spans that Jaeger has.
    pub(super) spans: Vec<JaegerSpan>,
    /// The spans that handled its events later.
    pub(super) handlers: Vec<JaegerSpan>,
}

/// Events that became durable together, recorded by one span.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) at: DateTime<Utc>,
    /// Since the story began.
    pub(super) offset: TimeDelta,
    /// Since the append before; `None` for the first.
    pub(super) delay: Option<TimeDelta>,
    pub(super) span_id: String,
    pub(super) events: Vec<RecordedEvent>,
}

/// What a reader should notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Compensation,
    OutcomeUnknown,
    NeedsReview,
}

impl Mark {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Compensation => "compensation",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NeedsReview => "needs_review",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Compensation => "compensation: the hold is given back",
            Self::OutcomeUnknown => "outcome unknown: the channel is asked until it is known",
            Self::NeedsReview => "an operator has to find out: payments review list",
        }
    }
}

impl Append {
    pub(super) fn marks(&self) -> Vec<Mark> {
        let has = |name: &str| self.events.iter().any(|event| event.event_type == name);
        let given_up = ["PaymentFailed", "PaymentVoided"].into_iter().any(has);
        [
            (Mark::Compensation, has("HoldReleased") && given_up),
            (Mark::OutcomeUnknown, has("ChannelOutcomeUnknown")),
            (Mark::NeedsReview, has("ReviewRequired")),
        ]
        .into_iter()
        .filter_map(|(mark, there)| there.then_some(mark))
        .collect()
    }
}

impl Part {
    pub(super) fn first_at(&self) -> DateTime<Utc> {
        self.appends.first().map_or(DateTime::UNIX_EPOCH, |append| append.at)
    }

    pub(super) fn last_at(&self) -> DateTime<Utc> {
        self.appends.last().map_or(DateTime::UNIX_EPOCH, |append| append.at)
    }
}

impl Story {
    /// The story that events in the order of the log tell; `None` where there are none.
    pub(super) fn of(events: &[RecordedEvent]) -> Option<Self> {
        let began = events.first()?.recorded_at;
        let traces = by_trace(events);
        let parts = traces.iter().enumerate().map(|(number, trace)| Part {
            trace_id: trace.trace_id.to_owned(),
            sampled: trace.sampled,
            actor: trace.events.first().map(|event| event.actor.clone()).unwrap_or_default(),
            after: (number > 0).then(|| since_the_one_before(events, trace.events.first().copied())),
            appends: appends(&trace.events, events, began),
            spans: vec![],
            handlers: vec![],
        });
        Some(Self { payment: payment(events), began, traces: parts.collect() })
    }

    pub(super) fn event_count(&self) -> usize {
        self.traces.iter().flat_map(|part| &part.appends).map(|append| append.events.len()).sum()
    }
}

/// How long after the event before it in the story an event was recorded.
fn since_the_one_before(story: &[RecordedEvent], event: Option<&RecordedEvent>) -> TimeDelta {
    let Some(event) = event else { return TimeDelta::zero() };
    let before = story.iter().rev().find(|other| other.position < event.position);
    before.map_or(TimeDelta::zero(), |before| event.recorded_at - before.recorded_at)
}

/// The events of a trace by append: one has one time and one span.
fn appends(events: &[&RecordedEvent], story: &[RecordedEvent], began: DateTime<Utc>) -> Vec<Append> {
    let mut appends: Vec<Append> = vec![];
    for event in events.iter().copied() {
        let span_id = shown::span_id(event);
        match appends.last_mut() {
            Some(append) if append.span_id == span_id && append.at == event.recorded_at => {
                append.events.push(event.clone());
            }
            _ => appends.push(Append {
                at: event.recorded_at,
                offset: event.recorded_at - began,
                delay: story
                    .first()
                    .filter(|first| first.position != event.position)
                    .map(|_| since_the_one_before(story, Some(event))),
                span_id: span_id.to_owned(),
                events: vec![event.clone()],
            }),
        }
    }
    appends
}

fn payment(events: &[RecordedEvent]) -> Option<PaymentRow> {
    let mut row = None;
    for event in events.iter().filter(|event| event.aggregate_type == "payment") {
        let event = LogEvent {
            position: event.position,
            sequence: event.sequence,
            event_id: Uuid::parse_str(&event.event_id).unwrap_or_default(),
            recorded_at: event.recorded_at,
            fact: fact_of(event),
        };
        // What this program cannot read leaves the header without a state, and the story as it is.
        Payments::apply(&mut row, &event).ok()?;
    }
    row
}

/// Events for tests: type, span, milliseconds, trace.
#[cfg(test)]
pub(super) fn recorded(
    position: i64,
    event_type: &str,
    trace: &str,
    span: &str,
    at_ms: i64,
) -> RecordedEvent {
    RecordedEvent {
        position,
        sequence: position,
        event_id: Uuid::nil().to_string(),
        aggregate_type: "account".to_owned(),
        aggregate_id: "acc_1".to_owned(),
        event_type: event_type.to_owned(),
        event_version: "1".to_owned(),
        payload: format!(r#"{{"{event_type}":{{"amount":{{"minor":753,"currency":"USD"}}}}}}"#),
        recorded_at: DateTime::from_timestamp_millis(at_ms).unwrap_or_default(),
        correlation_id: "p1".to_owned(),
        causation_id: "c".to_owned(),
        actor: "saga:recovery".to_owned(),
        traceparent: format!("00-{trace}-{span}-01"),
        tracestate: None,
        baggage: None,
        hash: None,
        chain: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_apart_by_trace_and_append() {
        assert!(Story::of(&[]).is_none());
        let events = [
            recorded(1, "FundsHeld", "a", "s1", 1_000),
            recorded(2, "FundsReserved", "a", "s1", 1_000),
            recorded(5, "ChannelOutcomeUnknown", "a", "s2", 2_500),
            recorded(9, "PaymentFailed", "b", "s3", 9_000),
            recorded(10, "HoldReleased", "b", "s3", 9_000),
        ];
        let story = Story::of(&events).unwrap();
        assert_eq!((story.event_count(), story.traces.len()), (5, 2));
        let [first, second] = &story.traces[..] else { panic!("two traces") };
        assert_eq!((first.after, second.after), (None, Some(TimeDelta::milliseconds(6_500))));
        let appends = |part: &Part| -> Vec<_> {
            part.appends
                .iter()
                .map(|append| {
                    let delay = append.delay.map(|delay| delay.num_milliseconds());
                    (append.offset.num_milliseconds(), delay, append.events.len(), append.marks())
                })
                .collect()
        };
        assert_eq!(
            appends(first),
            [(0, None, 2, vec![]), (1_500, Some(1_500), 1, vec![Mark::OutcomeUnknown])]
        );
        assert_eq!(appends(second), [(8_000, Some(6_500), 2, vec![Mark::Compensation])]);
    }
}
