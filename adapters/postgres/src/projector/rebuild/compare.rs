//! What the tables that are read say otherwise than the log.

use domain::id::Id;
use projections::ports::Projection;
use projections::{AccountBalances, Payments};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::statements;
use crate::log::stretch;
use crate::projector::tables::Table;

/// Most differing rows that are described; all are counted.
const MOST_DESCRIBED: i64 = 100;

/// A projection beside the log, both as of one position.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The projection.
    pub projection: &'static str,
    /// The position.
    pub position: i64,
    /// Rows of the live table.
    pub rows: i64,
    /// How many rows differ, are missing or should not be there.
    pub different: i64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// A row that the log says otherwise.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What the row is found by.
    pub key: String,
    /// The row that is read, as JSON; `None` when it is missing.
    pub live: Option<String>,
    /// The row as the log has it; `None` when there should be none.
    pub log: Option<String>,
    /// The event at which they part: the live row is as the events before it left it, or this is the
    /// first event, and the live row is as none ever left it.
    pub parts_at: Option<i64>,
}

/// Compares the live table with the built one, which the connection's search path finds. Both are as
/// of a position.
pub(super) async fn compare(
    connection: &mut PgConnection,
    projection: Projection,
    position: i64,
) -> Result<Comparison, sqlx::Error> {
    // Here all rows are read: the settings by which folds find theirs would only be in the way.
    sqlx::query(
        "select set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
                set_config('enable_mergejoin', 'on', true)",
    )
    .execute(&mut *connection)
    .await?;
    let (rows, equal) = digest(connection, projection).await?;
    let mut comparison =
        Comparison { projection: projection.name(), position, rows, different: 0, differences: vec![] };
    if equal {
        return Ok(comparison);
    }
    let found =
        sqlx::query(statements::compare(projection)).bind(MOST_DESCRIBED).fetch_all(&mut *connection).await?;
    comparison.different = found.first().map_or(Ok(0), |row| row.try_get(5))?;
    let built: String =
        sqlx::query_scalar("select current_setting('search_path')").fetch_one(&mut *connection).await?;
    find_tables_in(connection, "read_models,public,pg_temp").await?;
    for row in &found {
        let key: String = row.try_get(0)?;
        let (live_at, built_at): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let parts_at = match projection {
            // A line is one event's.
            Projection::AccountEntries => live_at.or(built_at),
            Projection::AccountBalances => {
                parts_at::<AccountBalances, _>(connection, "account", &key, position).await?
            }
            Projection::Payments => parts_at::<Payments, _>(connection, "payment", &key, position).await?,
        };
        comparison.differences.push(Difference {
            key,
            live: row.try_get(3)?,
            log: row.try_get(4)?,
            parts_at,
        });
    }
    find_tables_in(connection, &built).await?;
    Ok(comparison)
}

/// How many rows the live table has, and whether they are those of the built one. Reading each row once
/// costs a fraction of joining them, which is left to the case that they differ. The seed is new each
/// time, so nobody can prepare rows whose hashes cancel out.
async fn digest(connection: &mut PgConnection, projection: Projection) -> Result<(i64, bool), sqlx::Error> {
    #[expect(clippy::disallowed_methods, reason = "chance, and no identifier")]
    let seed = Uuid::now_v7().as_u64_pair().1.cast_signed();
    let row = sqlx::query(statements::digest(projection)).bind(seed).fetch_one(connection).await?;
    let of = |first: usize| -> Result<(i64, Option<i64>), sqlx::Error> {
        Ok((row.try_get(first)?, row.try_get(first + 1)?))
    };
    let (live, built) = (of(0)?, of(2)?);
    Ok((live.0, live == built))
}

/// Where the statements of `tables` find their tables until the transaction ends.
async fn find_tables_in(connection: &mut PgConnection, search_path: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query("select set_config('search_path', $1, true)").bind(search_path);
    query.execute(connection).await.map(|_| ())
}

/// Folds one aggregate's events and finds the last at which its row was as the live one is.
async fn parts_at<M, K>(
    connection: &mut PgConnection,
    aggregate_type: &str,
    key: &str,
    position: i64,
) -> Result<Option<i64>, sqlx::Error>
where
    M: Table<Key = Id<K>>,
    M::State: PartialEq,
{
    let Ok(id) = Id::parse(key) else { return Ok(None) };
    let live = M::load(connection, &[id]).await?.pop().map(|(_, row)| row);
    let events = stretch::of_aggregate(connection, aggregate_type, key, position).await?;
    let (mut state, mut agreed) = (None, live.is_none().then_some(0));
    for (number, event) in (1..).zip(&events) {
        if M::apply(&mut state, event).is_err() {
            return Ok(Some(event.position));
        }
        if state == live {
            agreed = Some(number);
        }
    }
    Ok(events.get(agreed.unwrap_or(0)).or(events.last()).map(|event| event.position))
}
