//! Who may call the API, and for what.
//!
//! A key belongs to a caller; its secret is known to the caller alone, here there is a hash of it. The
//! caller scopes idempotency keys and payments, and is the actor of the events that its requests record.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read accounts, and the caller's own payments.
    Read,
    /// Open accounts and move money.
    Write,
    /// Freeze, close and review; webhooks; the whole log; every caller's payments.
    Operate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Operate];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Operate => "operate",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Operate => 4,
        }
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `read`, `write` or `operate`")]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(name: &str) -> Result<Self, NotAScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == name).ok_or(NotAScope)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether a scope is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Most characters of a caller's name.
const MAX_CALLER: usize = 64;
/// Who calls where nobody is asked.
pub const ANONYMOUS: &str = "anonymous";

/// The name of a caller that has keys: 1 to 64 letters, digits, `.`, `_` or `-`. A `:` is in the names of
/// actors of other kinds, so that no caller can be taken for one.
///
/// # Errors
/// What is wrong with the name.
pub fn caller_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_CALLER || !name.chars().all(fits) {
        return Err(format!("must be 1 to {MAX_CALLER} letters, digits, `.`, `_` or `-`"));
    }
    if [ANONYMOUS, "engine"].contains(&name) {
        return Err("is taken by the engine itself".to_owned());
    }
    Ok(name.to_owned())
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// By this it is found.
    pub id: String,
    /// Whose it is.
    pub caller: String,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// What it is good for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is good for nothing.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is good for nothing, because somebody said so.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Why keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database cannot be reached or is too busy.
    #[error("the database is not available")]
    Unavailable,
    /// There is no such key.
    #[error("there is no such key")]
    NoKey,
    /// What is kept is not what this program keeps.
    #[error("the keys are damaged: {0}")]
    Damaged(String),
}

/// Where keys are kept, for whoever checks them.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// The key of an id.
    async fn find(&self, id: &str) -> Result<Option<ApiKey>, AccessError>;

    /// These keys were used about now. Said of one key more than once a minute, it is kept once.
    async fn used(&self, ids: &[String]) -> Result<(), AccessError>;
}

/// Where the public keys are that tokens are signed by.
#[async_trait]
pub trait KeySetSource: Send + Sync {
    /// The JWK set as JSON; the error says why there is none, for the log.
    async fn fetch(&self) -> Result<String, String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_scopes_it_was_made_of_and_no_other() {
        let scopes: Scopes = [Scope::Read, Scope::Operate].into_iter().collect();
        assert!(scopes.has(Scope::Read) && scopes.has(Scope::Operate) && !scopes.has(Scope::Write));
        assert_eq!(scopes.names(), ["read", "operate"]);
        assert!(Scopes::default().is_empty() && Scopes::default().names().is_empty());
        assert_eq!(Scopes::all().names(), ["read", "write", "operate"]);
    }

    #[test]
    fn a_scope_is_read_by_its_name_alone() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        for wrong in ["", "Read", "admin", "read,write"] {
            assert_eq!(wrong.parse::<Scope>(), Err(NotAScope), "{wrong}");
        }
    }

    #[test]
    fn no_caller_has_the_name_of_another_actor() {
        for name in ["shop", "Shop-2.eu_west", &"x".repeat(64)] {
            assert_eq!(caller_name(name).as_deref(), Ok(name));
        }
        for name in ["", "anonymous", "engine", "saga:recovery", "jwt:shop", "a b", "ä", &"x".repeat(65)] {
            assert!(caller_name(name).is_err(), "{name:?}");
        }
    }
}
