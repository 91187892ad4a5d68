//! Endpoints of webhooks: registering, reading, changing, rotating the secret.
//!
//! A secret is in two answers, that of the registration and that of the rotation (and in repeats of these
//! requests, while their keys are kept), and nowhere else.

pub(crate) mod deliveries;
pub(crate) mod view;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use commands::idempotency::{Answer, KeyedRequest};
use commands::webhooks::ports::{Change, EndpointChanges, Render, WebhookError};
use commands::webhooks::{EndpointStatus, EventFilter};

use crate::answers::{render, respond};
use crate::fields::{Field, Fields, too_long};
use crate::gate::Caller;
use crate::keyed::{self, RequestHash};
use crate::path::{NamePath, PlainQuery};
use crate::problem::Problem;
use crate::shared::{Shared, lost};
use crate::{body, ids};

use self::view::{changed, endpoint_body, endpoint_page};

/// Most characters of a URL.
const MAX_URL: usize = 2_048;
/// Most characters of a description.
const MAX_WORDS: usize = 256;
/// Most names in a filter; there are some 25 events.
const MAX_NAMES: usize = 100;

/// The endpoint that a path names. What is no id of ours is not looked for.
pub(crate) struct EndpointPath(String);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let NamePath(id) = NamePath::from_request_parts(parts, state).await?;
        let is_ours =
            id.strip_prefix("whe_").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_alphanumeric()));
        if is_ours { Ok(Self(id)) } else { Err(refused(WebhookError::NoEndpoint)) }
    }
}

/// `POST /api/v1/webhooks`: from now on, events are sent to a URL.
pub(crate) async fn register(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, shared.api.settings.body_limit).await?;
    let fields = Fields::read(body::json(&parts.headers, &bytes)?, &["url", "event_types", "description"])?;
    let key = keyed::header_key(&parts.headers)?;
    let url = fields.required("url")?;
    let filter = filter(fields.required("event_types")?)?;
    let description = fields.optional("description").map(|field| field.words(MAX_WORDS)).transpose()?;
    let description = description.unwrap_or_default();
    let url = checked_url(&shared, url).await?;
    let hash = RequestHash::of("register_webhook").text(&url).texts(filter.names()).text(&description);
    let id = ids::time_ordered("whe_");
    let keyed = keyed::keyed(&parts, &key, hash, &id)?;
    let change = Change::Register { id, url, filter, description, secret: ids::webhook_secret() };
    execute(&shared, keyed, change, StatusCode::CREATED).await
}

/// `POST /api/v1/webhooks/{endpoint_id}/rotate-secret`: another secret signs; the old one as well for a while.
pub(crate) async fn rotate_secret(
    State(shared): State<Arc<Shared>>,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Response, Problem> {
    let keyed = bare(&shared, request, "rotate_webhook_secret", &id).await?;
    let keep_old = shared.api.webhooks.keep_old_secret;
    let change = Change::RotateSecret { id, secret: ids::webhook_secret(), keep_old };
    execute(&shared, keyed, change, StatusCode::OK).await
}

/// `GET /api/v1/webhooks`: all of them, the oldest first.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let endpoints = shared.api.webhooks.endpoints.endpoints(Some(caller.name())).await.map_err(refused)?;
    Ok(ok(endpoint_page(&endpoints)))
}

/// `GET /api/v1/webhooks/{endpoint_id}`.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    EndpointPath(id): EndpointPath,
    caller: Caller,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let endpoint = shared.api.webhooks.endpoints.endpoint(Some(caller.name()), &id).await.map_err(refused)?;
    Ok(ok(endpoint_body(&endpoint, None)))
}

/// `PATCH /api/v1/webhooks/{endpoint_id}`: what is not given stays.
pub(crate) async fn update(
    State(shared): State<Arc<Shared>>,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts)?;
    let bytes = body::read(body, shared.api.settings.body_limit).await?;
    let text = body::json(&parts.headers, &bytes)?;
    let fields = Fields::read(text, &["url", "event_types", "description", "status"])?;
    let filter = fields.optional("event_types").map(filter).transpose()?;
    let description = fields.optional("description").map(|field| field.words(MAX_WORDS)).transpose()?;
    let status = fields.optional("status").map(status).transpose()?;
    let url = match fields.optional("url") {
        None => None,
        Some(url) => Some(checked_url(&shared, url).await?),
    };
    let changes = EndpointChanges { url, filter, description, status };
    let endpoints = Arc::clone(&shared.api.webhooks.endpoints);
    let command = shared.run(async move { endpoints.update(caller.name(), &id, &changes).await })?;
    let endpoint = command.await.map_err(lost)?.map_err(refused)?;
    Ok(ok(endpoint_body(&endpoint, None)))
}

