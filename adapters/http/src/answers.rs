//! The bodies that clients get, and that are recorded under their keys.
//!
//! [`JsonAnswers`] is the port's implementation: the request, a repeat of it and recovery after a
//! crash all write through it, so they write the same bytes.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use commands::idempotency::{Answer, Reply};
use commands::ports::AnswerFormat;
use domain::account::{AccountError, Owner};
use domain::payment::{FailureReason, PaymentKind, PaymentStatus, RiskAssessment};
use domain::{Account, AccountId, Money, Payment, PaymentError, PaymentId, RefundId, TransactionId, UserId};
use projections::AccountBalance;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::edge::TRACE_ID;
use crate::openapi::values;
use crate::path::account_not_found;
use crate::problem::{PROBLEM_JSON, Problem, json_text};

pub(crate) mod changes;

pub(crate) use changes::refund_status;

/// Answers as JSON: a success as its own object, a refusal as a problem.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonAnswers;

/// An amount as clients see it: an exact decimal string.
pub(crate) struct Decimal(pub(crate) Money);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct PaymentBody<'a> {
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::PaymentState)]
    status: &'a str,
    /// The charge at the payment channel, once there is one.
    #[schema(value_type = Option<values::TransactionId>, required)]
    transaction_id: Option<&'a TransactionId>,
    amount: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
    /// For a person.
    message: &'a str,
    /// There, and true, where the risk service was away and the amount small.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    /// The payer's account behind it.
    #[schema(required)]
    balance: Option<Balance<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Balance<'a> {
    #[schema(value_type = values::AccountId)]
    account_id: &'a AccountId,
    posted: Decimal,
    held: Decimal,
    available: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AccountBody<'a> {
    #[schema(value_type = values::AccountId)]
    account_id: &'a AccountId,
    #[schema(value_type = Option<values::UserId>, required)]
    user_id: Option<&'a UserId>,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
    /// What is booked.
    posted: Decimal,
    /// What is promised to payments under way.
    held: Decimal,
    /// What may be spent: `posted - held`.
    available: Decimal,
    #[schema(value_type = values::AccountState)]
    status: &'static str,
    /// In answers to reads: when the event at `position` was recorded.
    #[schema(value_type = values::Time, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ProcessingBody<'a> {
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::PaymentState)]
    status: &'static str,
    /// For a person.
    message: &'static str,
}

