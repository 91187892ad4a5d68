//! An event as a Kafka message: CloudEvents 1.0 in binary mode.
//!
//! ```text
//! key      the aggregate's id, so that its events are in one partition and in order
//! value    the payload, byte for byte as recorded
//! headers  ce_specversion ce_id ce_source ce_type ce_subject ce_time content-type
//!          ce_aggregatetype ce_sequence ce_eventversion ce_correlationid ce_causationid ce_actor [ce_hash ce_chain]
//!          position  traceparent [tracestate] [baggage]  [ce_replay]
//! ```
//!
//! `position` and the trace context are no attributes of CloudEvents here: whoever carries messages looks for
//! them under their own names.

use std::borrow::Cow;

use commands::cloud_event::{CloudEvent, CloudEventError};
use commands::ports::RecordedEvent;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

/// Headers of one event, at most.
const MOST_HEADERS: usize = 20;

/// Where in the log an event is.
pub const POSITION: &str = "position";

/// The headers of an event.
#[must_use]
pub fn headers(event: &CloudEvent<'_>) -> OwnedHeaders {
    let required = [
        ("ce_specversion", &event.specversion),
        ("ce_id", &event.id),
        ("ce_source", &event.source),
        ("ce_type", &event.r#type),
        ("ce_subject", &event.subject),
        ("ce_time", &event.time),
        ("content-type", &event.datacontenttype),
        ("ce_aggregatetype", &event.aggregatetype),
        ("ce_sequence", &event.sequence),
        ("ce_eventversion", &event.eventversion),
        ("ce_correlationid", &event.correlationid),
        ("ce_causationid", &event.causationid),
        ("ce_actor", &event.actor),
        (POSITION, &event.position),
        ("traceparent", &event.traceparent),
    ];
    let replay = (event.replay == Some(true)).then_some(Cow::Borrowed("true"));
    let optional = [
        ("tracestate", &event.tracestate),
        ("baggage", &event.baggage),
        ("ce_hash", &event.hash),
        ("ce_chain", &event.chain),
        ("ce_replay", &replay),
    ];
    let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    let headers = required.into_iter().chain(optional);
    headers.fold(OwnedHeaders::new_with_capacity(MOST_HEADERS), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_ref()) })
    })
}

/// What a message tells of.
#[derive(Debug)]
pub enum Told {
    /// An event, for the first time or again after a crash.
    Event(Box<RecordedEvent>),
    /// An event that a replay tells again: whoever acts on events lets it pass.
    Replayed,
}

