//! `payments`.

use async_trait::async_trait;
use domain::payment::{CaptureMode, PaymentStatus};
use domain::{Money, PaymentId};
use projections::{PaymentRow, Payments};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Table, currency, id, optional_id, unreadable};

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
                    metadata::text, initiated_position, initiated_at, position, updated_at
               from payments where payment_id = any($1)",
        );
        let rows = query.bind(keys).fetch_all(connection).await?;
        rows.iter().map(|row| payment(row).map(|row| (row.payment_id.clone(), row))).collect()
    }

    async fn write(
        connection: &mut PgConnection,
        states: &[(&PaymentId, &PaymentRow)],
        _: &[()],
    ) -> Result<(), sqlx::Error> {
        let rows = || states.iter().map(|(_, row)| row);
        sqlx::query(
            "insert into payments as row
                    (payment_id, user_id, payer, payee, currency, amount, payment_method, capture, status,
                     risk, transaction_id, failure, review_reason, captured, refunded, metadata,
                     initiated_position, initiated_at, position, updated_at)
             select r.payment_id, r.user_id, r.payer, r.payee, r.currency, r.amount, r.payment_method,
                    r.capture, r.status, r.risk::json, r.transaction_id, r.failure::json, r.review_reason,
                    r.captured, r.refunded, r.metadata::json, r.initiated_position, r.initiated_at,
                    r.position, r.updated_at
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                           $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                           $13::text[], $14::bigint[], $15::bigint[], $16::text[], $17::bigint[],
                           $18::timestamptz[], $19::bigint[], $20::timestamptz[])
                    as r(payment_id, user_id, payer, payee, currency, amount, payment_method, capture, status,
                         risk, transaction_id, failure, review_reason, captured, refunded, metadata,
                         initiated_position, initiated_at, position, updated_at)
             on conflict (payment_id) do update
                set status = excluded.status, risk = excluded.risk, transaction_id = excluded.transaction_id,
                    failure = excluded.failure, review_reason = excluded.review_reason,
                    captured = excluded.captured, refunded = excluded.refunded,
                    position = excluded.position, updated_at = excluded.updated_at
              where row.position < excluded.position",
        )
        .bind(rows().map(|row| row.payment_id.as_str()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.user_id.as_str()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.payer.as_str()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.payee.as_ref().map(|payee| payee.as_str())).collect::<Vec<_>>())
        .bind(rows().map(|row| row.amount.currency.code()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.amount.minor).collect::<Vec<_>>())
        .bind(rows().map(|row| row.payment_method.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.capture.map(CaptureMode::name)).collect::<Vec<_>>())
        .bind(rows().map(|row| row.status.name()).collect::<Vec<_>>())
        .bind(rows().map(|row| json_text("risk", row.risk.as_ref())).collect::<Result<Vec<_>, _>>()?)
        .bind(rows().map(|row| row.transaction_id.as_ref().map(|id| id.as_str())).collect::<Vec<_>>())
        .bind(rows().map(|row| json_text("failure", row.failure.as_ref())).collect::<Result<Vec<_>, _>>()?)
        .bind(rows().map(|row| row.review_reason.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.captured).collect::<Vec<_>>())
        .bind(rows().map(|row| row.refunded).collect::<Vec<_>>())
        .bind(rows().map(metadata).collect::<Result<Vec<_>, _>>()?)
        .bind(rows().map(|row| row.initiated_position).collect::<Vec<_>>())
        .bind(rows().map(|row| row.initiated_at).collect::<Vec<_>>())
        .bind(rows().map(|row| row.position).collect::<Vec<_>>())
        .bind(rows().map(|row| row.updated_at).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(|_| ())
    }
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
    })
}

/// Most payments have no notes: absent costs nothing.
fn metadata(row: &&PaymentRow) -> Result<Option<String>, sqlx::Error> {
    json_text("metadata", (!row.metadata.is_empty()).then_some(&row.metadata))
}

fn json_text(column: &str, value: Option<&impl Serialize>) -> Result<Option<String>, sqlx::Error> {
    value.map(serde_json::to_string).transpose().map_err(|error| unreadable(column, error))
}

fn from_json<T: DeserializeOwned>(column: &str, text: Option<&str>) -> Result<Option<T>, sqlx::Error> {
    text.map(serde_json::from_str).transpose().map_err(|error| unreadable(column, error))
}
