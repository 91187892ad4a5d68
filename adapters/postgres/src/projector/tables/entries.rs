//! `account_entries`.

use std::borrow::Cow;

use async_trait::async_trait;
use domain::{AccountId, Money};
use projections::entries::Running;
use projections::{AccountEntries, AccountEntry};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Table, currency, id, optional_id};

#[async_trait]
impl Table for AccountEntries {
    async fn load(
        connection: &mut PgConnection,
        keys: &[AccountId],
    ) -> Result<Vec<(AccountId, Running)>, sqlx::Error> {
        let keys: Vec<&str> = keys.iter().map(AccountId::as_str).collect();
        let query = sqlx::query(
            "select last.account_id, last.currency, last.balance, last.position
               from unnest($1::text[]) as asked(account_id),
                    lateral (select e.account_id, e.currency, e.balance, e.position from account_entries e
                              where e.account_id = asked.account_id
                              order by e.position desc limit 1) as last",
        );
        let rows = query.bind(keys).fetch_all(connection).await?;
        rows.iter()
            .map(|row| {
                let running = Running {
                    currency: currency(row.try_get(1)?)?,
                    balance: row.try_get(2)?,
                    position: row.try_get(3)?,
                };
                Ok((id("account_id", row.try_get(0)?)?, running))
            })
            .collect()
    }

    async fn write(
        connection: &mut PgConnection,
        _: &[(&AccountId, &Running)],
        lines: &[AccountEntry],
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into account_entries (account_id, position, event_id, event_type, posting_id, payment_id,
                                          currency, amount, balance, reference, recorded_at)
             select * from unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                                  $7::text[], $8::bigint[], $9::bigint[], $10::text[], $11::timestamptz[])",
        )
        .bind(lines.iter().map(|line| line.account_id.as_str()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.position).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.event_id).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.event_type.as_ref()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.posting_id.as_str()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.payment_id.as_ref().map(|id| id.as_str())).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.amount.currency.code()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.amount.minor).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.balance).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.reference.as_deref()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.recorded_at).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// A line with the columns of `write`, in their order.
pub(crate) fn entry(row: &PgRow) -> Result<AccountEntry, sqlx::Error> {
    Ok(AccountEntry {
        account_id: id("account_id", row.try_get(0)?)?,
        position: row.try_get(1)?,
        event_id: row.try_get(2)?,
        event_type: Cow::Owned(row.try_get(3)?),
        posting_id: id("posting_id", row.try_get(4)?)?,
        payment_id: optional_id("payment_id", row.try_get(5)?)?,
        amount: Money::new(row.try_get(7)?, currency(row.try_get(6)?)?),
        balance: row.try_get(8)?,
        reference: row.try_get(9)?,
        recorded_at: row.try_get(10)?,
    })
}
