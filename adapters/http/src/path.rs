//! Identifiers in paths, and queries.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use commands::ports::Moment;
use commands::shown;
use commands::webhooks::DeliveryStatus;
use domain::id::Id;
use domain::payment::PaymentStatus;
use domain::{AccountId, PaymentId};
use projections::ports::PaymentFilter;

use crate::answers::client_status;
use crate::problem::Problem;
use crate::reading::Cursor;
use crate::shared::Shared;
use crate::{fields, gate};

/// The payment that a path names. One that another caller asked for is not there, but for operators.
pub(crate) struct PaymentPath(pub(crate) PaymentId);

/// The user's account that a path names. The system's own accounts (`settlement:card:USD:3`) are
/// not a client's to read, fund or freeze: for it they do not exist.
pub(crate) struct AccountPath(pub(crate) AccountId);

/// The trace that a path names.
pub(crate) struct TracePath(pub(crate) String);

/// Whatever a path names, as text.
pub(crate) struct NamePath(pub(crate) String);

/// A reader's query: nothing, or `min_position`, which the log's own state always meets. Any other
/// parameter is refused, since an answer that ignores it would be a wrong one.
pub(crate) struct PlainQuery;

impl FromRequestParts<Arc<Shared>> for PaymentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let payment_id = id(parts, shared, "payment_id").await?;
        gate::must_be_own(shared, parts, &payment_id).await?;
        Ok(Self(payment_id))
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

impl<S: Send + Sync> FromRequestParts<S> for TracePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let trace_id = name(parts, state).await?;
        if !shown::is_trace_id(&trace_id) {
            let detail = "`trace_id` must be 32 hexadecimal digits in lower case.";
            return Err(Problem::bad_request("invalid_trace_id", detail).param("trace_id"));
        }
        Ok(Self(trace_id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        name(parts, state).await.map(Self)
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

/// Entries of a page where no limit is given.
const DEFAULT_LIMIT: u32 = 100;
/// Most entries of a page.
const MOST: u32 = 1_000;

fn page_limit(limit: Option<i64>) -> Result<u32, Problem> {
    match limit.map(u32::try_from) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit @ 1..=MOST)) => Ok(limit),
        Some(_) => {
            let detail = format!("`limit` must be 1 to {MOST}.");
            Err(Problem::unprocessable("out_of_range", detail).param("limit"))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LogQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [after, limit] = whole_numbers(parts, ["after", "limit"])?;
        Ok(Self { after: after.unwrap_or(0), limit: page_limit(limit)? })
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
    // Digits alone: Rust reads a sign as well.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| {
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
        if values[index].replace(value).is_some() {
            let detail = format!("The parameter `{name}` is given twice.");
            return Err(Problem::unprocessable("repeated_parameter", detail).param(name));
        }
    }
    Ok(values)
}

/// Which page of a list in the order of the log is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForwardQuery {
    /// Goes on from behind this position.
    pub(crate) after: i64,
    pub(crate) limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for ForwardQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [cursor, limit] = parameters(parts, ["cursor", "limit"])?;
        let page = PageQuery::read(cursor, limit, None)?;
        Ok(Self { after: page.before.unwrap_or(0), limit: page.limit })
    }
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageQuery {
    /// Goes on from before this position.
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
    /// What the read model must have folded.
    pub(crate) min_position: Option<i64>,
}

