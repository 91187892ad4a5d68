//! Refunds of a payment: asking for one, reading them.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use commands::idempotency::Answer;
use commands::saga::RefundRequest;
use domain::payment::Refund;
use domain::{PaymentId, RefundId, TransactionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{answer, existing, part};
use crate::answers::{Decimal, refund_status, render};
use crate::fields;
use crate::openapi::values;
use crate::path::{PaymentPath, PlainQuery};
use crate::problem::{Problem, json_text};
use crate::shared::Shared;
use crate::{gate, ids};

/// A refund as it is read.
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
pub(crate) struct RefundView<'a> {
    #[schema(value_type = values::RefundId)]
    refund_id: &'a RefundId,
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::RefundState)]
    status: &'static str,
    #[schema(value_type = Option<values::TransactionId>, required)]
    transaction_id: Option<&'a TransactionId>,
    amount: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RefundPage)]
pub(crate) struct RefundsBody<'a> {
    data: Vec<RefundView<'a>>,
    has_more: bool,
    #[schema(required)]
    next_cursor: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RefundProcessing)]
pub(crate) struct ProcessingBody<'a> {
    #[schema(value_type = values::RefundId)]
    refund_id: &'a RefundId,
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::RefundState)]
    status: &'static str,
    /// For a person.
    message: &'static str,
}

/// The payment and the refund that a path names; another caller's payment is not there.
pub(crate) struct RefundPath(PaymentId, RefundId);

impl FromRequestParts<Arc<Shared>> for RefundPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let Path((payment_id, refund_id)) = Path::<(String, String)>::from_request_parts(parts, shared)
            .await
            .map_err(|_| Problem::bad_request("malformed_path", "The path is not UTF-8."))?;
        let payment_id = fields::id(&payment_id, "payment_id")?;
        gate::must_be_own(shared, parts, &payment_id).await?;
        Ok(Self(payment_id, fields::id(&refund_id, "refund_id")?))
    }
}

/// `POST /api/v1/payments/{payment_id}/refunds`: gives a part of a payment, or all that is left, back.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    request: Request,
) -> Result<Response, Problem> {
    let (amount, keyed) = part(&shared, "refund", &payment_id, request).await?;
    let refund_id =
        RefundId::parse(&ids::time_ordered("ref_")).map_err(|error| Problem::internal(error.to_string()))?;
    let saga = Arc::clone(&shared.api.saga);
    let request = RefundRequest { payment_id: payment_id.clone(), refund_id: refund_id.clone(), amount };
    let refunding = shared.run_apart(async move { saga.refund(request, keyed).await })?;
    answer(&shared, refunding, || still_processing(&payment_id, &refund_id)).await
}

fn still_processing(payment_id: &PaymentId, refund_id: &RefundId) -> Response {
    let body = ProcessingBody {
        refund_id,
        payment_id,
        status: "processing",
        message: "The refund is being processed. Repeat the request with the same idempotency key, or read \
                  the refund, to get its outcome.",
    };
    render(&Answer { status: StatusCode::ACCEPTED.as_u16(), body: json_text(&body), position: None })
}

/// `GET /api/v1/payments/{payment_id}/refunds`: all refunds of a payment, as the log has them now.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let (payment, _) = existing(&shared, &payment_id).await?;
    let data =
        payment.refunds.iter().map(|(refund_id, refund)| view(&payment_id, refund_id, refund)).collect();
    // A payment has a bounded number of them, so there is one page.
    let body = RefundsBody { data, has_more: false, next_cursor: None };
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body: json_text(&body), position: None }))
}

/// `GET /api/v1/payments/{payment_id}/refunds/{refund_id}`: as the log has it now.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    RefundPath(payment_id, refund_id): RefundPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let (payment, _) = existing(&shared, &payment_id).await?;
    let refund = payment.refunds.get(&refund_id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "refund_not_found", "The payment has no such refund.")
            .payment(payment_id.clone())
    })?;
    let body = json_text(&view(&payment_id, &refund_id, refund));
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: None }))
}

fn view<'a>(payment_id: &'a PaymentId, refund_id: &'a RefundId, refund: &'a Refund) -> RefundView<'a> {
    RefundView {
        refund_id,
        payment_id,
        status: refund_status(refund),
        transaction_id: refund.transaction_id.as_ref(),
        amount: Decimal(refund.amount),
        currency: refund.amount.currency.code(),
    }
}
