//! From JSON text to valid values, field by field.
//!
//! The text is parsed once, into one slice of itself per field ([`Fields::read`]); each slice is then
//! read as what it has to be ([`Field`]). An amount is thereby read from its own characters, and
//! every refusal knows its field. What is nested is skipped without recursion, so depth costs nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use axum::http::StatusCode;
use domain::Money;
use domain::id::{Id, IdError};
use domain::money::{Currency, parse_currency};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Most characters of a client's text that are shown in a problem.
const MAX_SHOWN: usize = 64;
/// Most entries of `metadata`.
const MAX_NOTES: usize = 20;
/// Most characters of a key of `metadata`.
const MAX_NOTE_KEY: usize = 40;
/// Most characters of a value of `metadata`.
const MAX_NOTE: usize = 500;

/// A JSON object whose fields are known by name and not yet read.
pub(crate) struct Fields<'a, const N: usize> {
    names: &'static [&'static str; N],
    values: [Option<&'a RawValue>; N],
}

/// One field that was given; `null` counts as not given.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    name: &'static str,
    raw: &'a str,
}

/// Text that borrows from the body where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a, const N: usize> Fields<'a, N> {
    /// Parses a JSON object with these fields, and no others.
    pub(crate) fn read(text: &'a str, names: &'static [&'static str; N]) -> Result<Self, Problem> {
        let object = parse(text, Object { names })?;
        if let Some(name) = object.repeated {
            return Err(malformed(format!("The field `{name}` is given twice.")).param(name));
        }
        if let Some(name) = object.unknown {
            let known = names.join("`, `");
            let detail = format!("There is no field `{name}` here; the fields are `{known}`.");
            return Err(Problem::unprocessable("unknown_field", detail).param(name));
        }
        Ok(Self { names, values: object.values })
    }

    /// A field that may be left out.
    pub(crate) fn optional(&self, name: &'static str) -> Option<Field<'a>> {
        debug_assert!(self.names.contains(&name), "a field that is not among the names is never found");
        let index = self.names.iter().position(|known| *known == name)?;
        let raw = self.values.get(index).copied().flatten()?.get();
        (raw != "null").then_some(Field { name, raw })
    }

    /// A field that must be given.
    pub(crate) fn required(&self, name: &'static str) -> Result<Field<'a>, Problem> {
        self.optional(name).ok_or_else(|| {
            Problem::unprocessable("missing_field", format!("The field `{name}` is required.")).param(name)
        })
    }
}

impl<'a> Field<'a> {
    /// A string.
    pub(crate) fn text(self) -> Result<Cow<'a, str>, Problem> {
        string(self.raw, || Cow::Borrowed(self.name))
    }

    /// An identifier.
    pub(crate) fn id<Kind>(self) -> Result<Id<Kind>, Problem> {
        id(&self.text()?, self.name)
    }

    /// A currency that can be paid in.
    pub(crate) fn currency(self) -> Result<Currency, Problem> {
        parse_currency(&self.text()?).map_err(|error| self.refused("invalid_currency", error))
    }

    /// An amount, from the characters of a number or of a string.
    pub(crate) fn amount(self, currency: Currency) -> Result<Money, Problem> {
        let text = match self.raw.as_bytes().first() {
            Some(b'"') => self.text()?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.raw),
            _ => return Err(wrong_type(self.name, "a number, or a string such as \"12.34\"")),
        };
        Money::parse(&text, currency).map_err(|error| self.refused("invalid_amount", error))
    }

    /// A client's own words, as the log can keep them.
    pub(crate) fn words(self, limit: usize) -> Result<String, Problem> {
        let text = self.text()?;
        printable(&text, limit, || Cow::Borrowed(self.name))?;
        Ok(text.into_owned())
    }

    /// A name of something outside, for instance of a means of payment.
    pub(crate) fn name(self, limit: usize, code: &'static str) -> Result<String, Problem> {
        let text = self.text()?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if text.len() > limit {
            return Err(too_long(self.name, limit));
        }
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(self.refused(code, "must be letters, digits and `_ . -`, at least one"));
        }
        Ok(text.into_owned())
    }

    /// A list of at most so many strings.
    pub(crate) fn texts(self, most: usize) -> Result<Vec<String>, Problem> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(self.raw) else {
            return Err(wrong_type(self.name, "an array of strings"));
        };
        if items.len() > most {
            return Err(self.refused("too_many_entries", format!("must have at most {most} entries")));
        }
        let text = |item: &RawValue| string(item.get(), || Cow::Borrowed(self.name)).map(Cow::into_owned);
        items.into_iter().map(text).collect()
    }

    /// A client's own notes: a flat object of strings.
    pub(crate) fn notes(self) -> Result<BTreeMap<String, String>, Problem> {
        if !self.raw.starts_with('{') {
            return Err(wrong_type(self.name, "an object of strings"));
        }
        let mut notes = BTreeMap::new();
        for (key, raw) in parse(self.raw, Entries)? {
            if notes.len() == MAX_NOTES {
                let rule = format!("must have at most {MAX_NOTES} entries");
                return Err(self.refused("too_many_entries", rule));
            }
            if key.is_empty() {
                return Err(self.refused("invalid_text", "must not have an empty key"));
            }
            let param = || Cow::Owned(format!("{}.{}", self.name, shown(&key)));
            printable(&key, MAX_NOTE_KEY, param)?;
            let note = string(raw.get(), param)?;
            printable(&note, MAX_NOTE, param)?;
            if notes.contains_key(key.as_ref()) {
                return Err(malformed(format!("The field `{}` is given twice.", param())).param(param()));
            }
            notes.insert(key.into_owned(), note.into_owned());
        }
        Ok(notes)
    }

    /// This field is refused under a code; `rule` continues a sentence that begins with its name.
    pub(crate) fn refused(self, code: &'static str, rule: impl fmt::Display) -> Problem {
        Problem::unprocessable(code, format!("`{}` {rule}.", self.name)).param(self.name)
    }
}

