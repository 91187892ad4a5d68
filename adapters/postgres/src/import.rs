//! An exported log, checked and loaded into a database whose log is empty.
//!
//! ```text
//! RecordedEvent ── LogCheck::take ──► CheckedEvent ── Import::add ──► rows
//!                  LogCheck::finish ► CheckedLog ──── Import::commit ► head row, durable
//! ```
//!
//! [`LogCheck`] needs no database: what can be told from the events alone. What needs one is asked here:
//! whether each event is the next of its stream, and whether an id came twice.
//!
//! **Invariants:** only what was checked can be added; everything is one transaction, so that a database
//! has the whole log or nothing of it; the head row is locked from the beginning, so that a running
//! engine waits with its appends and no position is given twice. Memory is bounded by the batches that
//! are given in, not by the log.

mod check;

use std::collections::HashMap;

use sqlx::{PgConnection, Postgres, Row, Transaction};

pub use check::{CheckedEvent, CheckedLog, LogCheck, LogError};

use crate::copy_rows::CopyRows;
use crate::database::Database;

/// Bytes that an event takes in a COPY, about.
const EVENT_BYTES: usize = 700;
/// Columns of [`COPY`].
const COLUMNS: i16 = 17;

/// Why a log was not imported. Nothing of it is in the database.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is a log already.
    #[error(
        "the log of this database is not empty: it ends at position {position}; import into a new database"
    )]
    NotEmpty {
        /// Where it ends.
        position: i64,
    },
    /// The log is not in order.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Fewer events were added than were checked.
    #[error("{added} events were added of {checked}")]
    Incomplete {
        /// Events in the database.
        added: i64,
        /// Events that were checked.
        checked: i64,
    },
    /// The database does not answer, or refuses a value.
    #[error("the database did not take the events behind position {position}: {source}")]
    Database {
        /// The last event that it took.
        position: i64,
        /// What it said.
        source: sqlx::Error,
    },
}

/// An import under way. Dropping it takes everything back.
#[derive(Debug)]
pub struct Import {
    transaction: Transaction<'static, Postgres>,
    position: i64,
}

impl Import {
    /// Begins one; from here on nobody else appends.
    ///
    /// # Errors
    /// [`ImportError::NotEmpty`], or the database does not answer.
    pub async fn begin(database: &Database) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Database { position: 0, source };
        let mut transaction = database.pool.begin().await.map_err(failed)?;
        let position = head(&mut transaction).await.map_err(failed)?;
        if position > 0 {
            return Err(ImportError::NotEmpty { position });
        }
        // The table is empty when the statements are planned, and is not when they are run.
        set(&mut transaction, "enable_seqscan", "off").await.map_err(failed)?;
        Ok(Self { transaction, position: 0 })
    }

    /// Adds the next events. A few thousand at a time are fast.
    ///
    /// # Errors
    /// [`LogError::Sequence`] names an event that is not the next of its stream; or the database does not
    /// answer.
    pub async fn add(&mut self, events: &[CheckedEvent]) -> Result<(), ImportError> {
        let streams = first_of_each_stream(events)?;
        let position = self.position;
        let failed = |source| ImportError::Database { position, source };
        if let Some(error) = not_next(&mut self.transaction, &streams).await.map_err(failed)? {
            return Err(error.into());
        }
        copy(&mut self.transaction, events).await.map_err(failed)?;
        self.position += i64::try_from(events.len()).unwrap_or(0);
        Ok(())
    }

    /// Makes the log durable, with its head.
    ///
    /// # Errors
    /// [`LogError::IdTwice`]; or the database does not answer, and whether the log is there must be
    /// looked up.
    pub async fn commit(mut self, log: &CheckedLog) -> Result<(), ImportError> {
        if self.position != log.position() {
            return Err(ImportError::Incomplete { added: self.position, checked: log.position() });
        }
        let position = self.position;
        let failed = |source| ImportError::Database { position, source };
        if let Some(error) = id_twice(&mut self.transaction).await.map_err(failed)? {
            return Err(error.into());
        }
        finish(&mut self.transaction, log).await.map_err(failed)?;
        self.transaction.commit().await.map_err(failed)
    }
}

/// Where the log ends. Nobody appends until the transaction ends.
async fn head(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let query = "select greatest(position, coalesce((select max(position) from events), 0))
                   from event_log_head for update";
    sqlx::query(query).fetch_one(connection).await?.try_get(0)
}

/// Sets something for the rest of the transaction.
async fn set(connection: &mut PgConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query("select set_config($1, $2, true)").bind(name).bind(value);
    query.execute(connection).await.map(|_| ())
}

