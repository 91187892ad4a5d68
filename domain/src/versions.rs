//! Versions of events: what was written once, read as what it is called today.
//!
//! An event in the log is never changed, so each shape that its payload ever had must stay readable.
//! An [`Upcaster`] rewrites one version of one event to the next; [`decode`] chains them.
//!
//! # Changing an event
//!
//! Say `FundsHeld` is to tell what the hold is for.
//!
//! 1. Change the variant in `<aggregate>/event.rs`, and what the compiler then names.
//! 2. Add the step from the old shape to the end of the table in `<aggregate>/upcasters.rs`:
//!
//!    ```ignore
//!    Upcaster { from: Shape("FundsHeld", "1"), to: Shape("FundsHeld", "2"), rewrite: funds_held_2 },
//!    ```
//!
//!    and its function beside. It is given the event's fields as JSON, without the event's name, and
//!    returns them in the next shape. It is pure, and it is frozen: it speaks of JSON, never of today's
//!    types, which go on changing.
//!
//!    ```ignore
//!    /// 2: a hold says what it is for. Until then only payments could hold.
//!    fn funds_held_2(mut fields: Value) -> Result<Value, serde_json::Error> {
//!        fields["purpose"] = "payment".into();
//!        Ok(fields)
//!    }
//!    ```
//!
//!    There is no other number to raise: the version that is written is where the table ends.
//!    For a new name, give the second [`Shape`] that name; the version goes on counting.
//! 3. In `tests/golden/examples.rs`, change the example and add what the old one is read as;
//!    `UPDATE_GOLDEN=1` writes the file of the new version. The old file stays: the test fails
//!    until its every payload comes through the upcaster as expected.
//! 4. An event that got a new name also stands in SQL under both: search for the old one.
//!
//! What this does not do, and what to do instead: `docs/adr/0009-event-versions.md`.
//!
//! **Invariant:** an event in its present version is parsed straight into its type; only older ones
//! take the way through [`Value`].

use cqrs_es::DomainEvent;
use serde::de::value::Error as NotRead;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::{Map, Value};

/// The version in which every event begins.
pub const FIRST_VERSION: &str = "1";

/// An event that is read in every version that it ever had.
pub trait VersionedEvent: DomainEvent {
    /// The steps from each older version to the next one, older ones first.
    const UPCASTERS: &'static [Upcaster];

    /// The event's name in the log; the tag of its payload.
    fn event_name(&self) -> &'static str;

    /// The version in which the event is written.
    fn written_version(&self) -> &'static str {
        current_version::<Self>(self.event_name())
    }
}

/// The name and the version of an event, as the log's columns have them. Versions count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(pub &'static str, pub &'static str);

