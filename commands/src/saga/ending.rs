//! What the end of a payment does to accounts: steps of the unit that ends it, whoever found out how
//! it ended.

use domain::account::AccountCommand;
use domain::payment::{PaymentDetails, Route};
use domain::{AccountId, Money, PostingId};

use crate::context::CommandContext;
use crate::ports::{EventStore, StoreError};
use crate::system_accounts::SystemAccounts;
use crate::unit::{Step, Unit};

/// Spends the hold, or a part of it: the money goes from the payer to settlement. What was paid out is on the
/// payer's statement as a withdrawal.
pub(super) fn capturing(unit: Unit, details: &PaymentDetails, amount: Money, settlement: &AccountId) -> Unit {
    let payment_id = details.payment_id.clone();
    let posting_id = PostingId::of_payment(&payment_id);
    let spend = match &details.route {
        Route::Payout { reference } => {
            let (posting_id, reference) = (posting_id.clone(), reference.clone());
            AccountCommand::Withdraw { payment_id, posting_id, reference }
        }
        Route::Channel { .. } | Route::Transfer { .. } => AccountCommand::CaptureHold { payment_id, amount },
    };
    let credit = AccountCommand::Credit { posting_id, amount, payment_id: None };
    unit.then(Step::Account(details.payer.clone(), spend)).then(Step::Account(settlement.clone(), credit))
}

/// Gives the hold back.
pub(super) fn releasing(unit: Unit, details: &PaymentDetails) -> Unit {
    let release = AccountCommand::ReleaseHold { payment_id: details.payment_id.clone() };
    unit.then(Step::Account(details.payer.clone(), release))
}

/// The account that is credited when the channel has paid, opened if need be.
pub(super) async fn settlement(
    store: &dyn EventStore,
    system: &SystemAccounts,
    channel_name: &str,
    details: &PaymentDetails,
    context: &CommandContext,
) -> Result<AccountId, StoreError> {
    system.account(store, &format!("settlement:{channel_name}"), details.amount.currency, context).await
}

/// Gives a part of what was taken back: the money goes from settlement to the payer, or to whoever has it
/// in their place.
pub(super) fn refunding(
    unit: Unit,
    details: &PaymentDetails,
    (posting_id, amount): (PostingId, Money),
    settlement: &AccountId,
    to: &AccountId,
) -> Unit {
    let payment_id = Some(details.payment_id.clone());
    let debit =
        AccountCommand::Debit { posting_id: posting_id.clone(), amount, payment_id: payment_id.clone() };
    let credit = AccountCommand::Credit { posting_id, amount, payment_id };
    unit.then(Step::Account(settlement.clone(), debit)).then(Step::Account(to.clone(), credit))
}