/// An identifier from a body or a path.
pub(crate) fn id<Kind>(text: &str, param: &'static str) -> Result<Id<Kind>, Problem> {
    Id::parse(text).map_err(|error| {
        let code = match error {
            IdError::TooLong { .. } => "too_long",
            IdError::Empty | IdError::Character { .. } => "invalid_id",
        };
        Problem::unprocessable(code, format!("`{param}` {error}.")).param(param)
    })
}

fn string<'a>(raw: &'a str, param: impl Fn() -> Cow<'static, str>) -> Result<Cow<'a, str>, Problem> {
    if !raw.starts_with('"') {
        return Err(wrong_type(param(), "a string"));
    }
    // The text has been parsed before; half of a surrogate pair shows only now.
    serde_json::from_str::<Text<'a>>(raw).map(|text| text.0).map_err(|_| {
        malformed(format!("The string `{}` has an escape that is not a character.", param())).param(param())
    })
}

/// PostgreSQL's text cannot hold NUL, and no log line should hold the others.
fn printable(text: &str, limit: usize, param: impl Fn() -> Cow<'static, str>) -> Result<(), Problem> {
    if text.chars().nth(limit).is_some() {
        return Err(too_long(param(), limit));
    }
    if text.chars().any(char::is_control) {
        let detail = format!("`{}` must not have control characters.", param());
        return Err(Problem::unprocessable("invalid_text", detail).param(param()));
    }
    Ok(())
}

pub(crate) fn too_long(param: impl Into<Cow<'static, str>>, limit: usize) -> Problem {
    let param = param.into();
    let detail = format!("`{param}` must be at most {limit} characters.");
    Problem::unprocessable("too_long", detail).param(param)
}

fn wrong_type(param: impl Into<Cow<'static, str>>, expected: &str) -> Problem {
    let param = param.into();
    Problem::unprocessable("wrong_type", format!("`{param}` must be {expected}.")).param(param)
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::bad_request("malformed_json", detail)
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Parses a whole text. JSON that is not an object is told from what is not JSON.
fn parse<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value, Problem> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let other_json =
            error.classify() == Category::Data && serde_json::from_str::<IgnoredAny>(text).is_ok();
        if other_json {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_type", "The body must be a JSON object.")
        } else {
            let place = format!("line {}, column {}", error.line(), error.column());
            malformed(format!("The body is not valid JSON ({place})."))
        }
    })
}

/// Reads an object into its fields.
struct Object<const N: usize> {
    names: &'static [&'static str; N],
}

struct ObjectRead<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    unknown: Option<String>,
    repeated: Option<&'static str>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Object<N> {
    type Value = ObjectRead<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<N> {
    type Value = ObjectRead<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = ObjectRead { values: [None; N], unknown: None, repeated: None };
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let known = self.names.iter().zip(&mut read.values).find(|(name, _)| **name == key);
            match known {
                Some((name, value)) => {
                    if value.replace(map.next_value::<&RawValue>()?).is_some() {
                        read.repeated = Some(name);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    read.unknown.get_or_insert_with(|| shown(&key));
                }
            }
        }
        Ok(read)
    }
}

/// Reads an object with any keys.
struct Entries;

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Text(key), raw)) = map.next_entry::<Text<'de>, &RawValue>()? {
            entries.push((key, raw));
        }
        Ok(entries)
    }
}