impl PageQuery {
    fn read(
        cursor: Option<String>,
        limit: Option<String>,
        min_position: Option<String>,
    ) -> Result<Self, Problem> {
        Ok(Self {
            before: cursor.map(|text| Cursor::read(&text)).transpose()?.map(|cursor| cursor.0),
            limit: page_limit(limit.map(|value| whole_number("limit", &value)).transpose()?)?,
            min_position: min_position.map(|value| whole_number("min_position", &value)).transpose()?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [cursor, limit, min_position] = parameters(parts, ["cursor", "limit", "min_position"])?;
        Self::read(cursor, limit, min_position)
    }
}

/// Which deliveries are asked for, and which page of them.
pub(crate) struct DeliveriesQuery {
    pub(crate) status: Option<DeliveryStatus>,
    /// Goes on from before this number.
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveriesQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [status, cursor, limit] = parameters(parts, ["status", "cursor", "limit"])?;
        let named = |name: String| {
            DeliveryStatus::named(&name).ok_or_else(|| {
                let known = DeliveryStatus::ALL.map(DeliveryStatus::name).join("`, `");
                let detail = format!("`status` must be one of `{known}`.");
                Problem::unprocessable("invalid_value", detail).param("status")
            })
        };
        let page = PageQuery::read(cursor, limit, None)?;
        Ok(Self { status: status.map(named).transpose()?, before: page.before, limit: page.limit })
    }
}

/// Which payments are asked for, and which page of them.
pub(crate) struct PaymentsQuery {
    pub(crate) filter: PaymentFilter,
    pub(crate) page: PageQuery,
}

impl<S: Send + Sync> FromRequestParts<S> for PaymentsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let names = ["user_id", "status", "from", "to", "cursor", "limit", "min_position"];
        let [user_id, status, from, to, cursor, limit, min_position] = parameters(parts, names)?;
        let filter = PaymentFilter {
            caller: gate::only_of(parts)?,
            user_id: user_id.map(|text| fields::id(&text, "user_id")).transpose()?,
            statuses: status.map(|name| statuses(&name)).transpose()?.unwrap_or_default(),
            from: from.map(|text| moment("from", &text)).transpose()?,
            to: to.map(|text| moment("to", &text)).transpose()?,
        };
        Ok(Self { filter, page: PageQuery::read(cursor, limit, min_position)? })
    }
}

/// The saga's steps behind a status that clients see.
fn statuses(name: &str) -> Result<Vec<PaymentStatus>, Problem> {
    let begun = || PaymentStatus::ALL.into_iter().filter(|status| *status != PaymentStatus::New);
    let found: Vec<_> = begun().filter(|status| client_status(*status) == name).collect();
    if found.is_empty() {
        let mut known: Vec<&str> = begun().map(client_status).collect();
        known.dedup();
        let mut seen = std::collections::BTreeSet::new();
        known.retain(|name| seen.insert(*name));
        let detail = format!("`status` must be one of `{}`.", known.join("`, `"));
        return Err(Problem::unprocessable("invalid_value", detail).param("status"));
    }
    Ok(found)
}

/// A time such as 2026-11-25T08:30:00Z.
fn moment(name: &'static str, text: &str) -> Result<DateTime<Utc>, Problem> {
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).map_err(|_| {
        let detail = format!("`{name}` must be a time such as 2026-11-25T08:30:00Z.");
        Problem::unprocessable("wrong_type", detail).param(name)
    })
}

/// Which state of an account is asked for: the one of now, or that of a moment of the past.
pub(crate) struct MomentQuery {
    pub(crate) moment: Option<Moment>,
    /// What the read model must have folded.
    pub(crate) min_position: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for MomentQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let [position, as_of, min_position] = parameters(parts, ["position", "as_of", "min_position"])?;
        let min_position = min_position.map(|value| whole_number("min_position", &value)).transpose()?;
        let moment = match (position, as_of) {
            (None, None) => None,
            (Some(position), None) => Some(Moment::Position(whole_number("position", &position)?)),
            (None, Some(as_of)) => Some(Moment::Time(moment("as_of", &as_of)?)),
            (Some(_), Some(_)) => {
                let detail = "Ask by `position` or by `as_of`, not by both.";
                return Err(Problem::unprocessable("conflicting_parameters", detail).param("as_of"));
            }
        };
        Ok(Self { moment, min_position })
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
    fields::id(&name(parts, state).await?, param)
}

/// Axum's own refusal would be no problem, but text.
async fn name<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let read = Path::<String>::from_request_parts(parts, state).await;
    let Path(text) = read.map_err(|_| Problem::bad_request("malformed_path", "The path is not UTF-8."))?;
    Ok(text)
}
