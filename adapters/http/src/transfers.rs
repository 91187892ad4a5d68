//! Transfers: from one user to another.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use commands::saga::TransferRequest;
use domain::{PaymentId, UserId};

use crate::answers::respond;
use crate::body;
use crate::fields::Fields;
use crate::keyed::RequestHash;
use crate::payments::change::{keyed_request, read};
use crate::payments::{named, refused};
use crate::problem::Problem;
use crate::shared::{Shared, lost};

const FIELDS: [&str; 6] = ["payment_id", "from_user_id", "to_user_id", "amount", "currency", "metadata"];

/// `POST /api/v1/transfers`: moves an amount between two users' accounts, at once or not at all.
pub(crate) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (parts, bytes) = read(&shared, request).await?;
    let fields = Fields::read(body::json(&parts.headers, &bytes)?, &FIELDS)?;
    let given: Option<PaymentId> = fields.optional("payment_id").map(|field| field.id()).transpose()?;
    let from_user_id: UserId = fields.required("from_user_id")?.id()?;
    let to = fields.required("to_user_id")?;
    let to_user_id: UserId = to.id()?;
    if from_user_id == to_user_id {
        return Err(to.refused("same_user", "must be another user than `from_user_id`"));
    }
    let amount = fields.required("amount")?;
    let amount = amount.amount(fields.required("currency")?.currency()?)?;
    let metadata = fields.optional("metadata").map(|field| field.notes()).transpose()?.unwrap_or_default();
    let hash = RequestHash::of("transfer")
        .optional(given.as_ref().map(PaymentId::as_str))
        .text(from_user_id.as_str())
        .text(to_user_id.as_str())
        .amount(amount)
        .notes(&metadata);
    let payment_id = named(given)?;
    let keyed = keyed_request(&parts, hash, &payment_id)?;
    let request = TransferRequest { payment_id, from_user_id, to_user_id, amount, metadata };
    let saga = Arc::clone(&shared.api.saga);
    let transferring = shared.run_apart(async move { saga.transfer(request, keyed).await })?;
    match transferring.await {
        Ok(Ok(reply)) => Ok(respond(&reply)),
        Ok(Err(error)) => Err(refused(error)),
        Err(error) => Err(lost(error)),
    }
}
