//! What the end of a payment does to accounts: steps of the unit that ends it, whoever found out how
//! it ended.

use domain::account::AccountCommand;
use domain::payment::{CaptureMode, PaymentDetails, Route};
use domain::{AccountId, PostingId};

use crate::context::CommandContext;
use crate::ports::{EventStore, StoreError};
use crate::system_accounts::SystemAccounts;
use crate::unit::{Step, Unit};

/// Spends the hold: the money goes from the payer to settlement.
pub(super) fn capturing(unit: Unit, details: &PaymentDetails, settlement: &AccountId) -> Unit {
    let (payment_id, amount) = (details.payment_id.clone(), details.amount);
    let posting_id = PostingId::of_payment(&payment_id);
    let capture = AccountCommand::CaptureHold { payment_id, amount };
    let credit = AccountCommand::Credit { posting_id, amount, payment_id: None };
    unit.then(Step::Account(details.payer.clone(), capture)).then(Step::Account(settlement.clone(), credit))
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

/// Whether the client captures by itself, so that the hold stays when the channel has paid.
pub(super) fn is_manual(details: &PaymentDetails) -> bool {
    matches!(details.route, Route::Channel { capture: CaptureMode::Manual, .. })
}