/// Rewrites the payload of one version to the next.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// What was written.
    pub from: Shape,
    /// What it becomes: the next version, under the same name or a new one.
    pub to: Shape,
    /// Gets the event's fields and returns them in the next shape. They are a JSON object, or null for
    /// an event without any, so that `fields["name"]` never panics. What is wrong with them is said by
    /// `serde::de::Error::custom`.
    pub rewrite: fn(Value) -> Result<Value, serde_json::Error>,
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The event has a version that only a later release knows.
    #[error(
        "event {event_type} has version {version}, this program reads it up to version {known}: it was written by a newer release, upgrade this one"
    )]
    Newer {
        /// The event.
        event_type: String,
        /// Its version.
        version: String,
        /// The newest version that is known.
        known: &'static str,
    },
    /// The event is one that only a later release knows.
    #[error(
        "event {event_type} is not known to this program: it was written by a newer release, upgrade this one"
    )]
    Unknown {
        /// The event.
        event_type: String,
    },
    /// The version is none that any release has written.
    #[error("event {event_type} has version {version:?}, which no release has written: the log is damaged")]
    Version {
        /// The event.
        event_type: String,
        /// Its version.
        version: String,
    },
    /// The payload of an older version is not what its upcaster expects.
    #[error("event {event_type} of version {version} cannot be read as version {next}: {source}")]
    Upcast {
        /// The event, as it was named in that version.
        event_type: &'static str,
        /// The version that could not be rewritten.
        version: &'static str,
        /// The version that it was to become.
        next: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The payload has another shape.
    #[error("event {event_type} of version {version}: {source}")]
    Payload {
        /// The event.
        event_type: String,
        /// Its version.
        version: String,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// Column and payload name different events.
    #[error("event {event_type} has the payload of {found}: the log is damaged")]
    Mismatch {
        /// The event, says its column.
        event_type: String,
        /// The event, says its payload.
        found: String,
    },
}

/// Reads an event of the log, in whichever version it was written.
///
/// # Errors
/// [`DecodeError`] names the event and its version.
pub fn decode<E: VersionedEvent>(event_type: &str, version: &str, payload: &str) -> Result<E, DecodeError> {
    let unreadable = |source| unreadable::<E>(event_type, version, source);
    if is_older::<E>(event_type, version) {
        return upcast(event_type, version, serde_json::from_str(payload).map_err(unreadable)?);
    }
    check_current::<E>(event_type, version)?;
    named(event_type, serde_json::from_str(payload).map_err(unreadable)?)
}

/// [`decode`] for a payload that has been parsed already.
///
/// # Errors
/// [`DecodeError`] names the event and its version.
pub fn decode_value<E: VersionedEvent>(
    event_type: &str,
    version: &str,
    payload: Value,
) -> Result<E, DecodeError> {
    if is_older::<E>(event_type, version) {
        return upcast(event_type, version, payload);
    }
    check_current::<E>(event_type, version)?;
    let event = serde_json::from_value(payload);
    named(event_type, event.map_err(|source| unreadable::<E>(event_type, version, source))?)
}

/// The version in which an event of this name is written: where its upcasters end.
#[must_use]
pub fn current_version<E: VersionedEvent>(event_type: &str) -> &'static str {
    let last = E::UPCASTERS.iter().rev().find(|upcaster| upcaster.to.0 == event_type);
    last.map_or(FIRST_VERSION, |upcaster| upcaster.to.1)
}

/// The names of an enum's variants as serde knows them. Asked of the type itself, so that no event can
/// be forgotten in a list. Empty for what is not an enum.
#[must_use]
pub fn event_names<'de, E: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error: no variant is ever handed out.
    let _ = E::deserialize(Names(&mut names));
    names
}

/// What is wrong with a table of upcasters: a test asks this of every event there is.
///
/// # Errors
/// The first step that breaks a rule, and which.
pub fn check_upcasters<E: VersionedEvent>() -> Result<(), String> {
    let names = event_names::<E>();
    for (index, Upcaster { from, to, .. }) in E::UPCASTERS.iter().enumerate() {
        let broken = |rule: &str| Err(format!("upcaster from {from:?} to {to:?}: {rule}"));
        let later = &E::UPCASTERS[index + 1..];
        match (number(from.1), number(to.1)) {
            (Some(before), Some(after)) if after == before + 1 => {}
            _ => return broken("versions are numbers from 1, and a step leads to the next one"),
        }
        if later.iter().any(|other| other.from == *from || other.to == *to) {
            return broken("each version is left once and arrived at once");
        }
        if later.iter().any(|other| other.to == *from) {
            return broken("it must stand behind the step that leads to its beginning");
        }
        let goes_on = later.iter().any(|next| next.from == *to);
        if !goes_on && !names.contains(&to.0) {
            return broken("it ends at an event that there is not");
        }
        if is_current::<E>(from.0, from.1) {
            return broken("its beginning is what is written today");
        }
    }
    Ok(())
}

/// Whether an upcaster leads on from this version.
fn is_older<E: VersionedEvent>(event_type: &str, version: &str) -> bool {
    E::UPCASTERS.iter().any(|upcaster| upcaster.from.0 == event_type && upcaster.from.1 == version)
}

