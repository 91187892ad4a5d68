//! Changes of a payment: capture, void, review.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::request::Parts;
use axum::response::Response;
use commands::idempotency::{KeyedRequest, Reply};
use commands::keyed::KeyedError;
use commands::saga::{EndOfAuthorization, Resolution, ReviewError, ReviewRequestError};
use domain::payment::{PaymentDetails, ReviewOutcome};
use domain::{Money, Payment, PaymentId, TransactionId};
use tokio::task::JoinHandle;

use super::payment_not_found;
use crate::answers::{processing, render, respond};
use crate::body;
use crate::edge::TimedOut;
use crate::fields::Fields;
use crate::keyed::{self, RequestHash};
use crate::path::PaymentPath;
use crate::problem::{self, Problem};
use crate::shared::{Shared, lost};

/// Most characters of a reason.
const MAX_WORDS: usize = 256;

/// A payment that is there, and what it is.
pub(crate) async fn existing(
    shared: &Shared,
    payment_id: &PaymentId,
) -> Result<(Arc<Payment>, Arc<PaymentDetails>), Problem> {
    let stored = shared.api.store.payment(payment_id).await.map_err(problem::read_failed)?;
    let details = stored.state.details.clone();
    Ok((stored.state, details.ok_or_else(|| payment_not_found(payment_id.clone()))?))
}

/// A request's head and body.
pub(crate) async fn read(shared: &Shared, request: Request) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, shared.api.settings.body_limit).await?;
    Ok((parts, bytes))
}

/// A request for a part of a payment: how much, `None` where all is meant, and its key.
pub(crate) async fn part(
    shared: &Shared,
    operation: &str,
    payment_id: &PaymentId,
    request: Request,
) -> Result<(Option<Money>, KeyedRequest), Problem> {
    let (parts, bytes) = read(shared, request).await?;
    let fields = Fields::read(body::optional_json(&parts.headers, &bytes)?, &["amount", "currency"])?;
    let (_, details) = existing(shared, payment_id).await?;
    let amount = amount(&fields, &details)?;
    let hash = RequestHash::of(operation).text(payment_id.as_str());
    let hash = match amount {
        Some(amount) => hash.amount(amount),
        None => hash.text("all"),
    };
    Ok((amount, keyed_request(&parts, hash, payment_id)?))
}

/// A currency may be given and must be the payment's.
fn amount<const N: usize>(
    fields: &Fields<'_, N>,
    details: &PaymentDetails,
) -> Result<Option<Money>, Problem> {
    let currency = details.amount.currency;
    if let Some(field) = fields.optional("currency")
        && field.currency()? != currency
    {
        let rule = format!("must be {}, the payment's currency", currency.code());
        return Err(field.refused("currency_mismatch", rule));
    }
    fields.optional("amount").map(|field| field.amount(currency)).transpose()
}

/// `POST /api/v1/payments/{payment_id}/capture`: takes an authorized amount, or a part of it.
pub(crate) async fn capture(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    request: Request,
) -> Result<Response, Problem> {
    let (amount, keyed) = part(&shared, "capture", &payment_id, request).await?;
    end(&shared, payment_id, EndOfAuthorization::Capture { amount }, keyed).await
}

/// `POST /api/v1/payments/{payment_id}/void`: lets an authorized amount go.
pub(crate) async fn void(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, bytes) = read(&shared, request).await?;
    Fields::read(body::optional_json(&parts.headers, &bytes)?, &[])?;
    existing(&shared, &payment_id).await?;
    let hash = RequestHash::of("void").text(payment_id.as_str());
    let keyed = keyed_request(&parts, hash, &payment_id)?;
    end(&shared, payment_id, EndOfAuthorization::Void, keyed).await
}

async fn end(
    shared: &Arc<Shared>,
    payment_id: PaymentId,
    end: EndOfAuthorization,
    keyed: KeyedRequest,
) -> Result<Response, Problem> {
    let (saga, id) = (Arc::clone(&shared.api.saga), payment_id.clone());
    let ending = shared.run_apart(async move { saga.end(id, end, keyed).await })?;
    answer(shared, ending, || render(&processing(&payment_id, None))).await
}

pub(crate) fn keyed_request(
    parts: &Parts,
    hash: RequestHash,
    payment_id: &PaymentId,
) -> Result<KeyedRequest, Problem> {
    let key = keyed::header_key(&parts.headers)?;
    keyed::keyed(parts, &key, hash, payment_id.as_str())
}

