//! A recorded event as a CloudEvent 1.0, and back.
//!
//! ```text
//! {"specversion":"1.0","id":EVENT_ID,"source":"payments","type":"payments.FundsHeld","subject":AGGREGATE_ID,
//!  "time":"2026-01-01T00:00:00.000001Z","datacontenttype":"application/json","position":"12",...,"data":PAYLOAD}
//! ```
//!
//! Start at [`CloudEvent::of`]; [`CloudEvent::recorded`] is the way back.
//!
//! It is here, beside [`RecordedEvent`], because several adapters tell of events (the program's exports
//! and replays, a relay to a broker) and siblings do not know each other. It knows no medium: a line of a
//! file is [`CloudEvent::line`], and a broker's headers are the same fields.
//!
//! The names of extension attributes are lower-case letters, as CloudEvents asks. `position` and
//! `sequence` are texts: an integer of CloudEvents ends at 2,147,483,647.
//!
//! **Invariant:** `data` is the payload byte for byte as it was recorded, so that its hash can be checked
//! by whoever receives it.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ports::RecordedEvent;

/// The version of CloudEvents.
pub const SPEC_VERSION: &str = "1.0";
/// Where events come from.
pub const SOURCE: &str = "payments";
/// What data is.
pub const CONTENT_TYPE: &str = "application/json";
/// What stands before an event's name in its type.
pub const TYPE_PREFIX: &str = "payments.";

/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// An event of the log with the attributes that CloudEvents names and ours beside them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudEvent<'a> {
    /// [`SPEC_VERSION`].
    #[serde(borrow)]
    pub specversion: Cow<'a, str>,
    /// The event's id.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// [`SOURCE`].
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// [`TYPE_PREFIX`] and the event's name.
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    /// The aggregate that it happened to.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// When it became durable: RFC 3339, UTC, microseconds.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// [`CONTENT_TYPE`].
    #[serde(borrow)]
    pub datacontenttype: Cow<'a, str>,
    /// Where in the log it is, in decimal digits.
    #[serde(borrow)]
    pub position: Cow<'a, str>,
    /// Which event of its aggregate it is, in decimal digits.
    #[serde(borrow)]
    pub sequence: Cow<'a, str>,
    /// `account` or `payment`.
    #[serde(borrow)]
    pub aggregatetype: Cow<'a, str>,
    /// Version of the data's shape.
    #[serde(borrow)]
    pub eventversion: Cow<'a, str>,
    /// The business story that it belongs to.
    #[serde(borrow)]
    pub correlationid: Cow<'a, str>,
    /// What caused it.
    #[serde(borrow)]
    pub causationid: Cow<'a, str>,
    /// Who acted.
    #[serde(borrow)]
    pub actor: Cow<'a, str>,
    /// The span that recorded it.
    #[serde(borrow)]
    pub traceparent: Cow<'a, str>,
    /// Vendors' part of its trace context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<Cow<'a, str>>,
    /// W3C baggage of the request that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baggage: Option<Cow<'a, str>>,
    /// SHA-256 of what it says, in hexadecimal; absent where it was recorded before there was a hash chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Cow<'a, str>>,
    /// The hash chain up to it, in hexadecimal, where it is the last event of its append.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<Cow<'a, str>>,
    /// `true` where it is told again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<bool>,
    /// What happened, byte for byte as it was recorded.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// Why a recorded event is no CloudEvent, or the other way round.
