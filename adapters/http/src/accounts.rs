//! Accounts: opening one, moving its money, freezing and reading it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use commands::accounts::{AccountRequest, Deposit};
use commands::idempotency::{Answer, KeyedRequest};
use domain::{AccountId, Money, PaymentId, PostingId};
use projections::ports::{AsOf, Projection};
use projections::{AccountBalance, AccountEntry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::{Decimal, account_body_as_of, balance_body, render, respond};
use crate::fields::{Field, Fields};
use crate::keyed::{self, RequestHash};
use crate::openapi::values;
use crate::path::{AccountPath, MomentQuery, PageQuery, account_not_found};
use crate::payments::change::read;
use crate::problem::{self, Problem};
use crate::reading::{self, Cursor, Page};
use crate::shared::{Shared, lost};
use crate::{body, ids};

/// Most characters of a reference or a reason.
const MAX_WORDS: usize = 256;

/// `POST /api/v1/accounts`: opens a user's account.
pub(crate) async fn open(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (parts, bytes) = read(&shared, request).await?;
    let fields = Fields::read(body::json(&parts.headers, &bytes)?, &["user_id", "currency"])?;
    let user_id = fields.required("user_id")?.id()?;
    let currency = fields.required("currency")?.currency()?;
    let account_id = AccountId::of_user(&user_id, currency);
    let hash = RequestHash::of("open_account").text(user_id.as_str()).text(currency.code());
    let keyed = keyed_request(&parts, hash, account_id.as_str())?;
    execute(&shared, AccountRequest::Open { user_id, currency }, keyed).await
}

/// `POST /api/v1/accounts/{account_id}/deposits`: money comes in.
pub(crate) async fn deposit(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, Movement { amount, reference }) = Movement::read(&shared, request).await?;
    let posting_id =
        PostingId::parse(&ids::time_ordered("dep_")).map_err(|error| Problem::internal(error.to_string()))?;
    let hash = RequestHash::of("deposit").text(account_id.as_str()).amount(amount).text(&reference);
    let keyed = keyed_request(&parts, hash, posting_id.as_str())?;
    let deposit = Deposit { account_id, posting_id, amount, reference };
    execute(&shared, AccountRequest::Deposit(deposit), keyed).await
}

/// `POST /api/v1/accounts/{account_id}/freeze`: nothing leaves from now on.
pub(crate) async fn freeze(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, bytes) = read(&shared, request).await?;
    let fields = Fields::read(body::optional_json(&parts.headers, &bytes)?, &["reason"])?;
    let reason = words(fields.optional("reason"))?;
    let hash = RequestHash::of("freeze_account").text(account_id.as_str()).text(&reason);
    let keyed = keyed_request(&parts, hash, account_id.as_str())?;
    execute(&shared, AccountRequest::Freeze { account_id, reason }, keyed).await
}

/// `POST /api/v1/accounts/{account_id}/unfreeze`: money may leave again.
pub(crate) async fn unfreeze(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    request: Request,
) -> Result<Response, Problem> {
    let keyed = bare(&shared, "unfreeze_account", &account_id, request).await?;
    execute(&shared, AccountRequest::Unfreeze { account_id }, keyed).await
}

/// `POST /api/v1/accounts/{account_id}/close`: closes an empty account for good.
pub(crate) async fn close(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    request: Request,
) -> Result<Response, Problem> {
    let keyed = bare(&shared, "close_account", &account_id, request).await?;
    execute(&shared, AccountRequest::Close { account_id }, keyed).await
}

/// `GET /api/v1/accounts/{account_id}`: the balance as the read model has it, or as the log had it at
/// a moment.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    MomentQuery { moment, min_position }: MomentQuery,
) -> Result<Response, Problem> {
    let (body, position) = match moment {
        None => {
            let AsOf { value, position, recorded_at } = balance(&shared, &account_id, min_position).await?;
            (value.map(|row| balance_body(&row, recorded_at)), position)
        }
        Some(moment) => {
            let read = shared.api.reader.account_at(&account_id, moment).await;
            let past = read.map_err(problem::read_failed)?.ok_or_else(not_reached)?;
            (account_body_as_of(&past.state, past.as_of), past.position)
        }
    };
    let body = body.ok_or_else(|| account_not_found(account_id))?;
    Ok(render(&Answer { status: StatusCode::OK.as_u16(), body, position: Some(position) }))
}

/// The balance row of an account. One that is not there (yet) is looked for again when the read model
/// has all that the log had: an account that was just opened is never said not to be.
async fn balance(
    shared: &Shared,
    account_id: &AccountId,
    min_position: Option<i64>,
) -> Result<AsOf<Option<AccountBalance>>, Problem> {
    let read_models = &shared.api.read_models;
    reading::wait_for(shared, Projection::AccountBalances, min_position).await?;
    let read = read_models.balance(account_id).await.map_err(reading::unreadable)?;
    if read.value.is_some() {
        return Ok(read);
    }
    reading::wait_for_head(shared, Projection::AccountBalances).await?;
    read_models.balance(account_id).await.map_err(reading::unreadable)
}

