//! What each account event does to a balance, and which posting it is a leg of.
//!
//! Written apart from the account's own fold on purpose: two readings of one log that agree are worth
//! more than one reading that agrees with itself.

use domain::account::Opening;
use domain::{AccountEvent, Currency, Money, PostingId};

/// What an event does, in minor units.
#[derive(Debug)]
pub(super) enum Movement<'a> {
    /// An account begins.
    Opening(&'a Opening),
    /// Amounts of one currency change.
    Amounts {
        currency: Currency,
        /// Added to `posted`.
        posted: i128,
        /// Added to `held`.
        held: i128,
        /// The posting that `posted` is a leg of; none where only a hold changes.
        posting_id: Option<PostingId>,
    },
    /// No amount changes.
    None,
}

pub(super) fn movement(event: &AccountEvent) -> Movement<'_> {
    use AccountEvent as E;
    match event {
        E::AccountOpened(opening) => Movement::Opening(opening),
        E::FundsDeposited { posting_id, amount, reference: _ } => leg(posting_id, *amount, minor(*amount)),
        E::FundsCredited { posting_id, amount, .. } => leg(posting_id, *amount, minor(*amount)),
        E::FundsWithdrawn { posting_id, amount, payment_id: None, .. } => {
            leg(posting_id, *amount, -minor(*amount))
        }
        E::FundsWithdrawn { posting_id, amount, payment_id: Some(_), .. } => Movement::Amounts {
            currency: amount.currency,
            posted: -minor(*amount),
            held: -minor(*amount),
            posting_id: Some(posting_id.clone()),
        },
        E::FundsDebited { posting_id, amount, .. } => leg(posting_id, *amount, -minor(*amount)),
        E::FundsHeld { payment_id: _, amount } => hold(*amount, minor(*amount)),
        E::HoldReleased { payment_id: _, amount } => hold(*amount, -minor(*amount)),
        E::HoldCaptured { payment_id, amount, released } => Movement::Amounts {
            currency: amount.currency,
            posted: -minor(*amount),
            held: -minor(*amount) - minor(*released),
            posting_id: Some(PostingId::of_payment(payment_id)),
        },
        E::AccountFrozen { reason: _ } | E::AccountUnfrozen | E::AccountClosed => Movement::None,
    }
}

fn minor(amount: Money) -> i128 {
    i128::from(amount.minor)
}

fn leg(posting_id: &PostingId, amount: Money, posted: i128) -> Movement<'static> {
    Movement::Amounts { currency: amount.currency, posted, held: 0, posting_id: Some(posting_id.clone()) }
}

const fn hold(amount: Money, held: i128) -> Movement<'static> {
    Movement::Amounts { currency: amount.currency, posted: 0, held, posting_id: None }
}
