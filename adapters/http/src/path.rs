//! Identifiers in paths, and queries.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use chrono::DateTime;
use commands::ports::Moment;
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
        whole_numbers(parts, ["min_position"]).map(|_| Self)
    }
}

/// Which part of the log is asked for: what is behind `after`, at most `limit` events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogQuery {
    pub(crate) after: i64,
    pub(crate) limit: u32,
}

impl LogQuery {
    const DEFAULT_LIMIT: u32 = 100;
    const MOST: u32 = 1_000;
}

impl<S: Send + Sync> FromRequestParts<S> for LogQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [after, limit] = whole_numbers(parts, ["after", "limit"])?;
        let limit = match limit.map(u32::try_from) {
            None => Self::DEFAULT_LIMIT,
            Some(Ok(limit @ 1..=Self::MOST)) => limit,
            Some(_) => {
                let detail = format!("`limit` must be 1 to {}.", Self::MOST);
                return Err(Problem::unprocessable("out_of_range", detail).param("limit"));
            }
        };
        Ok(Self { after: after.unwrap_or(0), limit })
    }
}

/// The parameters of a query, each a whole number. Any other parameter is refused.
fn whole_numbers<const N: usize>(
    parts: &Parts,
    names: [&'static str; N],
) -> Result<[Option<i64>; N], Problem> {
    let mut numbers = [None; N];
    for ((number, name), value) in numbers.iter_mut().zip(names).zip(parameters(parts, names)?) {
        *number = value.map(|value| whole_number(name, &value)).transpose()?;
    }
    Ok(numbers)
}

fn whole_number(name: &'static str, value: &str) -> Result<i64, Problem> {
    value.parse().ok().filter(|number: &i64| *number >= 0).ok_or_else(|| {
        let detail = format!("`{name}` must be a whole number, 0 or more.");
        Problem::unprocessable("wrong_type", detail).param(name)
    })
}

/// The parameters of a query, by name. Any other parameter is refused.
fn parameters<const N: usize>(
    parts: &Parts,
    names: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Problem::bad_request("malformed_query", "The query cannot be read."))?;
    for (name, value) in pairs {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let name: String = name.chars().take(64).collect();
            let detail = format!("There is no parameter `{name}` here.");
            return Err(Problem::unprocessable("unknown_parameter", detail).param(name));
        };
        values[index] = Some(value);
    }
    Ok(values)
}

/// Which state of an account is asked for: the one of now, or that of a moment of the past.
pub(crate) struct MomentQuery(pub(crate) Option<Moment>);

impl<S: Send + Sync> FromRequestParts<S> for MomentQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [position, as_of, min_position] = parameters(parts, ["position", "as_of", "min_position"])?;
        // What is read is never older than any position that a client has heard of.
        min_position.map(|value| whole_number("min_position", &value)).transpose()?;
        Ok(Self(match (position, as_of) {
            (None, None) => None,
            (Some(position), None) => Some(Moment::Position(whole_number("position", &position)?)),
            (None, Some(as_of)) => {
                let time = DateTime::parse_from_rfc3339(&as_of).map_err(|_| {
                    let detail = "`as_of` must be a time such as 2026-11-25T08:30:00Z.";
                    Problem::unprocessable("wrong_type", detail).param("as_of")
                })?;
                Some(Moment::Time(time.to_utc()))
            }
            (Some(_), Some(_)) => {
                let detail = "Ask by `position` or by `as_of`, not by both.";
                return Err(Problem::unprocessable("conflicting_parameters", detail).param("as_of"));
            }
        }))
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