/// For each stream its first event among these; within them every stream is dense.
fn first_of_each_stream(events: &[CheckedEvent]) -> Result<Vec<&CheckedEvent>, LogError> {
    let (mut first, mut last) = (vec![], HashMap::new());
    for checked in events {
        let event = checked.event();
        match last.insert((event.aggregate_type.as_str(), event.aggregate_id.as_str()), event.sequence) {
            None => first.push(checked),
            Some(before) if before + 1 == event.sequence => {}
            Some(before) => return Err(LogError::sequence(event, before + 1)),
        }
    }
    Ok(first)
}

/// The first of these events that does not follow what its stream has.
async fn not_next(
    connection: &mut PgConnection,
    first: &[&CheckedEvent],
) -> Result<Option<LogError>, sqlx::Error> {
    let events = || first.iter().map(|checked| checked.event());
    let query = sqlx::query(
        "select k.ordinal, coalesce(stream.sequence, 0) + 1
           from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality
                    as k(aggregate_type, aggregate_id, sequence, ordinal)
                left join lateral (
                    select e.sequence from events e
                     where e.aggregate_id = k.aggregate_id and e.aggregate_type = k.aggregate_type
                     order by e.sequence desc limit 1) as stream on true
          where k.sequence <> coalesce(stream.sequence, 0) + 1
          order by k.ordinal limit 1",
    );
    let wrong = query
        .bind(events().map(|event| event.aggregate_type.as_str()).collect::<Vec<_>>())
        .bind(events().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
        .bind(events().map(|event| event.sequence).collect::<Vec<_>>())
        .fetch_optional(connection)
        .await?;
    let Some(wrong) = wrong else { return Ok(None) };
    let (ordinal, expected): (i64, i64) = (wrong.try_get(0)?, wrong.try_get(1)?);
    let index = usize::try_from(ordinal - 1).unwrap_or(usize::MAX);
    let event = first.get(index).ok_or(sqlx::Error::RowNotFound)?.event();
    Ok(Some(LogError::sequence(event, expected)))
}

const COPY: &str = "
copy events (position, sequence, recorded_at, event_id, aggregate_type, aggregate_id, event_type,
             event_version, payload, correlation_id, causation_id, actor, traceparent, tracestate, baggage,
             hash, chain)
from stdin (format binary)";

async fn copy(connection: &mut PgConnection, events: &[CheckedEvent]) -> Result<(), sqlx::Error> {
    let mut rows = CopyRows::with_capacity(events.len() * EVENT_BYTES);
    for checked in events {
        let event = checked.event();
        rows.row(COLUMNS)
            .bigint(event.position)
            .bigint(event.sequence)
            .time(event.recorded_at)
            .uuid(checked.event_id())
            .text(&event.aggregate_type)
            .text(&event.aggregate_id)
            .text(&event.event_type)
            .text(&event.event_version)
            .text(&event.payload)
            .text(&event.correlation_id)
            .text(&event.causation_id)
            .text(&event.actor)
            .text(&event.traceparent)
            .optional_text(event.tracestate.as_deref())
            .optional_text(event.baggage.as_deref())
            .optional_bytes(event.hash.as_deref())
            .optional_bytes(event.chain.as_deref());
    }
    rows.send(connection, COPY).await
}

/// Two events with one id. No index of the ids is kept (ADR 7), so all of them are sorted once.
async fn id_twice(connection: &mut PgConnection) -> Result<Option<LogError>, sqlx::Error> {
    set(connection, "enable_seqscan", "on").await?;
    set(connection, "work_mem", "64MB").await?;
    let query = "select min(position), max(position) from events
                  group by event_id having count(*) > 1 order by 2 limit 1";
    let twice = sqlx::query(query).fetch_optional(connection).await?;
    twice.map(|row| Ok(LogError::IdTwice { first: row.try_get(0)?, position: row.try_get(1)? })).transpose()
}

/// Moves the head, and tells the planner and the index of ids of the rows: both would hear of them later.
async fn finish(connection: &mut PgConnection, log: &CheckedLog) -> Result<(), sqlx::Error> {
    let Some(recorded_at) = log.recorded_at() else { return Ok(()) };
    sqlx::query("update event_log_head set position = $1, recorded_at = $2, chain = $3")
        .bind(log.position())
        .bind(recorded_at)
        .bind(log.chain().as_slice())
        .execute(&mut *connection)
        .await?;
    // What happened elsewhere was told of there: no receiver that is registered here hears of it again.
    sqlx::query("update webhook_endpoints set after_position = greatest(after_position, $1)")
        .bind(log.position())
        .execute(&mut *connection)
        .await?;
    sqlx::query("select brin_summarize_new_values('events_event_id')").execute(&mut *connection).await?;
    sqlx::query("analyze events").execute(connection).await.map(|_| ())
}
