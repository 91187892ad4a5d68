//! Payments: asking for one, reading one, listing them.

pub(crate) mod change;
pub(crate) mod list;
pub(crate) mod refunds;

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use commands::idempotency::{Answer, IdempotencyKey, KeyedRequest};
use commands::saga::{PaymentRequest, PaymentRequestError};
use domain::payment::{CaptureMode, PaymentDetails, RefundStatus, RiskAssessment, Route};
use domain::{Money, Payment, PaymentId, TransactionId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::{Decimal, client_status, failure_detail, processing, render, respond};
use crate::edge::TimedOut;
use crate::fields::Fields;
use crate::keyed::{self, RequestHash};
use crate::openapi::values;
use crate::path::{PaymentPath, PlainQuery};
use crate::problem::{self, Problem, json_text};
use crate::shared::{Shared, lost};
use crate::{body, card_number, ids};

/// Most characters of a means of payment.
const MAX_METHOD: usize = 64;

const FIELDS: [&str; 8] = [
    "payment_id",
    "user_id",
    "amount",
    "currency",
    "payment_method",
    "idempotency_key",
    "capture",
    "metadata",
];

/// A request for a payment, valid in itself, with its key and the hash of what it asks.
pub(crate) struct Asked<'a> {
    request: PaymentRequest,
    key: Cow<'a, str>,
    hash: RequestHash,
}

impl<'a> Asked<'a> {
    /// Reads a request; the key may be in a header or in the body.
    pub(crate) fn read(headers: &'a HeaderMap, bytes: &'a [u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body::json(headers, bytes)?, &FIELDS)?;
        let field_key = fields.optional("idempotency_key").map(|field| field.text()).transpose()?;
        let key = keyed::key(headers, field_key)?;
        let given: Option<PaymentId> = fields.optional("payment_id").map(|field| field.id()).transpose()?;
        let user_id = fields.required("user_id")?.id()?;
        let amount = fields.required("amount")?;
        let amount = amount.amount(fields.required("currency")?.currency()?)?;
        let method = fields.required("payment_method")?;
        let payment_method = method.name(MAX_METHOD, "invalid_payment_method")?;
        if card_number::is_in(&payment_method) {
            let rule = "must not be a card's number; send a token that stands for the card";
            return Err(method.refused("card_number", rule));
        }
        let capture = capture(&fields)?;
        let metadata =
            fields.optional("metadata").map(|field| field.notes()).transpose()?.unwrap_or_default();
        let hash = RequestHash::of("payment")
            // Absent stays absent: a repeat is given another id before it is known as a repeat.
            .optional(given.as_ref().map(PaymentId::as_str))
            .text(user_id.as_str())
            .amount(amount)
            .text(&payment_method)
            .text(match capture {
                CaptureMode::Automatic => "automatic",
                CaptureMode::Manual => "manual",
            })
            .notes(&metadata);
        let payment_id = named(given)?;
        let route = Route::Channel { payment_method, capture };
        let request = PaymentRequest { payment_id, user_id, amount, route, metadata };
        Ok(Self { request, key, hash })
    }
}

/// The payment's name where its client gives it none.
pub(crate) fn named(given: Option<PaymentId>) -> Result<PaymentId, Problem> {
    let new = || PaymentId::parse(&ids::time_ordered("pay_"));
    given.map_or_else(new, Ok).map_err(|error| Problem::internal(error.to_string()))
}

fn capture<const N: usize>(fields: &Fields<'_, N>) -> Result<CaptureMode, Problem> {
    let Some(field) = fields.optional("capture") else { return Ok(CaptureMode::Automatic) };
    match field.text()?.as_ref() {
        "automatic" => Ok(CaptureMode::Automatic),
        "manual" => Ok(CaptureMode::Manual),
        _ => Err(field.refused("invalid_value", "must be `automatic` or `manual`")),
    }
}

/// `POST /api/v1/payments`: carries a payment out, or says what became of it.
pub(crate) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, shared.api.settings.body_limit).await?;
    let Asked { request, key, hash } = Asked::read(&parts.headers, &bytes)?;
    let keyed = keyed::keyed(&parts, &key, hash, request.payment_id.as_str())?;
    carry_out(&shared, request, keyed).await
}

/// Carries a payment out, and waits for it as long as a caller should.
pub(crate) async fn carry_out(
    shared: &Shared,
    request: PaymentRequest,
    keyed: KeyedRequest,
) -> Result<Response, Problem> {
    let (payment_id, key) = (request.payment_id.clone(), keyed.claim.key.clone());
    let saga = Arc::clone(&shared.api.saga);
    let mut payment = shared.run_apart(async move { saga.process(request, keyed).await })?;
    match tokio::time::timeout(shared.api.saga.settings().payment_timeout, &mut payment).await {
        Ok(Ok(Ok(reply))) => Ok(respond(&reply)),
        Ok(Ok(Err(error))) => Err(refused(error)),
        Ok(Err(error)) => Err(lost(error)),
        Err(_) => still_processing(shared, &payment_id, &key).await,
    }
}

