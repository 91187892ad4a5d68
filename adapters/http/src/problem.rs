//! RFC 9457 problems: what a client is told when it does not get what it asked for.
//!
//! A [`Problem`] travels in the response's extensions to the edge, which knows the trace and writes
//! the body; there, too, the cause of a 500 is logged, once.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use commands::keyed::KeyedError;
use commands::ports::StoreError;
use domain::{AccountId, PaymentId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::values;

use crate::keyed;

/// The content type of every answer with a status of 400 or more.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal or a failure. Boxed, since it is the rare half of every result.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    param: Option<Cow<'static, str>>,
    payment_id: Option<PaymentId>,
    account_id: Option<AccountId>,
    retry_after: Option<u16>,
    /// How to say who one is.
    challenge: Option<&'static str>,
    /// For the log, never for the client.
    cause: Option<String>,
}

/// The members of a problem, in the order in which a person reads them.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Members<'a> {
    /// `/problems/` and the code.
    r#type: String,
    /// The same for every problem of a code.
    title: String,
    /// HTTP's status code.
    status: u16,
    /// For a person.
    detail: &'a str,
    #[schema(value_type = values::ProblemCode)]
    code: &'a str,
    /// The field or the parameter that is at fault, where one is.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    /// The trace that leads to the cause.
    #[schema(value_type = values::TraceId)]
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'a str,
    #[schema(value_type = values::PaymentId, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<&'a PaymentId>,
    #[schema(value_type = values::AnyId, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a AccountId>,
}

impl Problem {
    /// A problem with a stable code; `detail` is for a person.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            param: None,
            payment_id: None,
            account_id: None,
            retry_after: None,
            challenge: None,
            cause: None,
        }))
    }

    /// A request that cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A request that can be read and is refused.
    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// A request of which it is not known who sent it.
    pub(crate) fn unauthenticated(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .challenge(r#"Bearer realm="payments", error="invalid_token""#)
    }

    /// What cannot be served now, and may be asked again after so many seconds.
    pub(crate) fn unavailable(
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
        retry_after: u16,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after)
    }

    /// A failure of this program. The cause goes to the log; the client gets the trace id.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong here. The trace id leads to the cause.",
        );
        problem.0.cause = Some(cause.into());
        problem
    }

    /// Names the field at fault.
    pub(crate) fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Names the payment.
    pub(crate) fn payment(mut self, payment_id: PaymentId) -> Self {
        self.0.payment_id = Some(payment_id);
        self
    }

    /// Names the account.
    pub(crate) fn account(mut self, account_id: AccountId) -> Self {
        self.0.account_id = Some(account_id);
        self
    }

    /// Says after how many seconds it may be asked again.
    pub(crate) fn retry_after(mut self, seconds: u16) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Says by which scheme, and why, in the words of RFC 6750.
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// HTTP's status code.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body: a JSON object.
    pub(crate) fn body(&self, trace_id: &str) -> String {
        json_text(&Members {
            r#type: format!("/problems/{}", self.0.code),
            title: title(self.0.code),
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            code: self.0.code,
            param: self.0.param.as_deref(),
            trace_id,
            payment_id: self.0.payment_id.as_ref(),
            account_id: self.0.account_id.as_ref(),
        })
    }

    /// Logs the cause of a failure of this program; a refusal has none. Called once, where it is answered.
    pub(crate) fn log(&self, trace_id: &str) {
        if let Some(cause) = &self.0.cause {
            tracing::error!(trace_id, code = self.0.code, cause, "a request failed");
        }
    }

    /// Puts the problem into the response that carried it; headers such as `Allow` stay.
    pub(crate) fn write_into(&self, response: &mut Response, trace_id: &str) {
        self.log(trace_id);
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        // It was computed for the body that is replaced here.
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.0.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        *response.body_mut() = Body::from(self.body(trace_id));
    }
}

/// What a command's caller is told when the store failed. Nothing is lost by repeating it.
pub(crate) fn command_failed(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable => Problem::unavailable(
            "store_unavailable",
            "The database cannot be reached or is too busy; nothing was changed. \
             Repeat the request with the same idempotency key.",
            1,
        ),
        StoreError::OutcomeUnknown => outcome_unknown(),
        StoreError::Contended => Problem::unavailable(
            "contended",
            "Too many requests are changing the same account; nothing was changed. \
             Repeat the request with the same idempotency key.",
            1,
        ),
        StoreError::KeyTaken => in_flight(),
        StoreError::Refused(_) | StoreError::Damaged(_) => Problem::internal(error.to_string()),
    }
}

/// What needs the payment channel is not begun while that cannot be asked.
pub(crate) fn channel_unavailable() -> Problem {
    Problem::unavailable(
        "channel_unavailable",
        "The payment channel does not answer now; nothing was begun. Repeat the request with the same \
         idempotency key.",
        1,
    )
}

/// What a caller is told whose keyed request has no recorded answer.
pub(crate) fn keyed_failed(error: KeyedError) -> Problem {
    match error {
        KeyedError::Key(conflict) => keyed::conflict(conflict),
        KeyedError::ChannelUnavailable => channel_unavailable(),
        KeyedError::Store(error) => command_failed(error),
    }
}

/// What a reader is told when the store failed.
pub(crate) fn read_failed(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable | StoreError::OutcomeUnknown | StoreError::Contended => Problem::unavailable(
            "store_unavailable",
            "The database cannot be reached or is too busy. Repeat the request.",
            1,
        ),
        StoreError::KeyTaken | StoreError::Refused(_) | StoreError::Damaged(_) => {
            Problem::internal(error.to_string())
        }
    }
}

/// It may have happened, or may yet.
pub(crate) fn outcome_unknown() -> Problem {
    Problem::unavailable(
        "outcome_unknown",
        "The outcome is not known yet. Repeat the request with the same idempotency key to find out; \
         it will not be carried out twice.",
        1,
    )
}

/// The first request under the key still runs.
pub(crate) fn in_flight() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "request_in_flight",
        "A request with this idempotency key is still being processed. Repeat it to get its answer.",
    )
    .retry_after(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// `insufficient_funds` as `Insufficient funds`: a title is the same for every problem of a code.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// A value as JSON text. The types here serialize without fail; if one ever does not, its client is
/// told rather than given half a body.
pub(crate) fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(%error, "a body could not be written");
        r#"{"code":"internal_error"}"#.to_owned()
    })
}