/// Why a message is none of ours.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// A header is missing, or there twice, or no text.
    #[error("the header `{0}` is missing, repeated, or no text")]
    Header(&'static str),
    /// It has no value, or none that is JSON.
    #[error("its value is no JSON")]
    Value,
    /// An attribute has a value that no event of ours has.
    #[error(transparent)]
    Attribute(#[from] CloudEventError),
}

/// Reads a message as an event.
///
/// # Errors
/// [`MessageError`] says what keeps it from being one.
pub fn read<M: Message>(message: &M) -> Result<Told, MessageError> {
    let found = message.headers();
    let optional = |name: &'static str| -> Result<Option<Cow<'_, str>>, MessageError> {
        let Some(found) = found else { return Ok(None) };
        let mut values = found.iter().filter(|header| header.key == name);
        match (values.next().map(|header| header.value), values.next()) {
            (None, _) => Ok(None),
            (Some(Some(value)), None) => {
                let text = std::str::from_utf8(value).map_err(|_| MessageError::Header(name))?;
                Ok(Some(text.into()))
            }
            _ => Err(MessageError::Header(name)),
        }
    };
    let required = |name: &'static str| optional(name)?.ok_or(MessageError::Header(name));
    let value = message.payload().ok_or(MessageError::Value)?;
    let event = CloudEvent {
        specversion: required("ce_specversion")?,
        id: required("ce_id")?,
        source: required("ce_source")?,
        r#type: required("ce_type")?,
        subject: required("ce_subject")?,
        time: required("ce_time")?,
        datacontenttype: required("content-type")?,
        position: required(POSITION)?,
        sequence: required("ce_sequence")?,
        aggregatetype: required("ce_aggregatetype")?,
        eventversion: required("ce_eventversion")?,
        correlationid: required("ce_correlationid")?,
        causationid: required("ce_causationid")?,
        actor: required("ce_actor")?,
        traceparent: required("traceparent")?,
        tracestate: optional("tracestate")?,
        baggage: optional("baggage")?,
        hash: optional("ce_hash")?,
        chain: optional("ce_chain")?,
        replay: None,
        data: serde_json::from_slice(value).map_err(|_| MessageError::Value)?,
    };
    let replayed = optional("ce_replay")?.is_some();
    let event = event.recorded()?;
    Ok(if replayed { Told::Replayed } else { Told::Event(Box::new(event)) })
}

#[cfg(test)]
mod tests {
    use commands::ports::RecordedEvent;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn event() -> RecordedEvent {
        RecordedEvent {
            position: 7,
            sequence: 2,
            event_id: "01890000-0000-7000-8000-000000000001".to_owned(),
            aggregate_type: "account".to_owned(),
            aggregate_id: "acc_1".to_owned(),
            event_type: "FundsHeld".to_owned(),
            event_version: "1".to_owned(),
            payload: r#"{"FundsHeld": {"note":"é","minor":1.10}}"#.to_owned(),
            recorded_at: chrono::DateTime::from_timestamp_micros(1_767_225_600_000_100).unwrap(),
            correlation_id: "story".to_owned(),
            causation_id: "cause".to_owned(),
            actor: "someone".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
            tracestate: Some(String::new()),
            baggage: Some("user_id=u".to_owned()),
            hash: Some(vec![0xab; 32]),
            chain: None,
        }
    }

    fn message(headers: OwnedHeaders, value: Option<&str>) -> OwnedMessage {
        let value = value.map(|value| value.as_bytes().to_vec());
        OwnedMessage::new(value, None, "t".to_owned(), Timestamp::NotAvailable, 0, 0, Some(headers))
    }

    #[test]
    fn an_event_is_the_same_there_and_back() {
        let event = event();
        let headers = headers(&CloudEvent::of(&event).unwrap());
        let Told::Event(back) = read(&message(headers, Some(&event.payload))).unwrap() else { panic!() };
        assert_eq!(format!("{back:?}"), format!("{event:?}"));
    }

    #[test]
    fn one_that_is_told_again_is_none_to_act_on() {
        let event = event();
        let headers = headers(&CloudEvent::of(&event).unwrap().replayed());
        assert!(matches!(read(&message(headers, Some(&event.payload))).unwrap(), Told::Replayed));
    }

    #[test]
    fn what_is_no_event_says_why() {
        let event = event();
        let whole = headers(&CloudEvent::of(&event).unwrap());
        let without = |name: &str| {
            whole.iter().filter(|header| header.key != name).fold(OwnedHeaders::new(), OwnedHeaders::insert)
        };
        for name in ["ce_id", "position", "content-type", "traceparent"] {
            let refused = read(&message(without(name), Some(&event.payload))).unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
        let twice = without("ce_id").insert(Header { key: "ce_type", value: Some("payments.X") });
        assert!(read(&message(twice.insert(Header { key: "ce_id", value: Some("x") }), Some("1"))).is_err());
        let negative = without(POSITION).insert(Header { key: POSITION, value: Some("-7") });
        let refused = read(&message(negative, Some(&event.payload))).unwrap_err().to_string();
        assert!(refused.contains("`position`"), "{refused}");
        for value in [None, Some(""), Some("{")] {
            assert!(matches!(read(&message(whole.clone(), value)), Err(MessageError::Value)), "{value:?}");
        }
    }
}