impl AnswerFormat for JsonAnswers {
    fn payment(&self, payment: &Payment, payer: Option<&Account>, trace_id: &str) -> Answer {
        let message = match payment.status {
            PaymentStatus::Rejected => return problem(&rejected(payment), trace_id),
            PaymentStatus::Failed => return problem(&failed(payment), trace_id),
            PaymentStatus::Authorized => "The amount is authorized; capture it to take it.",
            PaymentStatus::NeedsReview => {
                "The payment channel has not said whether it paid. The amount stays held, and a person \
                 will find out."
            }
            PaymentStatus::Completed if is_withdrawal(payment) => "The amount is paid out.",
            PaymentStatus::Completed => "The payment is completed.",
            PaymentStatus::Voided
            | PaymentStatus::New
            | PaymentStatus::Initiated
            | PaymentStatus::Assessed
            | PaymentStatus::Reserved
            | PaymentStatus::OutcomeUnknown
            | PaymentStatus::Capturing
            | PaymentStatus::Voiding => "The payment is being processed.",
        };
        let created = matches!(payment.status, PaymentStatus::Completed | PaymentStatus::Authorized);
        let status = if created { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let Some(details) = &payment.details else {
            return problem(&Problem::internal("an answer to a payment that was never initiated"), trace_id);
        };
        let body = PaymentBody {
            payment_id: &details.payment_id,
            status: client_status(payment.status),
            transaction_id: payment.transaction_id.as_ref(),
            amount: Decimal(details.amount),
            currency: details.amount.currency.code(),
            message,
            degraded: matches!(payment.risk, Some(RiskAssessment::Degraded { .. })),
            balance: payer.and_then(balance),
        };
        Answer { status: status.as_u16(), body: json_text(&body), position: None }
    }

    fn authorization_ended(&self, payment: &Payment, payer: Option<&Account>, trace_id: &str) -> Answer {
        changes::authorization_ended(payment, payer, trace_id)
    }

    fn refund(
        &self,
        payment: &Payment,
        refund_id: &RefundId,
        payer: Option<&Account>,
        trace_id: &str,
    ) -> Answer {
        changes::refund(payment, refund_id, payer, trace_id)
    }

    fn review_resolved(&self, payment: &Payment, trace_id: &str) -> Answer {
        changes::review_resolved(payment, trace_id)
    }

    fn payment_refused(&self, payment_id: &PaymentId, refusal: &PaymentError, trace_id: &str) -> Answer {
        changes::payment_refused(payment_id, refusal, trace_id)
    }

    fn account(&self, account: &Account, created: bool) -> Answer {
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        match account_body(account) {
            Some(body) => Answer { status: status.as_u16(), body, position: None },
            None => problem(&Problem::internal("an answer to an account that was never opened"), ""),
        }
    }

    fn account_refused(&self, account_id: &AccountId, refusal: &AccountError, trace_id: &str) -> Answer {
        problem(&account_refused(account_id, refusal), trace_id)
    }
}

fn is_withdrawal(payment: &Payment) -> bool {
    payment.details.as_ref().is_some_and(|details| details.route.kind() == PaymentKind::Withdrawal)
}

/// An account as clients see it, `None` before it is opened.
pub(crate) fn account_body(account: &Account) -> Option<String> {
    account_body_as_of(account, None)
}

/// The same, with the time of the event up to which it was read.
pub(crate) fn account_body_as_of(account: &Account, as_of: Option<DateTime<Utc>>) -> Option<String> {
    let opening = account.opening.as_ref()?;
    let user_id = match &opening.owner {
        Owner::User { user_id } => Some(user_id),
        Owner::System { .. } => None,
    };
    Some(json_text(&AccountBody {
        account_id: &opening.account_id,
        user_id,
        currency: opening.currency.code(),
        posted: Decimal(account.posted()?),
        held: Decimal(account.held()?),
        available: Decimal(account.available()?),
        status: account.status.name(),
        as_of: as_of.map(crate::reading::time),
    }))
}

/// A row of the read model as clients see it, with the time up to which the log is folded.
pub(crate) fn balance_body(row: &AccountBalance, as_of: Option<DateTime<Utc>>) -> String {
    let amount = |minor| Decimal(Money::new(minor, row.currency));
    json_text(&AccountBody {
        account_id: &row.account_id,
        user_id: row.user_id.as_ref(),
        currency: row.currency.code(),
        posted: amount(row.posted),
        held: amount(row.held),
        // The domain keeps holds within what is posted, so it fits.
        available: amount(row.posted.saturating_sub(row.held)),
        status: row.status.name(),
        as_of: as_of.map(crate::reading::time),
    })
}

/// What a caller is told whose payment takes longer than it can wait.
pub(crate) fn processing(payment_id: &PaymentId, position: Option<i64>) -> Answer {
    let body = ProcessingBody {
        payment_id,
        status: "processing",
        message: "The payment is being processed. Repeat the request with the same idempotency key, or \
                  read the payment, to get its outcome.",
    };
    Answer { status: StatusCode::ACCEPTED.as_u16(), body: json_text(&body), position }
}

/// The status as clients see it: which step the saga is at is not theirs to depend on.
pub(crate) const fn client_status(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::New
        | PaymentStatus::Initiated
        | PaymentStatus::Assessed
        | PaymentStatus::Reserved
        | PaymentStatus::OutcomeUnknown
        | PaymentStatus::Capturing
        | PaymentStatus::Voiding => "processing",
        PaymentStatus::Rejected
        | PaymentStatus::Authorized
        | PaymentStatus::Completed
        | PaymentStatus::Failed
        | PaymentStatus::Voided
        | PaymentStatus::NeedsReview => status.name(),
    }
}

