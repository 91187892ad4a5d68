//! The channel's record: what became of each idempotency key, and how often it was charged.
//!
//! Start at [`Record::pay`]. The record is sharded by key, so that a growing shard moves a small
//! part of it only; a lock is held for a look-up and one small write to the journal. It keeps
//! every key for as long as the process lives, for it is what tests compare the engine against.
//!
//! **Invariant:** the journal has a change before the shard has it, and the shard before any answer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::SandboxError;
use super::behaviour::transaction_id;
use super::journal::{Journal, JournalError, JournalLine};

/// How many inquiries say processing before the charge is made.
const INQUIRIES_WHILE_PROCESSING: u8 = 2;

/// The body of a charge, as it arrived. Amounts are compared as text: `7.5` is not `7.50`.
#[derive(Deserialize)]
pub(super) struct Order<'a> {
    #[serde(borrow)]
    pub(super) payment_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) amount: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payment_method: Cow<'a, str>,
}

impl Order<'_> {
    /// Names the first field that no channel would take.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let decimal = match self.amount.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(&self.amount),
        };
        if self.payment_id.is_empty() {
            Err("payment_id is empty")
        } else if !decimal {
            Err("amount is a decimal string such as \"7.53\"")
        } else if self.currency.len() != 3 {
            Err("currency is an ISO 4217 code")
        } else {
            Ok(())
        }
    }
}

/// What the first request with a key meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeds,
    Declined(DeclineReason),
    ChargedThenSilent,
    ChargedThenError,
    ChargedThenDropped,
    SilentThenNormal,
    ErrorThenNormal,
    NeverKnown,
    Processing,
}

impl Fate {
    pub(super) fn of_method(payment_method: &str) -> Option<Self> {
        match payment_method {
            "card_declined" => Some(Self::Declined(DeclineReason::CardDeclined)),
            "card_insufficient" => Some(Self::Declined(DeclineReason::InsufficientCardFunds)),
            "card_lost_answer" => Some(Self::ChargedThenSilent),
            "card_charged_then_error" => Some(Self::ChargedThenError),
            "card_dropped" => Some(Self::ChargedThenDropped),
            "card_timeout" => Some(Self::SilentThenNormal),
            "card_server_error" => Some(Self::ErrorThenNormal),
            "card_never_known" => Some(Self::NeverKnown),
            "card_processing" => Some(Self::Processing),
            "card_slow" => Some(Self::Succeeds),
            _ => None,
        }
    }

    /// What the key becomes, and what its first caller gets.
    fn begin(self) -> (State, Payment) {
        match self {
            Self::Succeeds => (State::Succeeded, Payment::Succeeded),
            Self::Declined(reason) => (State::Declined(reason), Payment::Declined(reason)),
            Self::ChargedThenSilent => (State::Succeeded, Payment::Silence),
            Self::ChargedThenError => (State::Succeeded, Payment::ServerError),
            Self::ChargedThenDropped => (State::Succeeded, Payment::Drop),
            Self::SilentThenNormal => (State::NotCharged, Payment::Silence),
            Self::ErrorThenNormal => (State::NotCharged, Payment::ServerError),
            Self::NeverKnown => (State::NeverKnown, Payment::Silence),
            Self::Processing => (State::Processing, Payment::Processing),
        }
    }
}

/// Why a charge is declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeclineReason {
    CardDeclined,
    InsufficientCardFunds,
}

impl DeclineReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::CardDeclined => "card_declined",
            Self::InsufficientCardFunds => "insufficient_card_funds",
        }
    }
}

/// What became of a key. `Succeeded` is entered once, by [`Entry::charge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", content = "reason", rename_all = "snake_case")]
pub(super) enum State {
    Succeeded,
    Declined(DeclineReason),
    Processing,
    NotCharged,
    NeverKnown,
}

/// What a charge request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payment {
    Succeeded,
    Declined(DeclineReason),
    Processing,
    ServerError,
    Silence,
    Drop,
}

/// What an inquiry gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inquiry {
    Succeeded,
    Declined(DeclineReason),
    Processing,
    NotFound,
    Unavailable,
}

/// Why a charge request is refused.
#[derive(Debug)]
pub(super) enum PayError {
    /// The key was used with another value of this field.
    OtherBody(&'static str),
    Journal(JournalError),
}

impl From<JournalError> for PayError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}
