//! `account_entries`.

use std::borrow::Cow;

use async_trait::async_trait;
use domain::{AccountId, Money};
use projections::entries::Running;
use projections::{AccountEntries, AccountEntry, Changes};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Table, currency, id, optional_id};
use crate::copy_rows::CopyRows;

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

    async fn write(connection: &mut PgConnection, changes: &Changes<Self>) -> Result<(), sqlx::Error> {
        let mut lines: Vec<&AccountEntry> = changes.lines.iter().collect();
        // As the table's key has them, so that neighbours go to one page of its index.
        lines.sort_unstable_by(|a, b| (&a.account_id, a.position).cmp(&(&b.account_id, b.position)));
        let mut rows = CopyRows::with_capacity(lines.len() * 250);
        for line in lines {
            rows.row(11)
                .text(line.account_id.as_str())
                .bigint(line.position)
                .uuid(line.event_id)
                .text(&line.event_type)
                .text(line.posting_id.as_str())
                .optional_text(line.payment_id.as_ref().map(|id| id.as_str()))
                .text(line.amount.currency.code())
                .bigint(line.amount.minor)
                .bigint(line.balance)
                .optional_text(line.reference.as_deref())
                .time(line.recorded_at);
        }
        let copy = "copy account_entries (account_id, position, event_id, event_type, posting_id, payment_id,
                                          currency, amount, balance, reference, recorded_at)
                    from stdin (format binary)";
        rows.send(connection, copy).await
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
