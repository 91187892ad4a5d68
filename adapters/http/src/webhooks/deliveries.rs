//! What became of sending events, and sending one again.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use commands::webhooks::ports::{Change, WebhookError};
use commands::webhooks::{DeliveryFilter, DeliveryId};

use crate::gate::Caller;
use crate::path::{DeliveriesQuery, NamePath, PaymentPath};
use crate::payments::payment_not_found;
use crate::problem::{self, Problem};
use crate::shared::Shared;

use super::view::delivery_page;
use super::{EndpointPath, bare, execute, ok, refused};

/// `GET /api/v1/deliveries`: those to all webhooks, the newest first.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    query: DeliveriesQuery,
) -> Result<Response, Problem> {
    page(&shared, &caller, DeliveryFilter::default(), &query).await.map(|(response, _)| response)
}

/// `GET /api/v1/webhooks/{endpoint_id}/deliveries`.
pub(crate) async fn of_endpoint(
    State(shared): State<Arc<Shared>>,
    EndpointPath(id): EndpointPath,
    caller: Caller,
    query: DeliveriesQuery,
) -> Result<Response, Problem> {
    // An endpoint that is not there is told from one to which nothing was sent.
    shared.api.webhooks.endpoints.endpoint(Some(caller.name()), &id).await.map_err(refused)?;
    let filter = DeliveryFilter { endpoint_id: Some(id), ..DeliveryFilter::default() };
    page(&shared, &caller, filter, &query).await.map(|(response, _)| response)
}

/// `GET /api/v1/payments/{payment_id}/deliveries`: those of all the events of a payment.
pub(crate) async fn of_payment(
    State(shared): State<Arc<Shared>>,
    PaymentPath(payment_id): PaymentPath,
    caller: Caller,
    query: DeliveriesQuery,
) -> Result<Response, Problem> {
    let filter =
        DeliveryFilter { payment_id: Some(payment_id.as_str().to_owned()), ..DeliveryFilter::default() };
    let (response, is_empty) = page(&shared, &caller, filter, &query).await?;
    if is_empty {
        let stored = shared.api.store.payment(&payment_id).await.map_err(problem::read_failed)?;
        if stored.position.is_none() {
            return Err(payment_not_found(payment_id));
        }
    }
    Ok(response)
}

/// `POST /api/v1/deliveries/{delivery_id}/resend`: tries one that has ended again.
pub(crate) async fn resend(
    State(shared): State<Arc<Shared>>,
    NamePath(id): NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let id: DeliveryId = id.parse().map_err(|_| refused(WebhookError::NoDelivery))?;
    let keyed = bare(&shared, request, "resend_delivery", &id.to_string()).await?;
    execute(&shared, keyed, Change::Resend { id }, StatusCode::ACCEPTED).await
}

/// A page of deliveries, and whether there is nothing on it.
async fn page(
    shared: &Shared,
    caller: &Caller,
    filter: DeliveryFilter,
    query: &DeliveriesQuery,
) -> Result<(Response, bool), Problem> {
    let filter = DeliveryFilter { caller: Some(caller.name().to_owned()), status: query.status, ..filter };
    // One more than asked for tells whether there is more.
    let read = shared.api.webhooks.deliveries.deliveries(&filter, query.before, query.limit + 1).await;
    let found = read.map_err(refused)?;
    Ok((ok(delivery_page(&found, query.limit)), found.is_empty()))
}
