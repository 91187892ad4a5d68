//! `payments`.

use async_trait::async_trait;
use domain::payment::{CaptureMode, PaymentStatus};
use domain::{Money, PaymentId};
use projections::{Changes, PaymentRow, Payments};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Table, currency, id, optional_id, unreadable};
use crate::copy_rows::CopyRows;

#[async_trait]
impl Table for Payments {
    async fn load(
        connection: &mut PgConnection,
        keys: &[PaymentId],
    ) -> Result<Vec<(PaymentId, PaymentRow)>, sqlx::Error> {
        let keys: Vec<&str> = keys.iter().map(PaymentId::as_str).collect();
        let query = sqlx::query(
            "select payment_id, user_id, payer, payee, currency, amount, payment_method, capture, status,
                    risk::text, transaction_id, failure::text, review_reason, captured, refunded,
                    metadata::text, initiated_position, initiated_at, position, updated_at, caller
               from payments where payment_id = any($1)",
        );
        let rows = query.bind(keys).fetch_all(connection).await?;
        rows.iter().map(|row| payment(row).map(|row| (row.payment_id.clone(), row))).collect()
    }

    async fn write(connection: &mut PgConnection, changes: &Changes<Self>) -> Result<(), sqlx::Error> {
        if !changes.new.is_empty() {
            add(connection, changes.new.iter().map(|(_, row)| row)).await?;
        }
        if changes.changed.is_empty() {
            return Ok(());
        }
        let rows = || changes.changed.iter().map(|(_, row)| row);
        sqlx::query(
            "update payments as row
                set status = c.status, risk = c.risk::json, transaction_id = c.transaction_id,
                    failure = c.failure::json, review_reason = c.review_reason, captured = c.captured,
                    refunded = c.refunded, position = c.position, updated_at = c.updated_at
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
                           $8::bigint[], $9::bigint[], $10::timestamptz[])
                    as c(payment_id, status, risk, transaction_id, failure, review_reason, captured, refunded,
                         position, updated_at)
              where row.payment_id = c.payment_id collate \"C\" and row.position < c.position",
        )
        .bind(rows().map(|row| row.payment_id.as_str()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.status.name()).collect::<Vec<_>>())
        .bind(rows().map(|row| json_text("risk", row.risk.as_ref())).collect::<Result<Vec<_>, _>>()?)
        .bind(rows().map(|row| row.transaction_id.as_ref().map(|id| id.as_str())).collect::<Vec<_>>())
        .bind(rows().map(|row| json_text("failure", row.failure.as_ref())).collect::<Result<Vec<_>, _>>()?)
        .bind(rows().map(|row| row.review_reason.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.captured).collect::<Vec<_>>())
        .bind(rows().map(|row| row.refunded).collect::<Vec<_>>())
        .bind(rows().map(|row| row.position).collect::<Vec<_>>())
        .bind(rows().map(|row| row.updated_at).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// Adds rows.
async fn add<'a>(
    connection: &mut PgConnection,
    payments: impl ExactSizeIterator<Item = &'a PaymentRow> + Send,
) -> Result<(), sqlx::Error> {
    let mut rows = CopyRows::with_capacity(payments.len() * 400);
    for row in payments {
        rows.row(21)
            .text(row.payment_id.as_str())
            .text(row.user_id.as_str())
            .text(row.payer.as_str())
            .optional_text(row.payee.as_ref().map(|payee| payee.as_str()))
            .text(row.amount.currency.code())
            .bigint(row.amount.minor)
            .optional_text(row.payment_method.as_deref())
            .optional_text(row.capture.map(CaptureMode::name))
            .text(row.status.name())
            .optional_text(json_text("risk", row.risk.as_ref())?.as_deref())
            .optional_text(row.transaction_id.as_ref().map(|id| id.as_str()))
            .optional_text(json_text("failure", row.failure.as_ref())?.as_deref())
            .optional_text(row.review_reason.as_deref())
            .optional_bigint(row.captured)
            .optional_bigint(row.refunded)
            .optional_text(metadata(row)?.as_deref())
            .bigint(row.initiated_position)
            .time(row.initiated_at)
            .bigint(row.position)
            .time(row.updated_at)
            .text(&row.caller);
    }
    let copy = "copy payments (payment_id, user_id, payer, payee, currency, amount, payment_method, capture,
                               status, risk, transaction_id, failure, review_reason, captured, refunded,
                               metadata, initiated_position, initiated_at, position, updated_at, caller)
                from stdin (format binary)";
    rows.send(connection, copy).await
}

/// A row with the columns of `load`, in their order.
pub(crate) fn payment(row: &PgRow) -> Result<PaymentRow, sqlx::Error> {
    let (currency, status): (_, &str) = (currency(row.try_get(4)?)?, row.try_get(8)?);
    let capture: Option<&str> = row.try_get(7)?;
    let capture = capture.map(|name| CaptureMode::named(name).ok_or_else(|| unreadable("capture", name)));
    Ok(PaymentRow {
        payment_id: id("payment_id", row.try_get(0)?)?,
        user_id: id("user_id", row.try_get(1)?)?,
        payer: id("payer", row.try_get(2)?)?,
        payee: optional_id("payee", row.try_get(3)?)?,
        amount: Money::new(row.try_get(5)?, currency),
        payment_method: row.try_get(6)?,
        capture: capture.transpose()?,
        status: PaymentStatus::named(status).ok_or_else(|| unreadable("status", status))?,
        risk: from_json("risk", row.try_get(9)?)?,
        transaction_id: optional_id("transaction_id", row.try_get(10)?)?,
        failure: from_json("failure", row.try_get(11)?)?,
        review_reason: row.try_get(12)?,
        captured: row.try_get(13)?,
        refunded: row.try_get(14)?,
        metadata: from_json("metadata", row.try_get(15)?)?.unwrap_or_default(),
        initiated_position: row.try_get(16)?,
        initiated_at: row.try_get(17)?,
        position: row.try_get(18)?,
        updated_at: row.try_get(19)?,
        caller: row.try_get(20)?,
    })
}

/// Most payments have no notes: absent costs nothing.
fn metadata(row: &PaymentRow) -> Result<Option<String>, sqlx::Error> {
    json_text("metadata", (!row.metadata.is_empty()).then_some(&row.metadata))
}

fn json_text(column: &str, value: Option<&impl Serialize>) -> Result<Option<String>, sqlx::Error> {
    value.map(serde_json::to_string).transpose().map_err(|error| unreadable(column, error))
}

fn from_json<T: DeserializeOwned>(column: &str, text: Option<&str>) -> Result<Option<T>, sqlx::Error> {
    text.map(serde_json::from_str).transpose().map_err(|error| unreadable(column, error))
}
