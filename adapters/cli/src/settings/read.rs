//! How defaults, a file and the environment become one tree.
//!
//! Each value that was given is put into the tree by itself. One that does not fit is told, and the tree stays as it
//! was: so all that are wrong are told at once, each with where it comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::Serialized;
use figment::value::{Dict, Value};

use super::Settings;
use super::known::{self, TABLES};
use super::secret::is_secret;
use super::wrong::{Fault, Source, Wrong, WrongSettings};

/// How variables of the environment begin.
const PREFIX: &str = "PAYMENTS_";
/// How many characters of a wrong value are repeated.
const MOST_REPEATED: usize = 60;
/// The table whose keys are codes of currencies, in capitals.
const CURRENCIES: &str = TABLES[0];

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Where each that was given comes from; all others are defaults.
    pub(crate) sources: BTreeMap<String, Source>,
}

/// Reads and checks the settings from a file and from the environment's variables.
///
/// # Errors
/// [`WrongSettings`] names each that is wrong.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, WrongSettings> {
    let mut reading = Reading::default();
    if let Some(file) = file {
        reading.file(file);
    }
    // In an order that does not change from one start to the next.
    for (name, value) in environment.into_iter().collect::<BTreeMap<_, _>>() {
        reading.variable(&name, value);
    }
    reading.end()
}

struct Reading {
    tree: Figment,
    sources: BTreeMap<String, Source>,
    faults: Vec<Fault>,
}

impl Default for Reading {
    fn default() -> Self {
        let tree = Figment::from(Serialized::defaults(Settings::default()));
        Self { tree, sources: BTreeMap::new(), faults: Vec::new() }
    }
}

impl Reading {
    fn file(&mut self, file: &Path) {
        let source = Source::File(file.to_owned());
        match toml_of(file) {
            Ok(given) => self.take(&mut Vec::new(), given, &source),
            Err(reason) => self.fault("the file of settings".to_owned(), reason, source),
        }
    }

    fn variable(&mut self, name: &OsString, value: OsString) {
        let shown = name.to_string_lossy().into_owned();
        let Some(name) = shown.strip_prefix(PREFIX) else { return };
        let source = Source::Environment(shown.clone());
        // Names without `__` belong to the command line (PAYMENTS_DATA_DIR) and are not settings.
        if !name.contains("__") {
            let meant = known::names().into_iter().map(|name| known::variable(&name));
            if let Some(meant) = meant.into_iter().find(|meant| meant.replace("__", "_") == shown) {
                self.fault(shown, format!("is no setting: did you mean {meant}?"), source);
            }
            return;
        }
        let mut path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
        if path.len() == 3 && path[..2].join(".") == CURRENCIES {
            path[2] = path[2].to_uppercase();
        }
        let Ok(value) = value.into_string() else {
            return self.fault(path.join("."), "is no text in UTF-8".to_owned(), source);
        };
        // Without an error by its type.
        let Ok(parsed) = value.parse::<Value>();
        // What looks like a number or a list may be meant as text: a password, an amount.
        let as_text = !matches!(parsed, Value::String(..)) && !value.is_empty();
        if as_text && self.put(&path, Value::from(value), &source).is_ok() {
            return;
        }
        self.take(&mut path, parsed, &source);
    }

    /// Takes all that is below a path.
    fn take(&mut self, path: &mut Vec<String>, given: Value, source: &Source) {
        match given {
            Value::Dict(_, fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    path.push(key);
                    self.take(path, value, source);
                    path.pop();
                }
            }
            // An empty file.
            Value::Dict(..) if path.is_empty() => {}
            value => {
                if let Err(kind) = self.put(path, value, source) {
                    let name = path.join(".");
                    self.fault(name.clone(), reason(&name, &kind), source.clone());
                }
            }
        }
    }

    /// Puts one value into the tree, unless it does not fit.
    fn put(&mut self, path: &[String], value: Value, source: &Source) -> Result<(), Kind> {
        let nested = path.iter().rev().fold(value, |value, key| Dict::from([(key.clone(), value)]).into());
        let tree = self.tree.clone().merge(Serialized::defaults(nested));
        match tree.extract::<Settings>() {
            Ok(_) => {
                self.tree = tree;
                self.sources.insert(path.join("."), source.clone());
                Ok(())
            }
            Err(error) => Err(error.kind),
        }
    }

    fn fault(&mut self, name: String, reason: String, source: Source) {
        self.faults.push(Fault { name, reason, source, beside: None });
    }

    fn end(self) -> Result<Loaded, WrongSettings> {
        let Self { tree, sources, mut faults } = self;
        match tree.extract::<Settings>() {
            Ok(settings) => {
                let mut wrong = Wrong::new(&sources);
                settings.check(&mut wrong);
                faults.extend(wrong.into_faults());
                if faults.is_empty() { Ok(Loaded { settings, sources }) } else { Err(WrongSettings(faults)) }
            }
            // Cannot be: each value was looked at when it was put into it.
            Err(error) => {
                let (name, reason) = (error.path.join("."), error.kind.to_string());
                faults.push(Fault { name, reason, source: Source::Default, beside: None });
                Err(WrongSettings(faults))
            }
        }
    }
}

/// What a file holds, or why it cannot be read. Its lines are not repeated: a secret may be in them.
fn toml_of(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("is no TOML: line {line}: {}", error.message().lines().next().unwrap_or_default())
    })?;
    Value::serialize(table).map_err(|error| format!("cannot be taken: {}", error.kind))
}

fn reason(name: &str, kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(..) => match known::nearest(name) {
            Some(meant) => format!("is no setting: did you mean {meant}?"),
            None => "is no setting".to_owned(),
        },
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if is_secret(name) => {
            format!("must be {}", words(expected))
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("must be {}, not {}", words(expected), repeated(found))
        }
        Kind::Message(told) => told.clone(),
        _ if is_secret(name) => "has a value that it cannot have".to_owned(),
        other => format!("cannot be so: {other}"),
    }
}

/// What Rust's name of a type is to an operator.
fn words(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table of settings",
        other => other,
    }
}

fn repeated(found: &Actual) -> String {
    let text = match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Char(value) => format!("{value:?}"),
        Actual::Str(value) => format!("{value:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        Actual::Unit => "nothing".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST_REPEATED {
        return text;
    }
    text.chars().take(MOST_REPEATED).chain(['…']).collect()
}