pub(crate) fn refused(error: PaymentRequestError) -> Problem {
    match error {
        PaymentRequestError::Key(conflict) => keyed::conflict(conflict),
        PaymentRequestError::PaymentExists { payment_id } => Problem::new(
            StatusCode::CONFLICT,
            "payment_exists",
            "This payment id belongs to another payment.",
        )
        .param("payment_id")
        .payment(payment_id),
        PaymentRequestError::RiskUnavailable => Problem::unavailable(
            "risk_unavailable",
            "The risk service cannot answer, and the amount is too large to go on without it. Nothing \
             is held. Repeat the request with the same idempotency key.",
            5,
        ),
        PaymentRequestError::ChannelUnavailable => problem::channel_unavailable(),
        PaymentRequestError::Store(error) => problem::command_failed(error),
    }
}

/// The caller has waited long enough; its payment goes on. This is no recorded answer: a repeat gets
/// the payment's outcome.
async fn still_processing(
    shared: &Shared,
    payment_id: &PaymentId,
    key: &IdempotencyKey,
) -> Result<Response, Problem> {
    let stored = shared.api.store.payment(payment_id).await.map_err(|_| problem::outcome_unknown())?;
    // The id may belong to another request's payment, about which this caller did not ask.
    let own = stored.state.details.as_ref().is_some_and(|details| {
        *details.requester.caller == *key.caller && *details.requester.idempotency_key == *key.key
    });
    if !own {
        return Err(problem::outcome_unknown().payment(payment_id.clone()));
    }
    let mut response = render(&processing(payment_id, stored.position));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(TimedOut("payment_timeout").tell(response))
}

/// A payment as it is read.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
pub(crate) struct PaymentView<'a> {
    #[schema(value_type = values::PaymentId)]
    payment_id: &'a PaymentId,
    #[schema(value_type = values::UserId)]
    user_id: &'a UserId,
    #[schema(value_type = values::PaymentForm)]
    kind: &'static str,
    #[schema(value_type = values::PaymentState)]
    status: &'static str,
    /// Where the saga is, by its own name; `status` is what to depend on.
    #[schema(value_type = values::PaymentStep)]
    step: &'static str,
    amount: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
    /// `null` for a transfer and a withdrawal.
    #[schema(required)]
    payment_method: Option<&'a str>,
    /// `null` for a transfer and a withdrawal.
    #[schema(value_type = Option<values::Capture>, required)]
    capture: Option<CaptureMode>,
    /// `null` until it is captured.
    #[schema(required)]
    captured: Option<Decimal>,
    /// There where a refund was asked for.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded: Option<Decimal>,
    #[schema(value_type = Option<values::TransactionId>, required)]
    transaction_id: Option<&'a TransactionId>,
    #[schema(required)]
    failure: Option<FailureView>,
    #[schema(required)]
    risk: Option<RiskView<'a>>,
    /// In lists.
    #[schema(value_type = values::Time, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// In lists.
    #[schema(value_type = values::Time, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[schema(value_type = values::Metadata)]
    metadata: &'a std::collections::BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Failure)]
pub(crate) struct FailureView {
    #[schema(value_type = values::ProblemCode)]
    code: &'static str,
    /// For a person.
    detail: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Risk)]
pub(crate) struct RiskView<'a> {
    #[schema(value_type = Option<values::RiskLevelName>, required)]
    level: Option<&'static str>,
    /// 0 to 100, the higher the worse.
    #[schema(required)]
    score: Option<u8>,
    /// The risk service was away, and the amount small.
    degraded: bool,
    /// Why it was away.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// `GET /api/v1/payments/{payment_id}`: as the log has it now.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let stored = shared.api.store.payment(&payment_id).await.map_err(problem::read_failed)?;
    let body = payment_body(&stored.state).ok_or_else(|| payment_not_found(payment_id))?;
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: stored.position }))
}

/// There is no such payment.
pub(crate) fn payment_not_found(payment_id: PaymentId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "payment_not_found", "There is no such payment.").payment(payment_id)
}

/// A payment as clients see it, `None` before it is initiated.
pub(crate) fn payment_body(payment: &Payment) -> Option<String> {
    payment.details.as_ref().map(|details| json_text(&view(payment, details)))
}

