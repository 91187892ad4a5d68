//! Reading an aggregate from the log: cold, and the tail that others have appended.

use std::sync::Arc;

use commands::ports::StoreError;
use cqrs_es::EventEnvelope;
use cqrs_es::persist::PersistedEventRepository;
use postgres_es::PostgresEventRepository;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::batched::Batched;
use super::lookup::StreamQuestion;
use super::slot::SlotState;
use super::snapshots::{self, Snapshot, SnapshotWriter};
use super::stored::{StoredAggregate, check_version, decode};
use crate::database::fetch_all;

/// Streams up to this length are read by postgres-es in one piece; longer ones in pages of it.
const PAGE: i64 = 4_096;

/// Reads aggregates.
pub(super) struct Loader {
    pool: PgPool,
    repository: PostgresEventRepository,
    lengths: Batched<StreamQuestion, i64>,
    snapshots: SnapshotWriter,
}

/// Where a state was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadAt {
    pub(super) position: i64,
    pub(super) event_id: Uuid,
}

impl Loader {
    pub(super) fn new(
        pool: PgPool,
        lengths: Batched<StreamQuestion, i64>,
        snapshots: SnapshotWriter,
    ) -> Self {
        Self { repository: PostgresEventRepository::new(pool.clone()), pool, lengths, snapshots }
    }

    /// Reads the whole aggregate, in bounded time where a snapshot helps.
    pub(super) async fn load<A: StoredAggregate>(&self, id: &str) -> Result<SlotState<A>, StoreError> {
        let question = StreamQuestion { aggregate_type: A::TYPE, aggregate_id: id.to_owned() };
        let length = self.lengths.ask(question).await?;
        let mut state = SlotState { loaded: true, ..SlotState::default() };
        if length == 0 {
            return Ok(state);
        }
        if length > A::SNAPSHOT_EVERY {
            let snapshot =
                snapshots::latest::<A>(&self.pool, id).await.map_err(|error| unavailable(&error))?;
            if let Some((aggregate, sequence)) = snapshot {
                state.aggregate = aggregate;
                state.sequence = sequence;
            }
        }
        let snapshot_at = state.sequence;
        if length - state.sequence <= PAGE {
            self.read_with_postgres_es(id, &mut state).await?;
        } else {
            while state.sequence < length {
                self.refresh(id, &mut state).await?;
            }
        }
        if state.sequence < length {
            return Err(damaged::<A>(id, format!("{} of {length} events found", state.sequence)));
        }
        if state.sequence - snapshot_at > A::SNAPSHOT_EVERY {
            let id: Arc<str> = Arc::from(id);
            if let Some(snapshot) = Snapshot::due(&id, snapshot_at, state.sequence, &state.aggregate) {
                self.snapshots.offer(snapshot);
            }
        }
        Ok(state)
    }

    async fn read_with_postgres_es<A: StoredAggregate>(
        &self,
        id: &str,
        state: &mut SlotState<A>,
    ) -> Result<(), StoreError> {
        let from = usize::try_from(state.sequence).unwrap_or(0);
        let events = self
            .repository
            .get_last_events::<A>(id, from)
            .await
            .map_err(|error| StoreError::from(ReadError(error)))?;
        for event in events {
            check_version::<A>(&event.event_type, &event.event_version)
                .map_err(|error| damaged::<A>(id, error))?;
            let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
            expect_next::<A>(id, state, sequence)?;
            let payload = serde_json::from_value(event.payload).map_err(|error| damaged::<A>(id, error))?;
            state.aggregate.apply(payload);
            state.sequence = sequence;
            state.last_event_id = None;
        }
        Ok(())
    }

    /// Every event of a stream, in the framework's wrapping.
    pub(super) async fn events<A: StoredAggregate>(
        &self,
        id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, StoreError> {
        let events =
            self.repository.get_events::<A>(id).await.map_err(|error| StoreError::from(ReadError(error)))?;
        events
            .into_iter()
            .map(|event| {
                check_version::<A>(&event.event_type, &event.event_version)
                    .map_err(|error| damaged::<A>(id, error))?;
                EventEnvelope::try_from(event).map_err(|error| StoreError::from(ReadError(error)))
            })
            .collect()
    }

    /// Reads what the log has beyond a state, at most a page, and where the state now stands.
    pub(super) async fn refresh<A: StoredAggregate>(
        &self,
        id: &str,
        state: &mut SlotState<A>,
    ) -> Result<Option<ReadAt>, StoreError> {
        let query = sqlx::query(
            "select sequence, position, event_id, event_type, event_version, payload::text from events
              where aggregate_type = $1 and aggregate_id = $2 and sequence >= $3
              order by sequence limit $4",
        )
        .bind(A::TYPE)
        .bind(id)
        .bind(state.sequence)
        .bind(PAGE);
        let rows = fetch_all(&self.pool, query).await.map_err(|error| unavailable(&error))?;
        let mut read_at = None;
        for row in &rows {
            let row = StreamRow::read(row).map_err(|error| damaged::<A>(id, error))?;
            if row.sequence > state.sequence {
                expect_next::<A>(id, state, row.sequence)?;
                let event = decode::<A>(&row.event_type, &row.event_version, &row.payload)
                    .map_err(|error| damaged::<A>(id, error))?;
                state.aggregate.apply(event);
                state.sequence = row.sequence;
            }
            state.last_event_id = Some(row.event_id);
            read_at = Some(ReadAt { position: row.position, event_id: row.event_id });
        }
        Ok(read_at)
    }
}

struct StreamRow {
    sequence: i64,
    position: i64,
    event_id: Uuid,
    event_type: String,
    event_version: String,
    payload: String,
}

impl StreamRow {
    fn read(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            sequence: row.try_get(0)?,
            position: row.try_get(1)?,
            event_id: row.try_get(2)?,
            event_type: row.try_get(3)?,
            event_version: row.try_get(4)?,
            payload: row.try_get(5)?,
        })
    }
}

fn expect_next<A: StoredAggregate>(id: &str, state: &SlotState<A>, sequence: i64) -> Result<(), StoreError> {
    if sequence == state.sequence + 1 {
        return Ok(());
    }
    Err(damaged::<A>(id, format!("event {sequence} follows event {}", state.sequence)))
}

fn damaged<A: StoredAggregate>(id: &str, what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{} {id}: {what}", A::TYPE))
}

fn unavailable(error: &sqlx::Error) -> StoreError {
    tracing::warn!(%error, "cannot read from the event store");
    StoreError::Unavailable
}

/// An error of postgres-es, which wraps both a database that is away and a row that is wrong.
struct ReadError(cqrs_es::persist::PersistenceError);

impl From<ReadError> for StoreError {
    fn from(ReadError(error): ReadError) -> Self {
        use cqrs_es::persist::PersistenceError as E;
        match error {
            E::DeserializationError(error) => Self::Damaged(error.to_string()),
            E::OptimisticLockError | E::ConnectionError(_) | E::UnknownError(_) => {
                tracing::warn!(%error, "cannot read from the event store");
                Self::Unavailable
            }
        }
    }
}