/// `DELETE /api/v1/webhooks/{endpoint_id}`: nothing is sent any more.
pub(crate) async fn delete(
    State(shared): State<Arc<Shared>>,
    EndpointPath(id): EndpointPath,
    caller: Caller,
    _: PlainQuery,
) -> Result<Response, Problem> {
    let endpoints = Arc::clone(&shared.api.webhooks.endpoints);
    let command = shared.run(async move { endpoints.delete(caller.name(), &id).await })?;
    command.await.map_err(lost)?.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn filter(field: Field<'_>) -> Result<EventFilter, Problem> {
    EventFilter::parse(field.texts(MAX_NAMES)?).map_err(|error| field.refused("invalid_event_type", error))
}

fn status(field: Field<'_>) -> Result<EndpointStatus, Problem> {
    EndpointStatus::named(&field.text()?)
        .ok_or_else(|| field.refused("invalid_value", "must be `enabled` or `disabled`"))
}

/// A URL that messages may be sent to.
async fn checked_url(shared: &Shared, field: Field<'_>) -> Result<String, Problem> {
    let url = field.text()?.into_owned();
    if url.len() > MAX_URL {
        return Err(too_long("url", MAX_URL));
    }
    let checked = shared.api.webhooks.guard.check(&url).await;
    checked.map_err(|error| field.refused("invalid_url", error))?;
    Ok(url)
}

/// A keyed request that says nothing but what its path says.
async fn bare(
    shared: &Shared,
    request: Request,
    operation: &'static str,
    id: &str,
) -> Result<KeyedRequest, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, shared.api.settings.body_limit).await?;
    Fields::read(body::optional_json(&parts.headers, &bytes)?, &[])?;
    let key = keyed::header_key(&parts.headers)?;
    keyed::keyed(&parts, &key, RequestHash::of(operation).text(id), id)
}

/// Carries a change out in a task of its own, and answers it.
async fn execute(
    shared: &Shared,
    keyed: KeyedRequest,
    change: Change,
    status: StatusCode,
) -> Result<Response, Problem> {
    let endpoints = Arc::clone(&shared.api.webhooks.endpoints);
    let write: Box<Render> = Box::new(move |made| changed(made, status));
    let command = shared.run(async move { endpoints.change(&keyed.claim, &change, &*write).await })?;
    match command.await {
        Ok(Ok(reply)) => Ok(respond(&reply)),
        Ok(Err(error)) => Err(refused(error)),
        Err(error) => Err(lost(error)),
    }
}

fn ok(body: String) -> Response {
    render(&Answer { status: StatusCode::OK.as_u16(), body, position: None })
}

fn refused(error: WebhookError) -> Problem {
    let conflict = |code, detail| Problem::new(StatusCode::CONFLICT, code, detail);
    match error {
        WebhookError::Key(error) => keyed::conflict(error),
        WebhookError::NoEndpoint => {
            Problem::new(StatusCode::NOT_FOUND, "webhook_not_found", "There is no such webhook.")
        }
        WebhookError::NoDelivery => {
            Problem::new(StatusCode::NOT_FOUND, "delivery_not_found", "There is no such delivery.")
        }
        WebhookError::TooMany { most } => Problem::unprocessable(
            "too_many_webhooks",
            format!("There are {most} webhooks already; delete one that is not needed."),
        ),
        WebhookError::Pending => {
            conflict("delivery_pending", "This delivery is pending: it is tried without being asked for.")
        }
        WebhookError::NotEnabled => conflict(
            "webhook_not_enabled",
            "The webhook of this delivery is disabled or deleted. Enable it by PATCH first.",
        ),
        WebhookError::Unavailable => Problem::unavailable(
            "store_unavailable",
            "The database cannot be reached or is too busy. Repeat the request, with the same idempotency key \
             where it has one.",
            1,
        ),
        WebhookError::Damaged(cause) => Problem::internal(cause),
    }
}