fn is_current<E: VersionedEvent>(event_type: &str, version: &str) -> bool {
    event_names::<E>().contains(&event_type) && version == current_version::<E>(event_type)
}

/// A version that is not older must be the present one. Whether there is such an event shows when
/// the payload is parsed.
fn check_current<E: VersionedEvent>(event_type: &str, version: &str) -> Result<(), DecodeError> {
    let known = current_version::<E>(event_type);
    if version == known {
        return Ok(());
    }
    let (event_type, version) = (event_type.to_owned(), version.to_owned());
    if !event_names::<E>().contains(&event_type.as_str()) {
        return Err(DecodeError::Unknown { event_type });
    }
    match (number(&version), number(known)) {
        (Some(found), Some(newest)) if found > newest => {
            Err(DecodeError::Newer { event_type, version, known })
        }
        _ => Err(DecodeError::Version { event_type, version }),
    }
}

/// A version as a number, `None` for what is none.
fn number(version: &str) -> Option<u32> {
    // Written as it is printed: `01` or `+1` would be another text for the same version.
    version.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == version)
}

/// Why a payload of the present version could not be parsed.
fn unreadable<E: VersionedEvent>(event_type: &str, version: &str, source: serde_json::Error) -> DecodeError {
    let (event_type, version) = (event_type.to_owned(), version.to_owned());
    let was_known = E::UPCASTERS.iter().any(|upcaster| upcaster.from.0 == event_type);
    if was_known || event_names::<E>().contains(&event_type.as_str()) {
        DecodeError::Payload { event_type, version, source }
    } else {
        DecodeError::Unknown { event_type }
    }
}

fn named<E: VersionedEvent>(event_type: &str, event: E) -> Result<E, DecodeError> {
    let found = event.event_name();
    if found == event_type {
        return Ok(event);
    }
    Err(DecodeError::Mismatch { event_type: event_type.to_owned(), found: found.to_owned() })
}

/// Takes a payload through every step that leads on from its version. One pass is enough: the table is
/// in the order of versions.
fn upcast<E: VersionedEvent>(event_type: &str, version: &str, payload: Value) -> Result<E, DecodeError> {
    let (mut name, mut at) = (event_type, version);
    let mut fields = untagged(event_type, payload)?;
    for Upcaster { from, to, rewrite } in E::UPCASTERS {
        if (from.0, from.1) == (name, at) {
            fields = rewrite(fields).map_err(|source| DecodeError::Upcast {
                event_type: from.0,
                version: from.1,
                next: to.1,
                source,
            })?;
            (name, at) = (to.0, to.1);
        }
    }
    let tagged = Value::Object(Map::from_iter([(name.to_owned(), fields)]));
    let event = serde_json::from_value(tagged).map_err(|source| DecodeError::Payload {
        event_type: event_type.to_owned(),
        version: version.to_owned(),
        source,
    });
    named(name, event?)
}

/// The fields of an event, without the tag that names it; null when it has none.
fn untagged(event_type: &str, payload: Value) -> Result<Value, DecodeError> {
    let mismatch = |found: &str| {
        Err(DecodeError::Mismatch { event_type: event_type.to_owned(), found: found.to_owned() })
    };
    match payload {
        Value::String(tag) if tag == event_type => Ok(Value::Null),
        Value::Object(mut tagged) if tagged.len() == 1 => match tagged.remove(event_type) {
            Some(fields @ (Value::Object(_) | Value::Null)) => Ok(fields),
            Some(_) => mismatch("no event"),
            None => mismatch(tagged.keys().next().map_or("no event", String::as_str)),
        },
        Value::String(tag) => mismatch(&tag),
        _ => mismatch("no event"),
    }
}

/// Asks a type for the names of its variants, and gives it nothing.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = NotRead;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotRead> {
        Err(serde::de::Error::custom("only the names were asked for"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotRead> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests;