#[derive(Debug, thiserror::Error)]
pub enum CloudEventError {
    /// The payload cannot be one value on one line without another byte.
    #[error("the payload at position {position} is not JSON on one line, as the engine records it")]
    Payload {
        /// The event.
        position: i64,
    },
    /// An attribute has a value that no event of ours has.
    #[error("`{attribute}` is {found:?} and must be {expected}")]
    Attribute {
        /// Its name.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// What values it may have.
        expected: &'static str,
    },
    /// It is no JSON object, or attributes are missing or unknown.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl<'a> CloudEvent<'a> {
    /// An event of the log.
    ///
    /// # Errors
    /// [`CloudEventError::Payload`]: its payload is damaged.
    pub fn of(event: &'a RecordedEvent) -> Result<Self, CloudEventError> {
        let damaged = || CloudEventError::Payload { position: event.position };
        let data: &RawValue = serde_json::from_str(&event.payload).map_err(|_| damaged())?;
        // Blanks around the value are lost in another object, and a break between its parts ends the line.
        if data.get() != event.payload || event.payload.contains(['\n', '\r']) {
            return Err(damaged());
        }
        Ok(Self {
            specversion: SPEC_VERSION.into(),
            id: event.event_id.as_str().into(),
            source: SOURCE.into(),
            r#type: format!("{TYPE_PREFIX}{}", event.event_type).into(),
            subject: event.aggregate_id.as_str().into(),
            time: event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            datacontenttype: CONTENT_TYPE.into(),
            position: event.position.to_string().into(),
            sequence: event.sequence.to_string().into(),
            aggregatetype: event.aggregate_type.as_str().into(),
            eventversion: event.event_version.as_str().into(),
            correlationid: event.correlation_id.as_str().into(),
            causationid: event.causation_id.as_str().into(),
            actor: event.actor.as_str().into(),
            traceparent: event.traceparent.as_str().into(),
            tracestate: event.tracestate.as_deref().map(Cow::from),
            baggage: event.baggage.as_deref().map(Cow::from),
            hash: event.hash.as_ref().map(|hash| hex::encode(hash).into()),
            chain: event.chain.as_ref().map(|chain| hex::encode(chain).into()),
            replay: None,
            data,
        })
    }

    /// The same, told again.
    #[must_use]
    pub fn replayed(self) -> Self {
        Self { replay: Some(true), ..self }
    }