/// A reply as a response: the same bytes for the first caller and for each repeat.
pub(crate) fn respond(reply: &Reply) -> Response {
    let mut response = render(&reply.answer);
    let headers = response.headers_mut();
    if let Ok(trace_id) = HeaderValue::from_str(&reply.trace_id) {
        headers.insert(TRACE_ID, trace_id);
    }
    if reply.replayed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// An answer as a response.
pub(crate) fn render(answer: &Answer) -> Response {
    // Statuses are recorded by this module; one that is none would be a damaged record.
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(Body::from(answer.render()));
    *response.status_mut() = status;
    let refused = status.is_client_error() || status.is_server_error();
    let content_type = if refused { PROBLEM_JSON } else { HeaderValue::from_static("application/json") };
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Why a payment failed, for a person.
pub(crate) fn failure_detail(failure: &FailureReason, amount: Option<Money>) -> String {
    match (failure, amount) {
        (FailureReason::InsufficientFunds { available }, Some(amount)) => {
            format!("{amount:?} is needed, {available:?} is available. Nothing is held.")
        }
        (FailureReason::InsufficientFunds { available }, None) => format!("{available:?} is available."),
        (FailureReason::AccountNotFound, _) => {
            "The user has no account in this currency. Open one, and deposit to it.".to_owned()
        }
        (FailureReason::AccountFrozen, _) => "The user's account is frozen.".to_owned(),
        (FailureReason::AccountClosed, _) => "The user's account is closed.".to_owned(),
        (FailureReason::ChannelDeclined { reason }, _) => {
            format!("The payment channel declined: {reason}. The hold is released.")
        }
        (FailureReason::PayeeNotFound, _) => {
            "Whom the transfer is for has no account in this currency. Nothing was moved.".to_owned()
        }
        (FailureReason::PayeeClosed, _) => {
            "The account that the transfer is for is closed. Nothing was moved.".to_owned()
        }
        (FailureReason::PayeeCannotReceive, _) => {
            "The account that the transfer is for cannot take the amount. Nothing was moved.".to_owned()
        }
        (FailureReason::ReviewedNotPaid, _) => {
            "A review found that the payment channel had not paid. The hold is released.".to_owned()
        }
    }
}

fn balance(account: &Account) -> Option<Balance<'_>> {
    let opening = account.opening.as_ref()?;
    Some(Balance {
        account_id: &opening.account_id,
        posted: Decimal(account.posted()?),
        held: Decimal(account.held()?),
        available: Decimal(account.available()?),
        currency: opening.currency.code(),
    })
}

fn problem(problem: &Problem, trace_id: &str) -> Answer {
    problem.log(trace_id);
    Answer { status: problem.status().as_u16(), body: problem.body(trace_id), position: None }
}

fn rejected(payment: &Payment) -> Problem {
    named(
        Problem::unprocessable(
            "risk_rejected",
            "The risk of this payment is too high. No money was touched.",
        ),
        payment,
    )
}

fn failed(payment: &Payment) -> Problem {
    let Some(failure) = &payment.failure else {
        return Problem::internal("a payment that failed has no reason");
    };
    let amount = payment.details.as_ref().map(|details| details.amount);
    named(Problem::unprocessable(failure.code(), failure_detail(failure, amount)), payment)
}

fn named(problem: Problem, payment: &Payment) -> Problem {
    match &payment.details {
        Some(details) => problem.payment(details.payment_id.clone()),
        None => problem,
    }
}

/// What an account refuses, as clients see it.
pub(crate) fn account_refused(account_id: &AccountId, refusal: &AccountError) -> Problem {
    let detail = || format!("{}.", capitalized(&refusal.to_string()));
    let problem = match refusal {
        AccountError::NotFound => return account_not_found(account_id.clone()),
        AccountError::AlreadyOpen { .. } => {
            Problem::new(StatusCode::CONFLICT, "account_already_open", detail())
        }
        AccountError::InsufficientFunds { .. } => {
            Problem::unprocessable("insufficient_funds", detail()).param("amount")
        }
        AccountError::Frozen => Problem::unprocessable("account_frozen", detail()),
        AccountError::Closed => Problem::unprocessable("account_closed", detail()),
        AccountError::OfTheSystem => Problem::unprocessable("system_account", detail()),
        AccountError::NotEmpty => Problem::unprocessable("account_not_empty", detail()),
        AccountError::CurrencyMismatch { .. } => {
            Problem::unprocessable("currency_mismatch", detail()).param("currency")
        }
        AccountError::BalanceOverflow => Problem::unprocessable("balance_overflow", detail()).param("amount"),
        AccountError::NotPositive { .. } => {
            Problem::unprocessable("invalid_amount", detail()).param("amount")
        }
        AccountError::HoldExists { .. } => Problem::new(StatusCode::CONFLICT, "hold_exists", detail()),
        AccountError::HoldNotFound { .. } => Problem::unprocessable("hold_not_found", detail()),
        AccountError::CaptureTooLarge { .. } => {
            Problem::unprocessable("capture_too_large", detail()).param("amount")
        }
    };
    problem.account(account_id.clone())
}

fn capitalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
