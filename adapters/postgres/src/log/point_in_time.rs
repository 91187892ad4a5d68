//! What an account was at a moment of the past: its events up to it, folded.

use chrono::{DateTime, Utc};
use commands::ports::{AccountAt, Moment, StoreError};
use cqrs_es::Aggregate;
use domain::{Account, AccountId};
use sqlx::{PgPool, Row};

use super::unavailable;
use crate::database::fetch_all;
use crate::store::decode;

/// Events that one query reads.
const PAGE: i64 = 5_000;

/// Position of the last event.
pub(super) async fn head(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let rows = fetch_all(pool, sqlx::query("select position from event_log_head")).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}

/// The account at a moment, `None` for a position that the log has not reached.
pub(super) async fn account_at(
    pool: &PgPool,
    account: &AccountId,
    moment: Moment,
) -> Result<Option<AccountAt>, StoreError> {
    let position = match moment {
        Moment::Time(time) => position_at(pool, time).await.map_err(|error| unavailable(&error))?,
        Moment::Position(position) => {
            if position > head(pool).await.map_err(|error| unavailable(&error))? {
                return Ok(None);
            }
            position
        }
    };
    let as_of = recorded_at(pool, position).await.map_err(|error| unavailable(&error))?;
    let state = fold(pool, account, position).await?;
    Ok(Some(AccountAt { state, position, as_of }))
}

/// Position of the last event that was recorded by a time, 0 before the first: positions and times
/// grow together, so halving finds it by the primary key alone.
async fn position_at(pool: &PgPool, time: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    let (mut recorded_by_then, mut later) = (0, head(pool).await? + 1);
    while later - recorded_by_then > 1 {
        let middle = i64::midpoint(recorded_by_then, later);
        match recorded_at(pool, middle).await? {
            Some(recorded) if recorded <= time => recorded_by_then = middle,
            _ => later = middle,
        }
    }
    Ok(recorded_by_then)
}

async fn recorded_at(pool: &PgPool, position: i64) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let query = sqlx::query("select recorded_at from events where position = $1").bind(position);
    fetch_all(pool, query).await?.first().map(|row| row.try_get(0)).transpose()
}

async fn fold(pool: &PgPool, account: &AccountId, through: i64) -> Result<Account, StoreError> {
    let damaged = |error: String| StoreError::Damaged(format!("account {account}: {error}"));
    let (mut state, mut sequence) = (Account::default(), 0_i64);
    loop {
        let query = sqlx::query(
            "select sequence, event_type, event_version, payload::text from events
              where aggregate_type = 'account' and aggregate_id = $1 and sequence > $2 and position <= $3
              order by sequence limit $4",
        )
        .bind(account.as_str())
        .bind(sequence)
        .bind(through)
        .bind(PAGE);
        let rows = fetch_all(pool, query).await.map_err(|error| unavailable(&error))?;
        for row in &rows {
            let read = || -> Result<_, sqlx::Error> {
                Ok((row.try_get::<i64, _>(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
            };
            let (next, kind, version, payload): (i64, &str, &str, &str) =
                read().map_err(|error| damaged(error.to_string()))?;
            let event =
                decode::<Account>(kind, version, payload).map_err(|error| damaged(error.to_string()))?;
            state.apply(event);
            sequence = next;
        }
        if i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE {
            return Ok(state);
        }
    }
}
