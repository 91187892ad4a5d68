//! How far each projection has come: its row in `projections`, which changes with its rows.

use chrono::{DateTime, Utc};
use projections::ports::Projection;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::tables::fold_hash;

/// A projection's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) position: i64,
    /// Raised when a rebuild replaces the rows.
    pub(super) generation: i64,
    /// Whether the rows were made by this program's fold.
    pub(super) current: bool,
    /// Whether an event stopped it.
    pub(super) failed: bool,
}

/// Where a projection goes in one transaction.
#[derive(Debug)]
pub(super) struct Advance {
    pub(super) projection: Projection,
    pub(super) position: i64,
    pub(super) recorded_at: Option<DateTime<Utc>>,
    /// The event behind that position that cannot be folded: position, id, reason.
    pub(super) stopped_at: Option<(i64, Uuid, String)>,
}

/// Makes the rows of projections that have none, at the beginning of the log.
pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for projection in Projection::ALL {
        sqlx::query(
            "insert into projections (name, position, fold_hash) values ($1, 0, $2)
             on conflict (name) do nothing",
        )
        .bind(projection.name())
        .bind(fold_hash(projection).as_slice())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A projection's row.
pub(super) async fn read(
    connection: &mut PgConnection,
    projection: Projection,
) -> Result<Checkpoint, sqlx::Error> {
    let query = sqlx::query(
        "select position, generation, fold_hash, failed_position is not null from projections where name = $1",
    );
    let row = query.bind(projection.name()).fetch_one(connection).await?;
    Ok(Checkpoint {
        position: row.try_get(0)?,
        generation: row.try_get(1)?,
        current: row.try_get::<&[u8], _>(2)? == fold_hash(projection),
        failed: row.try_get(3)?,
    })
}

/// Locks the rows of projections in the order of their names until the transaction ends. Whoever
/// holds such a lock alone moves the projection: a projector, or a rebuild that swaps.
pub(super) async fn lock(
    connection: &mut PgConnection,
    projections: &[Projection],
) -> Result<Vec<(Projection, i64, i64)>, sqlx::Error> {
    let names: Vec<&str> = projections.iter().map(|projection| projection.name()).collect();
    let query = sqlx::query(
        "select name, position, generation from projections where name = any($1) order by name for update",
    );
    let rows = query.bind(names).fetch_all(connection).await?;
    let mut locked = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: &str = row.try_get(0)?;
        let projection = Projection::named(name).ok_or(sqlx::Error::RowNotFound)?;
        locked.push((projection, row.try_get(1)?, row.try_get(2)?));
    }
    Ok(locked)
}

/// Moves projections whose rows are locked.
pub(super) async fn advance(connection: &mut PgConnection, advances: &[Advance]) -> Result<(), sqlx::Error> {
    let stopped = || advances.iter().map(|advance| advance.stopped_at.as_ref());
    // The span that recorded the event is read here, where it is needed, and not with every event.
    sqlx::query(
        "update projections p
            set position = a.position, recorded_at = coalesce(a.recorded_at, p.recorded_at),
                failed_at = case when a.failed_position is null then null
                                 when p.failed_position = a.failed_position then p.failed_at
                                 else clock_timestamp() end,
                failed_position = a.failed_position, failed_event_id = a.failed_event_id,
                failed_reason = a.failed_reason,
                failed_traceparent = (select e.traceparent from events e where e.position = a.failed_position),
                updated_at = clock_timestamp()
           from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::uuid[], $6::text[])
                as a(name, position, recorded_at, failed_position, failed_event_id, failed_reason)
          where p.name = a.name",
    )
    .bind(advances.iter().map(|advance| advance.projection.name()).collect::<Vec<_>>())
    .bind(advances.iter().map(|advance| advance.position).collect::<Vec<_>>())
    .bind(advances.iter().map(|advance| advance.recorded_at).collect::<Vec<_>>())
    .bind(stopped().map(|stopped| stopped.map(|stopped| stopped.0)).collect::<Vec<_>>())
    .bind(stopped().map(|stopped| stopped.map(|stopped| stopped.1)).collect::<Vec<_>>())
    .bind(stopped().map(|stopped| stopped.map(|stopped| stopped.2.as_str())).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(|_| ())
}
