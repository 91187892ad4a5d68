//! A charge or a payout: what is asked for, what it meets, what becomes of it.
//!
//! Start at [`Fate::begin`]: it is the one place that says what each fate does to the money and
//! what the caller gets to know of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
    /// `manual`: guaranteed only, until it is captured or voided.
    #[serde(borrow, default)]
    pub(super) capture: Option<Cow<'a, str>>,
}

/// The body of a payout, as it arrived.
#[derive(Deserialize)]
pub(super) struct PayoutBody<'a> {
    #[serde(borrow)]
    payment_id: Cow<'a, str>,
    #[serde(borrow)]
    amount: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    reference: Cow<'a, str>,
}

/// What the record has as the payment method of a payout, before its reference.
const PAYOUT: &str = "payout:";

impl<'a> From<PayoutBody<'a>> for Order<'a> {
    fn from(body: PayoutBody<'a>) -> Self {
        Self {
            payment_id: body.payment_id,
            amount: body.amount,
            currency: body.currency,
            payment_method: Cow::Owned([PAYOUT, &body.reference].concat()),
            capture: None,
        }
    }
}

impl Order<'_> {
    /// What a charge becomes when it is made.
    pub(super) fn made(&self) -> State {
        if self.capture.as_deref() == Some("manual") { State::Authorized } else { State::Succeeded }
    }

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
        } else if !matches!(self.capture.as_deref(), None | Some("automatic" | "manual")) {
            Err("capture is automatic or manual")
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
        if let Some(reference) = payment_method.strip_prefix(PAYOUT) {
            return Self::of_reference(reference);
        }
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

    fn of_reference(reference: &str) -> Option<Self> {
        match reference {
            "payout_declined" => Some(Self::Declined(DeclineReason::PayoutDeclined)),
            "payout_lost_answer" => Some(Self::ChargedThenSilent),
            "payout_timeout" => Some(Self::SilentThenNormal),
            "payout_done_then_error" => Some(Self::ChargedThenError),
            "payout_never_known" => Some(Self::NeverKnown),
            _ => None,
        }
    }

    /// What the key becomes, and what its first caller gets.
    pub(super) fn begin(self) -> (State, Payment) {
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
    PayoutDeclined,
}

impl DeclineReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::CardDeclined => "card_declined",
            Self::InsufficientCardFunds => "insufficient_card_funds",
            Self::PayoutDeclined => "payout_declined",
        }
    }
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", content = "reason", rename_all = "snake_case")]
pub(super) enum State {
    Succeeded,
    /// Guaranteed; no money has moved.
    Authorized,
    /// What was guaranteed was let go.
    Voided,
    Declined(DeclineReason),
    Processing,
    NotCharged,
    NeverKnown,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Authorized => "authorized",
            Self::Voided => "voided",
            Self::Declined(_) => "declined",
            Self::Processing => "processing",
            Self::NotCharged => "not_charged",
            Self::NeverKnown => "never_known",
        }
    }
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
