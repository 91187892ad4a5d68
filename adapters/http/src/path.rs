//! Identifiers in paths, and queries.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use domain::id::Id;
use domain::{AccountId, PaymentId};

use crate::fields;
use crate::problem::Problem;

/// The payment that a path names.
pub(crate) struct PaymentPath(pub(crate) PaymentId);

/// The user's account that a path names. The system's own accounts (`settlement:card:USD:3`) are
/// not a client's to read, fund or freeze: for it they do not exist.
pub(crate) struct AccountPath(pub(crate) AccountId);

/// A reader's query: nothing, or `min_position`, which the log's own state always meets. Any other
/// parameter is refused, since an answer that ignores it would be a wrong one.
pub(crate) struct PlainQuery;

impl<S: Send + Sync> FromRequestParts<S> for PaymentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        id(parts, state, "payment_id").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AccountPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let account_id: AccountId = id(parts, state, "account_id").await?;
        if account_id.as_str().contains(':') {
            return Err(account_not_found(account_id));
        }
        Ok(Self(account_id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PlainQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name != "min_position" {
                let name: String = name.chars().take(64).collect();
                let detail = format!("There is no parameter `{name}` here.");
                return Err(Problem::unprocessable("unknown_parameter", detail).param(name));
            }
            if value.parse::<u64>().is_err() {
                let detail = "`min_position` must be a position, a whole number.";
                return Err(Problem::unprocessable("wrong_type", detail).param("min_position"));
            }
        }
        Ok(Self)
    }
}

/// There is no such account, or none that is a client's.
pub(crate) fn account_not_found(account_id: AccountId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "account_not_found", "There is no such account.").account(account_id)
}

async fn id<Kind, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    param: &'static str,
) -> Result<Id<Kind>, Problem> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::bad_request("malformed_path", "The path is not UTF-8."))?;
    fields::id(&text, param)
}