    /// Reads one JSON object.
    ///
    /// # Errors
    /// [`CloudEventError::Json`] says where it is none, or which attribute is missing or unknown.
    pub fn parse(json: &'a [u8]) -> Result<Self, CloudEventError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// Itself as JSON without a line break.
    ///
    /// # Errors
    /// None in practice: every field is text.
    pub fn line(&self) -> Result<String, CloudEventError> {
        Ok(serde_json::to_string(self)?)
    }

    /// The event of the log that this tells of.
    ///
    /// # Errors
    /// [`CloudEventError::Attribute`] names the attribute that is not as [`Self::of`] writes it.
    pub fn recorded(self) -> Result<RecordedEvent, CloudEventError> {
        fixed("specversion", &self.specversion, SPEC_VERSION)?;
        fixed("source", &self.source, SOURCE)?;
        fixed("datacontenttype", &self.datacontenttype, CONTENT_TYPE)?;
        let event_type = self
            .r#type
            .strip_prefix(TYPE_PREFIX)
            .ok_or_else(|| wrong("type", &self.r#type, "`payments.` and the event's name"))?;
        Ok(RecordedEvent {
            position: number("position", &self.position)?,
            sequence: number("sequence", &self.sequence)?,
            event_type: event_type.to_owned(),
            recorded_at: time(&self.time)?,
            hash: self.hash.as_deref().map(|hash| sha256("hash", hash)).transpose()?,
            chain: self.chain.as_deref().map(|chain| sha256("chain", chain)).transpose()?,
            event_id: self.id.into_owned(),
            aggregate_type: self.aggregatetype.into_owned(),
            aggregate_id: self.subject.into_owned(),
            event_version: self.eventversion.into_owned(),
            payload: self.data.get().to_owned(),
            correlation_id: self.correlationid.into_owned(),
            causation_id: self.causationid.into_owned(),
            actor: self.actor.into_owned(),
            traceparent: self.traceparent.into_owned(),
            tracestate: self.tracestate.map(Cow::into_owned),
            baggage: self.baggage.map(Cow::into_owned),
        })
    }
}

fn wrong(attribute: &'static str, found: &str, expected: &'static str) -> CloudEventError {
    CloudEventError::Attribute { attribute, found: found.to_owned(), expected }
}

fn fixed(attribute: &'static str, found: &str, expected: &'static str) -> Result<(), CloudEventError> {
    if found == expected { Ok(()) } else { Err(wrong(attribute, found, expected)) }
}

/// Decimal digits as they are written, without a sign or zeros in front.
fn number(attribute: &'static str, text: &str) -> Result<i64, CloudEventError> {
    let number = text.parse::<i64>().ok().filter(|number| *number > 0 && number.to_string() == text);
    number.ok_or_else(|| wrong(attribute, text, "a number from 1 in decimal digits"))
}

fn time(text: &str) -> Result<DateTime<Utc>, CloudEventError> {
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    time.filter(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true) == text)
        .ok_or_else(|| wrong("time", text, "a time of RFC 3339 in UTC with six digits of a second"))
}

fn sha256(attribute: &'static str, text: &str) -> Result<Vec<u8>, CloudEventError> {
    let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == HASH_BYTES);
    bytes.ok_or_else(|| wrong(attribute, text, "64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> RecordedEvent {
        RecordedEvent {
            position: 3_000_000_000,
            sequence: 2,
            event_id: "01890000-0000-7000-8000-000000000001".to_owned(),
            aggregate_type: "account".to_owned(),
            aggregate_id: "acc_1".to_owned(),
            event_type: "FundsHeld".to_owned(),
            event_version: "1".to_owned(),
            payload: r#"{"FundsHeld": {"note":"\n \u00e9","minor":1.10}}"#.to_owned(),
            recorded_at: DateTime::from_timestamp_micros(1_767_225_600_000_100).unwrap(),
            correlation_id: "story".to_owned(),
            causation_id: "cause".to_owned(),
            actor: "someone".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
            tracestate: Some(String::new()),
            baggage: None,
            hash: Some(vec![0xab; 32]),
            chain: None,
        }
    }

    #[test]
    fn an_event_is_the_same_there_and_back() {
        let event = held();
        let line = CloudEvent::of(&event).unwrap().line().unwrap();
        let back = CloudEvent::parse(line.as_bytes()).unwrap().recorded().unwrap();
        assert_eq!(format!("{back:?}"), format!("{event:?}"));
        let hash = "ab".repeat(32);
        assert_eq!(
            line,
            format!(
                r#"{{"specversion":"1.0","id":"01890000-0000-7000-8000-000000000001","source":"payments","type":"payments.FundsHeld","subject":"acc_1","time":"2026-01-01T00:00:00.000100Z","datacontenttype":"application/json","position":"3000000000","sequence":"2","aggregatetype":"account","eventversion":"1","correlationid":"story","causationid":"cause","actor":"someone","traceparent":"00-1-2-01","tracestate":"","hash":"{hash}","data":{{"FundsHeld": {{"note":"\n \u00e9","minor":1.10}}}}}}"#
            )
        );
    }

    #[test]
    fn one_that_is_told_again_says_so() {
        let line = CloudEvent::of(&held()).unwrap().replayed().line().unwrap();
        assert!(line.contains(r#","replay":true,"data":"#), "{line}");
    }

    #[test]
    fn a_payload_that_a_line_cannot_carry_is_named() {
        for payload in ["{\n}", " {}", "{} ", "{", ""] {
            let event = RecordedEvent { payload: payload.to_owned(), ..held() };
            let refused = CloudEvent::of(&event).unwrap_err();
            assert!(matches!(refused, CloudEventError::Payload { position: 3_000_000_000 }), "{payload:?}");
        }
    }

    #[test]
    fn an_attribute_that_is_not_ours_is_named() {
        let event = held();
        let line = CloudEvent::of(&event).unwrap().line().unwrap();
        for (attribute, from, to) in [
            ("`specversion`", r#""1.0""#, r#""0.3""#),
            ("`source`", r#""source":"payments""#, r#""source":"elsewhere""#),
            ("`type`", "payments.FundsHeld", "FundsHeld"),
            ("`time`", ".000100Z", ".0001Z"),
            ("`position`", "3000000000", "03000000000"),
            ("`sequence`", r#""sequence":"2""#, r#""sequence":"-2""#),
            ("`hash`", "abab", "ab"),
            ("`extra`", r#""actor""#, r#""extra":1,"actor""#),
            ("`subject`", r#""subject":"acc_1","#, ""),
        ] {
            let changed = line.replacen(from, to, 1);
            assert_ne!(changed, line, "{attribute}");
            let refused = CloudEvent::parse(changed.as_bytes()).and_then(CloudEvent::recorded).unwrap_err();
            assert!(refused.to_string().contains(attribute), "{attribute}: {refused}");
        }
    }
}
