//! Identifiers that are valid by construction.
//!
//! An [`Id`] is 1 to 64 characters from `A-Z a-z 0-9 _ . : -`, so that it can stand in a URL, a log
//! line and a Kafka key unescaped. It clones by reference count: aggregates are cloned for every
//! command that they decide.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::money::Currency;

/// The longest identifier accepted, in bytes.
pub const MAX_ID_LENGTH: usize = 64;

/// Name space of account ids: an account is found by its owner and currency, without a read model.
const ACCOUNT_NAMESPACE: Uuid = Uuid::from_u128(0x8f0c_51c2_6f0e_5d0e_9a51_5a1f_37c1_04d7);

/// An identifier of one kind of thing; ids of different kinds do not mix.
pub struct Id<Kind> {
    text: Arc<str>,
    kind: PhantomData<fn() -> Kind>,
}

/// Kinds of identifiers. They exist only as type parameters of [`Id`].
pub mod kind {
    /// Names a client's user.
    #[derive(Debug)]
    pub enum User {}
    /// Names an account.
    #[derive(Debug)]
    pub enum Account {}
    /// Names a payment.
    #[derive(Debug)]
    pub enum Payment {}
    /// Names one movement of money between accounts; all its legs carry it.
    #[derive(Debug)]
    pub enum Posting {}
    /// Names one refund of a payment.
    #[derive(Debug)]
    pub enum Refund {}
    /// Names a charge at the payment channel.
    #[derive(Debug)]
    pub enum Transaction {}
}

/// A client's user.
pub type UserId = Id<kind::User>;
/// An account of a user or of the system.
pub type AccountId = Id<kind::Account>;
/// A payment.
pub type PaymentId = Id<kind::Payment>;
/// One movement of money between accounts.
pub type PostingId = Id<kind::Posting>;
/// One refund of a payment.
pub type RefundId = Id<kind::Refund>;
/// A charge at the payment channel.
pub type TransactionId = Id<kind::Transaction>;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_ID_LENGTH`] bytes.
    #[error("must be at most {MAX_ID_LENGTH} characters, this has {length}")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// A character outside the alphabet.
    #[error("must consist of letters, digits and `_ . : -`; {character:?} is not allowed")]
    Character {
        /// The first character that is not allowed.
        character: char,
    },
}

impl<Kind> Id<Kind> {
    /// Takes a text that fits the alphabet and length of the module's first lines.
    ///
    /// # Errors
    /// [`IdError`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_ID_LENGTH {
            return Err(IdError::TooLong { length: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        match text.chars().find(|c| !allowed(*c)) {
            Some(character) => Err(IdError::Character { character }),
            None => Ok(Self::trusted(text)),
        }
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn trusted(text: &str) -> Self {
        Self { text: Arc::from(text), kind: PhantomData }
    }
}

impl AccountId {
    /// The one account that a user has in a currency.
    #[must_use]
    pub fn of_user(user: &UserId, currency: Currency) -> Self {
        let name = format!("{}/{}", currency.code(), user.as_str());
        let id = Uuid::new_v5(&ACCOUNT_NAMESPACE, name.as_bytes());
        Self::trusted(&format!("acc_{}", id.simple()))
    }

    /// One shard of a system account, for instance `settlement:card:USD:3`.
    ///
    /// # Errors
    /// [`IdError`] when the purpose does not fit into an identifier.
    pub fn of_system(purpose: &str, currency: Currency, shard: u32) -> Result<Self, IdError> {
        Self::parse(&format!("{purpose}:{}:{shard}", currency.code()))
    }

    /// Whether it is a shard of the system's account for a purpose.
    #[must_use]
    pub fn is_of_system(&self, purpose: &str) -> bool {
        self.as_str().strip_prefix(purpose).is_some_and(|shard| shard.starts_with(':'))
    }
}

impl PostingId {
    /// The posting that a payment makes: the capture of its hold and the credit of settlement.
    #[must_use]
    pub fn of_payment(payment: &PaymentId) -> Self {
        Self { text: Arc::clone(&payment.text), kind: PhantomData }
    }

    /// The posting that a refund makes.
    #[must_use]
    pub fn of_refund(refund: &RefundId) -> Self {
        Self { text: Arc::clone(&refund.text), kind: PhantomData }
    }

    /// The payment that makes this posting. A posting does not know whether a payment makes it:
    /// those of deposits and withdrawals have names of their own.
    #[must_use]
    pub fn payment(&self) -> PaymentId {
        Id { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<Kind> Clone for Id<Kind> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<Kind> PartialEq for Id<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<Kind> Eq for Id<Kind> {}

impl<Kind> PartialOrd for Id<Kind> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<Kind> Ord for Id<Kind> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl<Kind> std::hash::Hash for Id<Kind> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<Kind> Borrow<str> for Id<Kind> {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<Kind> Serialize for Id<Kind> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, Kind> Deserialize<'de> for Id<Kind> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_owner_and_currency_alone() {
        let user = UserId::parse("USER_7").unwrap();
        let usd = AccountId::of_user(&user, Currency::USD);
        assert_eq!(usd, AccountId::of_user(&user, Currency::USD));
        assert_ne!(usd, AccountId::of_user(&user, Currency::EUR));
        assert!(AccountId::parse(usd.as_str()).is_ok());
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert_eq!(UserId::parse(""), Err(IdError::Empty));
        assert_eq!(UserId::parse(&"x".repeat(10_000)), Err(IdError::TooLong { length: 10_000 }));
        assert_eq!(UserId::parse("a b"), Err(IdError::Character { character: ' ' }));
    }
}
