//! A log as the engine would have written it, made fast.

use sqlx::PgConnection;

use crate::Failure;

/// Users of the log; each has many payments.
pub(crate) const USERS: i64 = 10_000;
/// Payments of one statement.
const CHUNK: i64 = 20_000;

/// Makes the accounts at the beginning of an empty log. Returns the position of its end.
pub(crate) async fn accounts(connection: &mut PgConnection) -> Result<i64, Failure> {
    sqlx::query(include_str!("../fill_accounts.sql")).bind(USERS).execute(connection).await?;
    Ok(2 + 3 * USERS)
}

/// Adds payments by their numbers, seven events each.
pub(crate) async fn payments(connection: &mut PgConnection, first: i64, end: i64) -> Result<(), Failure> {
    let mut next = first;
    while next < end {
        let last = end.min(next + CHUNK) - 1;
        sqlx::query(include_str!("../fill_payments.sql"))
            .bind(next)
            .bind(last)
            .bind(USERS)
            .execute(&mut *connection)
            .await?;
        next = last + 1;
    }
    Ok(())
}
