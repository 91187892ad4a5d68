//! `account_balances`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::AccountId;
use domain::account::AccountStatus;
use projections::{AccountBalance, AccountBalances, Changes};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Table, currency, id, optional_id, unreadable};
use crate::copy_rows::CopyRows;

#[async_trait]
impl Table for AccountBalances {
    async fn load(
        connection: &mut PgConnection,
        keys: &[AccountId],
    ) -> Result<Vec<(AccountId, AccountBalance)>, sqlx::Error> {
        let keys: Vec<&str> = keys.iter().map(AccountId::as_str).collect();
        let query = sqlx::query(
            "select account_id, user_id, currency, status, posted, held, position, event_id, recorded_at
               from account_balances where account_id = any($1)",
        );
        let rows = query.bind(keys).fetch_all(connection).await?;
        rows.iter().map(|row| balance(row).map(|row| (row.account_id.clone(), row))).collect()
    }

    async fn write(connection: &mut PgConnection, changes: &Changes<Self>) -> Result<(), sqlx::Error> {
        if !changes.new.is_empty() {
            let mut rows = CopyRows::with_capacity(changes.new.len() * 200);
            for (_, row) in &changes.new {
                rows.row(9)
                    .text(row.account_id.as_str())
                    .optional_text(row.user_id.as_ref().map(|user| user.as_str()))
                    .text(row.currency.code())
                    .text(row.status.name())
                    .bigint(row.posted)
                    .bigint(row.held)
                    .bigint(row.position)
                    .uuid(row.event_id)
                    .time(row.recorded_at);
            }
            let copy = "copy account_balances (account_id, user_id, currency, status, posted, held, position,
                                               event_id, recorded_at) from stdin (format binary)";
            rows.send(connection, copy).await?;
        }
        if changes.changed.is_empty() {
            return Ok(());
        }
        let rows = || changes.changed.iter().map(|(_, row)| row);
        sqlx::query(
            "update account_balances as row
                set status = c.status, posted = c.posted, held = c.held, position = c.position,
                    event_id = c.event_id, recorded_at = c.recorded_at
               from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[],
                           $7::timestamptz[])
                    as c(account_id, status, posted, held, position, event_id, recorded_at)
              where row.account_id = c.account_id collate \"C\" and row.position < c.position",
        )
        .bind(rows().map(|row| row.account_id.as_str()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.status.name()).collect::<Vec<_>>())
        .bind(rows().map(|row| row.posted).collect::<Vec<_>>())
        .bind(rows().map(|row| row.held).collect::<Vec<_>>())
        .bind(rows().map(|row| row.position).collect::<Vec<_>>())
        .bind(rows().map(|row| row.event_id).collect::<Vec<_>>())
        .bind(rows().map(|row| row.recorded_at).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// A row with the columns of `load`, in their order.
pub(crate) fn balance(row: &PgRow) -> Result<AccountBalance, sqlx::Error> {
    let status: &str = row.try_get(3)?;
    Ok(AccountBalance {
        account_id: id("account_id", row.try_get(0)?)?,
        user_id: optional_id("user_id", row.try_get(1)?)?,
        currency: currency(row.try_get(2)?)?,
        status: AccountStatus::named(status).ok_or_else(|| unreadable("status", status))?,
        posted: row.try_get(4)?,
        held: row.try_get(5)?,
        position: row.try_get(6)?,
        event_id: row.try_get::<Uuid, _>(7)?,
        recorded_at: row.try_get::<DateTime<Utc>, _>(8)?,
    })
}
