//! Withdrawals: money that is paid out through the channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use commands::saga::PaymentRequest;
use domain::account::{AccountError, Owner};
use domain::payment::Route;
use domain::{AccountId, Currency, UserId};

use crate::accounts::Movement;
use crate::answers::account_refused;
use crate::keyed::RequestHash;
use crate::path::AccountPath;
use crate::payments::change::keyed_request;
use crate::payments::{carry_out, named};
use crate::problem::{self, Problem};
use crate::shared::Shared;

/// `POST /api/v1/accounts/{account_id}/withdrawals`: a payment to the user's own account elsewhere. It answers as a
/// payment does.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, Movement { amount, reference }) = Movement::read(&shared, request).await?;
    let hash = RequestHash::of("withdrawal").text(account_id.as_str()).amount(amount).text(&reference);
    let payment_id = named(None)?;
    let keyed = keyed_request(&parts, hash, &payment_id)?;
    let user_id = owner(&shared, &account_id, amount.currency).await?;
    let route = Route::Payout { reference };
    let request = PaymentRequest { payment_id, user_id, amount, route, metadata: BTreeMap::new() };
    carry_out(&shared, request, keyed).await
}

/// Whose account it is. What is refused here can never change, but for an account that is still to be opened.
async fn owner(shared: &Shared, account_id: &AccountId, currency: Currency) -> Result<UserId, Problem> {
    let refused = |refusal| account_refused(account_id, &refusal);
    let stored = shared.api.store.account(account_id).await.map_err(problem::read_failed)?;
    let opening = stored.state.opening.as_ref().ok_or_else(|| refused(AccountError::NotFound))?;
    match &opening.owner {
        Owner::System { .. } => Err(refused(AccountError::OfTheSystem)),
        Owner::User { .. } if opening.currency != currency => Err(refused(AccountError::CurrencyMismatch {
            account: opening.currency.code(),
            amount: currency.code(),
        })),
        Owner::User { user_id } => Ok(user_id.clone()),
    }
}
