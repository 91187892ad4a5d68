//! What is wrong with settings: all of it at once, each with its reason and where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The longest that anything is waited for: a day. Longer is a slip of the hand.
pub(super) const LONGEST_WAIT_MS: u64 = 24 * 3_600_000;
/// The longest that anything is kept: a hundred years.
pub(super) const LONGEST_KEEP_HOURS: u64 = 100 * 366 * 24;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the program: nobody has set it.
    Default,
    /// From a TOML file.
    File(PathBuf),
    /// From a variable of the environment, by its name.
    Environment(String),
}

/// One thing that is wrong. The value is not repeated where it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The setting, for instance `http.max_in_flight`.
    pub(crate) name: String,
    /// What it must be, or what is wrong with it.
    pub(crate) reason: String,
    /// Where its value comes from.
    pub(crate) source: Source,
    /// Another setting that it does not fit with, and where that one comes from.
    pub(crate) beside: Option<(String, Source)>,
}

/// Why the settings cannot be used: never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongSettings(pub(crate) Vec<Fault>);

/// Gathers what sections find wrong with themselves.
#[derive(Debug)]
pub(crate) struct Wrong<'sources> {
    sources: &'sources BTreeMap<String, Source>,
    faults: Vec<Fault>,
}

impl<'sources> Wrong<'sources> {
    pub(super) fn new(sources: &'sources BTreeMap<String, Source>) -> Self {
        Self { sources, faults: Vec::new() }
    }

    /// A setting is wrong for this reason.
    pub(super) fn add(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        let name = name.into();
        let source = self.source(&name);
        self.faults.push(Fault { name, reason: reason.into(), source, beside: None });
    }

    /// A setting does not fit with another one.
    pub(super) fn add_with(&mut self, name: &str, other: &str, reason: &str) {
        let beside = Some((other.to_owned(), self.source(other)));
        let (name, source) = (name.to_owned(), self.source(name));
        self.faults.push(Fault { name, reason: reason.to_owned(), source, beside });
    }

    /// A number is wrong where it is outside its bounds.
    pub(super) fn unless_in<N>(&mut self, name: &str, value: N, bounds: RangeInclusive<u64>)
    where
        N: TryInto<u64>,
    {
        let is_within = value.try_into().is_ok_and(|value| bounds.contains(&value));
        if !is_within {
            self.add(name, format!("must be {} to {}", bounds.start(), bounds.end()));
        }
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    fn source(&self, name: &str) -> Source {
        self.sources.get(name).cloned().unwrap_or(Source::Default)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

impl fmt::Display for Fault {
    /// One line, for instance `http.max_in_flight must be 1 to 1000000 (from PAYMENTS_HTTP__MAX_IN_FLIGHT)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, source, beside } = self;
        write!(f, "{name} {reason} (from {source}")?;
        if let Some((other, source)) = beside {
            write!(f, "; {other} from {source}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for WrongSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &self.0[..] {
            return write!(f, "settings: {fault}");
        }
        write!(f, "{} settings are wrong:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for WrongSettings {}
