//! What clients get whose request changed a payment: captured, voided, refunded, reviewed.

use axum::http::StatusCode;
use commands::idempotency::Answer;
use domain::payment::{PaymentStatus, Refund, RefundStatus};
use domain::{Account, Money, Payment, PaymentError, PaymentId, RefundId, TransactionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Balance, Decimal, balance, capitalized, client_status, failed, problem};
use crate::openapi::values;
use crate::payments::payment_not_found;
use crate::problem::{Problem, json_text};

#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedBody<'a> {
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::PaymentState)]
    status: &'a str,
    #[schema(value_type = Option<values::TransactionId>, required)]
    transaction_id: Option<&'a TransactionId>,
    amount: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
    /// `null` where nothing was captured.
    #[schema(required)]
    captured: Option<Decimal>,
    /// For a person.
    message: &'a str,
    /// The payer's account behind it, where it is told.
    #[schema(required)]
    balance: Option<Balance<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RefundBody<'a> {
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
    /// What may still be refunded.
    refundable: Decimal,
    /// For a person.
    message: &'static str,
    /// The payer's account behind it.
    #[schema(required)]
    balance: Option<Balance<'a>>,
}

/// A payment whose authorization has ended, or goes to review.
pub(super) fn authorization_ended(payment: &Payment, payer: Option<&Account>, trace_id: &str) -> Answer {
    let (status, message) = match payment.status {
        PaymentStatus::Failed => return problem(&failed(payment), trace_id),
        PaymentStatus::Completed => (StatusCode::OK, "The payment is captured."),
        PaymentStatus::Voided => (StatusCode::OK, "The authorization is given up; nothing was taken."),
        PaymentStatus::NeedsReview => (
            StatusCode::ACCEPTED,
            "The payment channel has not said what it did. The amount stays held, and a person will find out.",
        ),
        _ => (StatusCode::ACCEPTED, "The payment is being processed."),
    };
    changed(payment, payer, (status, message), trace_id)
}

/// A payment whose review is resolved.
pub(super) fn review_resolved(payment: &Payment, trace_id: &str) -> Answer {
    changed(payment, None, (StatusCode::OK, "The review is resolved."), trace_id)
}

fn changed(
    payment: &Payment,
    payer: Option<&Account>,
    (status, message): (StatusCode, &str),
    trace_id: &str,
) -> Answer {
    let Some(details) = &payment.details else {
        return problem(&Problem::internal("an answer to a payment that was never initiated"), trace_id);
    };
    let body = ChangedBody {
        payment_id: &details.payment_id,
        status: client_status(payment.status),
        transaction_id: payment.transaction_id.as_ref(),
        amount: Decimal(details.amount),
        currency: details.amount.currency.code(),
        captured: payment.captured.map(Decimal),
        message,
        balance: payer.and_then(balance),
    };
    Answer { status: status.as_u16(), body: json_text(&body), position: None }
}

/// A refund that has ended.
pub(super) fn refund(
    payment: &Payment,
    refund_id: &RefundId,
    payer: Option<&Account>,
    trace_id: &str,
) -> Answer {
    let (Some(details), Some(refund)) = (&payment.details, payment.refunds.get(refund_id)) else {
        return problem(&Problem::internal("an answer to a refund that never began"), trace_id);
    };
    if refund.status == RefundStatus::Failed {
        let detail = "The payment channel declined the refund; nothing was moved.";
        let declined = Problem::unprocessable("refund_declined", detail).payment(details.payment_id.clone());
        return problem(&declined, trace_id);
    }
    let currency = refund.amount.currency;
    let body = RefundBody {
        refund_id,
        payment_id: &details.payment_id,
        status: refund_status(refund),
        transaction_id: refund.transaction_id.as_ref(),
        amount: Decimal(refund.amount),
        currency: currency.code(),
        refundable: Decimal(payment.refundable().unwrap_or(Money::new(0, currency))),
        message: "The amount is back on the payer's account.",
        balance: payer.and_then(balance),
    };
    Answer { status: StatusCode::CREATED.as_u16(), body: json_text(&body), position: None }
}

/// How far a refund is, as clients see it.
pub(crate) const fn refund_status(refund: &Refund) -> &'static str {
    match refund.status {
        RefundStatus::Started => "processing",
        RefundStatus::Completed => "completed",
        RefundStatus::Failed => "failed",
    }
}

/// A command that a payment refused.
pub(super) fn payment_refused(payment_id: &PaymentId, refusal: &PaymentError, trace_id: &str) -> Answer {
    let detail = || format!("{}.", capitalized(&refusal.to_string()));
    let refused = match refusal {
        PaymentError::WrongStatus { status: PaymentStatus::New, .. } => payment_not_found(payment_id.clone()),
        PaymentError::WrongStatus { .. } => {
            Problem::new(StatusCode::CONFLICT, "wrong_payment_status", detail())
        }
        PaymentError::AlreadyExists { .. } => Problem::new(StatusCode::CONFLICT, "payment_exists", detail()),
        PaymentError::CaptureTooLarge { .. } => {
            Problem::unprocessable("capture_too_large", detail()).param("amount")
        }
        PaymentError::RefundTooLarge { .. } => {
            Problem::unprocessable("refund_too_large", detail()).param("amount")
        }
        PaymentError::WrongAmount { .. } => {
            Problem::unprocessable("invalid_amount", detail()).param("amount")
        }
        PaymentError::TooManyRefunds { .. } => Problem::unprocessable("too_many_refunds", detail()),
        PaymentError::WithdrawalNotRefundable => {
            Problem::unprocessable("withdrawal_not_refundable", detail())
        }
        PaymentError::TransferNotRefundable => Problem::unprocessable("transfer_not_refundable", detail()),
        PaymentError::RefundNotFound { .. } | PaymentError::RefundExists { .. } => {
            Problem::new(StatusCode::CONFLICT, "refund_conflict", detail())
        }
    };
    problem(&refused.payment(payment_id.clone()), trace_id)
}