fn view<'a>(payment: &'a Payment, details: &'a PaymentDetails) -> PaymentView<'a> {
    let (payment_method, capture) = match &details.route {
        Route::Channel { payment_method, capture } => (Some(payment_method.as_str()), Some(*capture)),
        Route::Transfer { .. } | Route::Payout { .. } => (None, None),
    };
    PaymentView {
        payment_id: &details.payment_id,
        user_id: &details.user_id,
        kind: details.route.kind().name(),
        status: client_status(payment.status),
        step: payment.status.name(),
        amount: Decimal(details.amount),
        currency: details.amount.currency.code(),
        payment_method,
        capture,
        captured: payment.captured.map(Decimal),
        refunded: refunded(payment).map(Decimal),
        transaction_id: payment.transaction_id.as_ref(),
        failure: payment.failure.as_ref().map(|failure| FailureView {
            code: failure.code(),
            detail: failure_detail(failure, Some(details.amount)),
        }),
        risk: payment.risk.as_ref().map(risk_view),
        created_at: None,
        updated_at: None,
        metadata: &details.metadata,
    }
}

fn risk_view(risk: &RiskAssessment) -> RiskView<'_> {
    match risk {
        RiskAssessment::Assessed { level, score } => {
            RiskView { level: Some(level.name()), score: Some(*score), degraded: false, reason: None }
        }
        RiskAssessment::Degraded { reason } => {
            RiskView { level: None, score: None, degraded: true, reason: Some(reason) }
        }
    }
}

/// What has gone back to the payer, `None` while no refund was ever asked for.
fn refunded(payment: &Payment) -> Option<Money> {
    let currency = payment.captured?.currency;
    let back = payment.refunds.values().filter(|refund| refund.status == RefundStatus::Completed);
    // The domain keeps the sum of refunds within the captured amount, so it fits.
    let minor = back.map(|refund| refund.amount.minor).sum();
    (!payment.refunds.is_empty()).then_some(Money::new(minor, currency))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The hash of a body; its key is in the header.
    fn hash(body: &str) -> [u8; 32] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", HeaderValue::from_static("K"));
        Asked::read(&headers, body.as_bytes()).unwrap().hash.done()
    }

    #[test]
    fn the_same_request_has_the_same_hash_however_it_is_written() {
        let first = hash(r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"card"}"#);
        for same in [
            r#"{"user_id":"U","amount":"7.50","currency":"USD","payment_method":"card"}"#,
            r#"{"idempotency_key":"K","currency":"USD","user_id":"\u0055","amount":75e-1,"payment_method":"card"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"card","metadata":{},"capture":"automatic","payment_id":null}"#,
        ] {
            assert_eq!(hash(same), first, "{same}");
        }
        for other in [
            r#"{"user_id":"V","amount":7.5,"currency":"USD","payment_method":"card"}"#,
            r#"{"user_id":"U","amount":7.51,"currency":"USD","payment_method":"card"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"EUR","payment_method":"card"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"cash"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"card","capture":"manual"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"card","payment_id":"P"}"#,
            r#"{"user_id":"U","amount":7.5,"currency":"USD","payment_method":"card","metadata":{"a":"b"}}"#,
        ] {
            assert_ne!(hash(other), first, "{other}");
        }
    }

    #[test]
    fn each_failure_of_a_request_is_told_apart() {
        use commands::idempotency::KeyConflict;
        use commands::ports::StoreError;
        let payment_id = PaymentId::parse("P").unwrap();
        for (error, status, code, retry_after) in [
            (PaymentRequestError::Key(KeyConflict::InFlight), 409, "request_in_flight", Some("1")),
            (PaymentRequestError::Key(KeyConflict::OtherRequest), 422, "idempotency_key_reused", None),
            (PaymentRequestError::PaymentExists { payment_id }, 409, "payment_exists", None),
            (PaymentRequestError::RiskUnavailable, 503, "risk_unavailable", Some("5")),
            (PaymentRequestError::ChannelUnavailable, 503, "channel_unavailable", Some("1")),
            (PaymentRequestError::Store(StoreError::Unavailable), 503, "store_unavailable", Some("1")),
            (PaymentRequestError::Store(StoreError::OutcomeUnknown), 503, "outcome_unknown", Some("1")),
            (PaymentRequestError::Store(StoreError::Contended), 503, "contended", Some("1")),
            (PaymentRequestError::Store(StoreError::KeyTaken), 409, "request_in_flight", Some("1")),
            (PaymentRequestError::Store(StoreError::Damaged("x".to_owned())), 500, "internal_error", None),
        ] {
            let problem = refused(error);
            let mut response = Response::default();
            problem.write_into(&mut response, "t");
            let after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), after), (status, retry_after), "{code}");
            assert!(problem.body("t").contains(&format!("\"code\":\"{code}\"")));
        }
    }
}
