//! A change of a charge: its capture, its void, a refund of it; what is asked for, what it meets, what
//! becomes of it.
//!
//! Start at [`ChangeFate::begin`]: what each fate does, and what the caller gets to know of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::charge::State;

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeKind {
    Capture,
    Void,
    Refund,
}

impl ChangeKind {
    /// The name in a charge's path, in magic payment methods and in the record.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// One change that is asked for. A charge has one capture and one void at most, and refunds by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) kind: ChangeKind,
    /// The refund's id; for a capture and a void, the name of the kind.
    pub(super) id: &'a str,
    /// A decimal with the places of the charge's amount; empty for a void.
    pub(super) amount: &'a str,
    /// The charge's currency; empty for a void.
    pub(super) currency: &'a str,
}

/// The body of a capture or a refund, as it arrived.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    pub(super) refund_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) amount: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
}

/// What the first request for a change meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeFate {
    Done,
    Declined,
    DoneThenSilent,
    DoneThenError,
    SilentThenNormal,
    ErrorThenNormal,
}

impl ChangeFate {
    /// What the payment method of the charge says about it.
    pub(super) fn of_method(payment_method: &str, kind: ChangeKind) -> Option<Self> {
        let rest = payment_method.strip_prefix("card_")?.strip_prefix(kind.name())?;
        match rest {
            "_declined" if kind != ChangeKind::Void => Some(Self::Declined),
            "_lost_answer" => Some(Self::DoneThenSilent),
            "_done_then_error" => Some(Self::DoneThenError),
            "_timeout" => Some(Self::SilentThenNormal),
            _ => None,
        }
    }

    /// What the change becomes, and what its first caller gets.
    pub(super) const fn begin(self) -> (ChangeState, Answer) {
        match self {
            Self::Done => (ChangeState::Done, Answer::Done),
            Self::Declined => (ChangeState::Declined, Answer::Declined("declined")),
            Self::DoneThenSilent => (ChangeState::Done, Answer::Silence),
            Self::DoneThenError => (ChangeState::Done, Answer::ServerError),
            Self::SilentThenNormal => (ChangeState::NotDone, Answer::Silence),
            Self::ErrorThenNormal => (ChangeState::NotDone, Answer::ServerError),
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeState {
    NotDone,
    Done,
    Declined,
}

/// What a request for a change gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Declined(&'static str),
    /// There is no such charge.
    NoCharge,
    ServerError,
    Silence,
}

/// A change as the record keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) id: Box<str>,
    pub(super) amount: Box<str>,
    pub(super) state: ChangeState,
    /// How often it was done: counted where it is done, so that a second time would show.
    pub(super) done_times: u32,
    pub(super) requests: u32,
}

impl Change {
    pub(super) fn new(asked: &Asked<'_>) -> Self {
        Self {
            kind: asked.kind,
            id: asked.id.into(),
            amount: asked.amount.into(),
            state: ChangeState::NotDone,
            done_times: 0,
            requests: 1,
        }
    }

    pub(super) fn is(&self, asked: &Asked<'_>) -> bool {
        self.kind == asked.kind && *self.id == *asked.id
    }

    /// What it makes of its charge.
    pub(super) const fn leads_to(&self) -> Option<State> {
        match self.kind {
            ChangeKind::Capture => Some(State::Succeeded),
            ChangeKind::Void => Some(State::Voided),
            ChangeKind::Refund => None,
        }
    }
}

/// Why a charge in this state cannot be changed so; `None` when it can. `taken` is what was captured,
/// `given_back` what was refunded, all in the charge's smallest unit.
pub(super) fn refusal(
    kind: ChangeKind,
    state: State,
    (amount, authorized): (Option<i128>, Option<i128>),
    (taken, given_back): (Option<i128>, i128),
) -> Option<&'static str> {
    let fits = |limit: Option<i128>| matches!((amount, limit), (Some(amount), Some(limit)) if 0 < amount && amount <= limit);
    match (kind, state) {
        (ChangeKind::Capture, State::Authorized) => (!fits(authorized)).then_some("amount_too_large"),
        (ChangeKind::Void, State::Authorized) => None,
        (ChangeKind::Refund, State::Succeeded) => {
            (!fits(taken.map(|taken| taken - given_back))).then_some("amount_too_large")
        }
        (ChangeKind::Void, State::Succeeded) => Some("already_captured"),
        (ChangeKind::Capture, _) => Some("not_authorized"),
        (ChangeKind::Void, _) => Some("not_authorized"),
        (ChangeKind::Refund, _) => Some("not_captured"),
    }
}

/// A decimal in units of its last place, and how many places it has; `None` for what is none.
pub(super) fn units(decimal: &str) -> Option<(i128, usize)> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    Some(([whole, fraction].concat().parse().ok()?, fraction.len()))
}
