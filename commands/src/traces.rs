//! Which traces recorded a story: the events of the log, told apart by the trace of the span that recorded them.
//!
//! Start at [`by_trace`].

use chrono::{DateTime, Utc};

use crate::ports::RecordedEvent;
use crate::shown;

/// The part of a story that one trace recorded.
#[derive(Debug, Clone)]
pub struct RecordedTrace<'a> {
    /// The 32 hexadecimal digits that name the trace.
    pub trace_id: &'a str,
    /// Whether its spans were to be kept, as its `traceparent` says.
    pub sampled: bool,
    /// Its events, in the order of the log. Never empty.
    pub events: Vec<&'a RecordedEvent>,
}

impl<'a> RecordedTrace<'a> {
    /// The spans that recorded its events, each once, in the order of their first events.
    #[must_use]
    pub fn span_ids(&self) -> Vec<&'a str> {
        let mut span_ids: Vec<&str> = vec![];
        for span_id in self.events.iter().copied().map(shown::span_id) {
            if !span_ids.contains(&span_id) {
                span_ids.push(span_id);
            }
        }
        span_ids
    }

    /// When its first event was recorded.
    #[must_use]
    pub fn first_at(&self) -> DateTime<Utc> {
        self.events.first().map_or(DateTime::UNIX_EPOCH, |event| event.recorded_at)
    }

    /// When its last event was recorded.
    #[must_use]
    pub fn last_at(&self) -> DateTime<Utc> {
        self.events.last().map_or(DateTime::UNIX_EPOCH, |event| event.recorded_at)
    }
}

/// The traces that recorded these events, which are in the order of the log; the trace of the first event comes
/// first.
#[must_use]
pub fn by_trace(events: &[RecordedEvent]) -> Vec<RecordedTrace<'_>> {
    let mut traces: Vec<RecordedTrace<'_>> = vec![];
    for event in events {
        let trace_id = shown::trace_id(event);
        match traces.iter_mut().find(|trace| trace.trace_id == trace_id) {
            Some(trace) => {
                trace.sampled |= shown::is_sampled(event);
                trace.events.push(event);
            }
            None => {
                traces.push(RecordedTrace {
                    trace_id,
                    sampled: shown::is_sampled(event),
                    events: vec![event],
                });
            }
        }
    }
    traces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(position: i64, traceparent: &str) -> RecordedEvent {
        RecordedEvent {
            position,
            sequence: 1,
            event_id: format!("event-{position}"),
            aggregate_type: "payment".to_owned(),
            aggregate_id: "p1".to_owned(),
            event_type: "RiskAssessed".to_owned(),
            event_version: "1".to_owned(),
            payload: "{}".to_owned(),
            recorded_at: DateTime::from_timestamp_millis(position).unwrap(),
            correlation_id: "p1".to_owned(),
            causation_id: "c".to_owned(),
            actor: "someone".to_owned(),
            traceparent: traceparent.to_owned(),
            tracestate: None,
            baggage: None,
            hash: None,
            chain: None,
        }
    }

    #[test]
    fn a_story_is_told_apart_by_trace_in_the_order_of_their_first_events() {
        let events = [
            event(3, "00-b-1-01"),
            event(4, "00-b-1-01"),
            event(5, "00-a-2-00"),
            event(9, "00-b-3-01"),
            event(10, "no traceparent"),
        ];
        let traces = by_trace(&events);
        let told: Vec<_> = traces
            .iter()
            .map(|trace| {
                let positions: Vec<i64> = trace.events.iter().map(|event| event.position).collect();
                (trace.trace_id, trace.sampled, trace.span_ids(), positions)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("b", true, vec!["1", "3"], vec![3, 4, 9]),
                ("a", false, vec!["2"], vec![5]),
                ("", false, vec![""], vec![10]),
            ]
        );
        let times = (traces[0].first_at().timestamp_millis(), traces[0].last_at().timestamp_millis());
        assert_eq!(times, (3, 9));
        assert!(by_trace(&[]).is_empty());
    }
}
