//! Reading an aggregate from the log: cold, and the tail that others have appended.
//!
//! The end of a stream comes with a batched read; for nearly every aggregate that is the whole
//! stream. A longer one is completed from its snapshot, through postgres-es, or in pages.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use commands::ports::StoreError;
use cqrs_es::EventEnvelope;
use cqrs_es::persist::PersistedEventRepository;
use domain::versions::decode_value;
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use uuid::Uuid;

use super::batched::Batched;
use super::lookup::{ReadStreams, StreamQuestion, StreamRow};
use super::slot::SlotState;
use super::snapshots::{self, Snapshot, SnapshotWriter};
use super::stored::{StoredAggregate, decode};
use crate::database::fetch_all;

/// Events up to this number are read by postgres-es in one piece; more of them in pages of it.
pub(super) const PAGE: i64 = 4_096;

/// Reads aggregates.
pub(super) struct Loader {
    pool: PgPool,
    repository: PostgresEventRepository,
    streams: Batched<ReadStreams>,
    snapshots: SnapshotWriter,
}

/// Where a state was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadAt {
    pub(super) position: i64,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) event_id: Uuid,
}

impl Loader {
    pub(super) fn new(pool: PgPool, streams: Batched<ReadStreams>, snapshots: SnapshotWriter) -> Self {
        Self { repository: PostgresEventRepository::new(pool.clone()), pool, streams, snapshots }
    }

    pub(super) fn is_served(&self) -> bool {
        self.streams.is_served()
    }

    /// Reads the whole aggregate, in bounded time where a snapshot helps.
    pub(super) async fn load<A: StoredAggregate>(&self, id: &str) -> Result<SlotState<A>, StoreError> {
        let mut state = SlotState { loaded: true, ..SlotState::default() };
        let tail = self.tail::<A>(id, 1).await?;
        if let Some(first) = tail.first() {
            if first.sequence > 1 {
                self.load_long(id, first.sequence - 1, &mut state).await?;
            }
            fold(id, &mut state, &tail)?;
        }
        Ok(state)
    }

    /// Reads what the log has beyond a state, and where the state now stands.
    pub(super) async fn refresh<A: StoredAggregate>(
        &self,
        id: &str,
        state: &mut SlotState<A>,
    ) -> Result<Option<ReadAt>, StoreError> {
        // The state's own last event is read again: its position is not kept.
        let tail = self.tail::<A>(id, state.sequence).await?;
        if let Some(first) = tail.first() {
            self.read_pages(id, first.sequence - 1, state).await?;
            fold(id, state, &tail)?;
        }
        Ok(tail.last().map(|last| ReadAt {
            position: last.position,
            recorded_at: last.recorded_at,
            event_id: last.event_id,
        }))
    }

    async fn tail<A: StoredAggregate>(&self, id: &str, from: i64) -> Result<Vec<StreamRow>, StoreError> {
        let question = StreamQuestion { aggregate_type: A::TYPE, aggregate_id: id.to_owned(), from };
        self.streams.ask(question).await
    }

    /// Reads a new state up to a sequence, or beyond.
    async fn load_long<A: StoredAggregate>(
        &self,
        id: &str,
        through: i64,
        state: &mut SlotState<A>,
    ) -> Result<(), StoreError> {
        let snapshot = snapshots::latest::<A>(&self.pool, id).await.map_err(|error| unavailable(&error))?;
        if let Some((aggregate, sequence)) = snapshot {
            state.aggregate = Arc::new(aggregate);
            state.sequence = sequence;
        }
        let snapshot_at = state.sequence;
        if through - state.sequence > PAGE {
            self.read_pages(id, through, state).await?;
        } else if through > state.sequence {
            self.read_with_postgres_es(id, state).await?;
        }
        if state.sequence < through {
            return Err(damaged::<A>(id, format!("its events end at {} before {through}", state.sequence)));
        }
        if state.sequence - snapshot_at > A::SNAPSHOT_EVERY {
            let id: Arc<str> = Arc::from(id);
            if let Some(snapshot) = Snapshot::due(&id, snapshot_at, state.sequence, &*state.aggregate) {
                self.snapshots.offer(snapshot);
            }
        }
        Ok(())
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
            let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
            expect_next::<A>(id, state, sequence)?;
            let event = decode_value(&event.event_type, &event.event_version, event.payload)
                .map_err(|error| damaged::<A>(id, error))?;
            Arc::make_mut(&mut state.aggregate).apply(event);
            state.sequence = sequence;
        }
        Ok(())
    }

    /// Reads a state on to a sequence, page by page; nothing when it is there already.
    async fn read_pages<A: StoredAggregate>(
        &self,
        id: &str,
        through: i64,
        state: &mut SlotState<A>,
    ) -> Result<(), StoreError> {
        while state.sequence < through {
            let query = sqlx::query(
                "select sequence, position, event_id, event_type, event_version, payload::text, recorded_at
                   from events
                  where aggregate_type = $1 and aggregate_id = $2 and sequence > $3
                  order by sequence limit $4",
            )
            .bind(A::TYPE)
            .bind(id)
            .bind(state.sequence)
            .bind(PAGE);
            let rows = fetch_all(&self.pool, query).await.map_err(|error| unavailable(&error))?;
            let page: Result<Vec<StreamRow>, sqlx::Error> = rows.iter().map(StreamRow::read).collect();
            let page = page.map_err(|error| damaged::<A>(id, error))?;
            if page.is_empty() {
                return Err(damaged::<A>(id, format!("nothing follows event {}", state.sequence)));
            }
            fold(id, state, &page)?;
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
                let payload = decode_value(&event.event_type, &event.event_version, event.payload)
                    .map_err(|error| damaged::<A>(id, error))?;
                let metadata =
                    serde_json::from_value(event.metadata).map_err(|error| damaged::<A>(id, error))?;
                let (aggregate_id, sequence) = (event.aggregate_id, event.sequence);
                Ok(EventEnvelope { aggregate_id, sequence, payload, metadata })
            })
            .collect()
    }
}

/// Applies the events that a state does not have yet.
fn fold<A: StoredAggregate>(
    id: &str,
    state: &mut SlotState<A>,
    rows: &[StreamRow],
) -> Result<(), StoreError> {
    for row in rows {
        if row.sequence > state.sequence {
            expect_next::<A>(id, state, row.sequence)?;
            let event = decode::<A>(&row.event_type, &row.event_version, &row.payload)
                .map_err(|error| damaged::<A>(id, error))?;
            Arc::make_mut(&mut state.aggregate).apply(event);
            state.sequence = row.sequence;
        }
    }
    Ok(())
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