/// Waits for a change as long as for a payment; what takes longer goes on.
pub(crate) async fn answer(
    shared: &Shared,
    mut changing: JoinHandle<Result<Reply, KeyedError>>,
    still_processing: impl FnOnce() -> Response,
) -> Result<Response, Problem> {
    match tokio::time::timeout(shared.api.saga.settings().payment_timeout, &mut changing).await {
        Ok(Ok(Ok(reply))) => Ok(respond(&reply)),
        Ok(Ok(Err(error))) => Err(problem::keyed_failed(error)),
        Ok(Err(error)) => Err(lost(error)),
        Err(_) => {
            let mut response = still_processing();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(TimedOut("payment_timeout").tell(response))
        }
    }
}

/// `POST /api/v1/payments/{payment_id}/review`: an operator says what the channel did.
pub(crate) async fn review(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, bytes) = read(&shared, request).await?;
    let asked = ReviewAsked::read(&parts.headers, &bytes)?;
    let (payment, _) = existing(&shared, &payment_id).await?;
    let hash = RequestHash::of("review")
        .text(payment_id.as_str())
        .text(if asked.paid { "paid" } else { "not_paid" })
        .optional(asked.transaction_id.as_ref().map(TransactionId::as_str))
        .text(&asked.reason);
    let keyed = keyed_request(&parts, hash, &payment_id)?;
    let resolution = Resolution {
        outcome: asked.outcome(&payment, &payment_id)?,
        payment_id,
        operator: keyed.context.actor.as_ref().to_owned(),
        reason: asked.reason,
        trace: keyed.context.trace.as_ref().clone(),
    };
    let saga = Arc::clone(&shared.api.saga);
    let resolving = shared.run(async move { saga.resolve_review(&resolution, &keyed).await })?;
    match resolving.await {
        Ok(Ok(reply)) => Ok(respond(&reply)),
        Ok(Err(ReviewRequestError::Keyed(error))) => Err(problem::keyed_failed(error)),
        Ok(Err(ReviewRequestError::Review(error))) => Err(not_resolved(error)),
        Err(error) => Err(lost(error)),
    }
}

/// What an operator says.
struct ReviewAsked {
    paid: bool,
    transaction_id: Option<TransactionId>,
    reason: String,
}

impl ReviewAsked {
    fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body::json(headers, bytes)?, &["outcome", "transaction_id", "reason"])?;
        let outcome = fields.required("outcome")?;
        let paid = match outcome.text()?.as_ref() {
            "paid" => true,
            "not_paid" => false,
            _ => return Err(outcome.refused("invalid_value", "must be `paid` or `not_paid`")),
        };
        let transaction_id = fields.optional("transaction_id");
        if let Some(field) = transaction_id.filter(|_| !paid) {
            return Err(field.refused("invalid_value", "is there only where the channel has paid"));
        }
        let reason = fields.required("reason")?;
        let words = reason.words(MAX_WORDS)?;
        if words.trim().is_empty() {
            return Err(reason.refused("invalid_value", "must say how you know"));
        }
        Ok(Self { paid, transaction_id: transaction_id.map(|field| field.id()).transpose()?, reason: words })
    }

    /// Where the operator names no transaction, it is the one that the payment has, or the payment's own id,
    /// under which the channel knows the charge.
    fn outcome(&self, payment: &Payment, payment_id: &PaymentId) -> Result<ReviewOutcome, Problem> {
        if !self.paid {
            return Ok(ReviewOutcome::NotPaid);
        }
        let named = self.transaction_id.clone().or_else(|| payment.transaction_id.clone());
        let transaction_id = match named {
            Some(transaction_id) => transaction_id,
            None => TransactionId::parse(payment_id.as_str())
                .map_err(|error| Problem::internal(error.to_string()))?,
        };
        Ok(ReviewOutcome::Paid { transaction_id })
    }
}

fn not_resolved(error: ReviewError) -> Problem {
    let detail = format!("{error}.");
    match error {
        ReviewError::NotFound { payment_id } => payment_not_found(payment_id),
        ReviewError::NotInReview { payment_id, .. } => {
            Problem::new(axum::http::StatusCode::CONFLICT, "not_in_review", detail).payment(payment_id)
        }
        ReviewError::EndedOtherwise { payment_id, .. } => {
            Problem::new(axum::http::StatusCode::CONFLICT, "review_conflict", detail).payment(payment_id)
        }
        ReviewError::Store(error) => problem::command_failed(error),
    }
}
