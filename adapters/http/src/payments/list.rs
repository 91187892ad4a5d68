//! Payments found by user, status and time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::Money;
use projections::PaymentRow;
use projections::ports::{AsOf, Projection};

use super::{FailureView, PaymentView, risk_view};
use crate::answers::{Decimal, client_status, failure_detail, render};
use crate::path::PaymentsQuery;
use crate::problem::Problem;
use crate::reading::{self, Cursor, Page};
use crate::shared::Shared;

/// `GET /api/v1/payments`: newest first.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    PaymentsQuery { filter, page }: PaymentsQuery,
) -> Result<Response, Problem> {
    reading::wait_for(&shared, Projection::Payments, page.min_position).await?;
    // One more than asked for tells whether there is more.
    let read = shared.api.read_models.payments(&filter, page.before, page.limit + 1).await;
    let AsOf { value: mut rows, position, recorded_at } = read.map_err(reading::unreadable)?;
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| has_more).map(|row| Cursor(row.initiated_position).text());
    let data = rows.iter().map(view).collect();
    let as_of = recorded_at.map(reading::time);
    Ok(render(&Page { data, has_more, next_cursor, position, as_of }.answer()))
}

fn view(row: &PaymentRow) -> PaymentView<'_> {
    let amount = |minor| Decimal(Money::new(minor, row.amount.currency));
    PaymentView {
        payment_id: &row.payment_id,
        user_id: &row.user_id,
        kind: row.kind().name(),
        status: client_status(row.status),
        step: row.status.name(),
        amount: Decimal(row.amount),
        currency: row.amount.currency.code(),
        payment_method: row.payment_method.as_deref(),
        capture: row.capture,
        captured: row.captured.map(amount),
        refunded: row.refunded.map(amount),
        transaction_id: row.transaction_id.as_ref(),
        failure: row.failure.as_ref().map(|failure| FailureView {
            code: failure.code(),
            detail: failure_detail(failure, Some(row.amount)),
        }),
        risk: row.risk.as_ref().map(risk_view),
        created_at: Some(reading::time(row.initiated_at)),
        updated_at: Some(reading::time(row.updated_at)),
        metadata: &row.metadata,
    }
}