/// A line of a statement as clients see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryView<'a> {
    #[schema(value_type = values::Position)]
    position: i64,
    #[schema(value_type = values::EventId)]
    event_id: String,
    #[schema(value_type = values::EventType)]
    r#type: &'a str,
    #[schema(value_type = values::PostingId)]
    posting_id: &'a PostingId,
    #[schema(value_type = Option<values::PaymentId>, required)]
    payment_id: Option<&'a PaymentId>,
    /// Less than zero where money left.
    amount: Decimal,
    #[schema(value_type = values::Currency)]
    currency: &'static str,
    /// What was posted to the account behind this line.
    balance: Decimal,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[schema(value_type = values::Time)]
    recorded_at: String,
}

/// `GET /api/v1/accounts/{account_id}/entries`: the statement, newest line first.
pub(crate) async fn entries(
    State(shared): State<Arc<Shared>>,
    AccountPath(account_id): AccountPath,
    query: PageQuery,
) -> Result<Response, Problem> {
    reading::wait_for(&shared, Projection::AccountEntries, query.min_position).await?;
    // One more than asked for tells whether there is more.
    let read = shared.api.read_models.entries(&account_id, query.before, query.limit + 1).await;
    let AsOf { value: mut lines, position, recorded_at } = read.map_err(reading::unreadable)?;
    if lines.is_empty() {
        // No lines (yet), or no such account.
        let read = balance(&shared, &account_id, None).await?;
        read.value.ok_or_else(|| account_not_found(account_id))?;
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let has_more = lines.len() > limit;
    lines.truncate(limit);
    let next_cursor = lines.last().filter(|_| has_more).map(|line| Cursor(line.position).text());
    let data = lines.iter().map(entry_view).collect();
    let as_of = recorded_at.map(reading::time);
    Ok(render(&Page { data, has_more, next_cursor, position, as_of }.answer()))
}

fn entry_view(line: &AccountEntry) -> EntryView<'_> {
    EntryView {
        position: line.position,
        event_id: line.event_id.to_string(),
        r#type: &line.event_type,
        posting_id: &line.posting_id,
        payment_id: line.payment_id.as_ref(),
        amount: Decimal(line.amount),
        currency: line.amount.currency.code(),
        balance: Decimal(Money::new(line.balance, line.amount.currency)),
        reference: line.reference.as_deref(),
        recorded_at: reading::time(line.recorded_at),
    }
}

fn not_reached() -> Problem {
    let detail = "The log has not reached this position.";
    Problem::unprocessable("position_not_reached", detail).param("position")
}

fn words(field: Option<Field<'_>>) -> Result<String, Problem> {
    field.map(|field| field.words(MAX_WORDS)).transpose().map(Option::unwrap_or_default)
}

/// What comes in or leaves.
pub(crate) struct Movement {
    pub(crate) amount: Money,
    /// The client's own name for it.
    pub(crate) reference: String,
}

impl Movement {
    pub(crate) async fn read(shared: &Shared, request: Request) -> Result<(Parts, Self), Problem> {
        let (parts, bytes) = read(shared, request).await?;
        let fields = Fields::read(body::json(&parts.headers, &bytes)?, &["amount", "currency", "reference"])?;
        let amount = fields.required("amount")?;
        let amount = amount.amount(fields.required("currency")?.currency()?)?;
        let reference = words(fields.optional("reference"))?;
        Ok((parts, Self { amount, reference }))
    }
}

/// A request that says nothing but which account it is for.
async fn bare(
    shared: &Shared,
    operation: &str,
    account_id: &AccountId,
    request: Request,
) -> Result<KeyedRequest, Problem> {
    let (parts, bytes) = read(shared, request).await?;
    Fields::read(body::optional_json(&parts.headers, &bytes)?, &[])?;
    keyed_request(&parts, RequestHash::of(operation).text(account_id.as_str()), account_id.as_str())
}

fn keyed_request(parts: &Parts, hash: RequestHash, correlation_id: &str) -> Result<KeyedRequest, Problem> {
    let key = keyed::header_key(&parts.headers)?;
    keyed::keyed(parts, &key, hash, correlation_id)
}

async fn execute(shared: &Shared, request: AccountRequest, keyed: KeyedRequest) -> Result<Response, Problem> {
    let accounts = Arc::clone(&shared.api.accounts);
    let command = shared.run(async move { accounts.execute(request, keyed).await })?;
    match command.await {
        Ok(Ok(reply)) => Ok(respond(&reply)),
        Ok(Err(error)) => Err(problem::keyed_failed(error)),
        Err(error) => Err(lost(error)),
    }
}
