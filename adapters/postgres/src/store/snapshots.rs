//! Snapshots: states of long streams, written off the write path.
//!
//! A snapshot is an optimisation and nothing else: when the writer is busy it is dropped, when its
//! fold is not ours it is ignored.

use std::sync::Arc;

use sqlx::{PgPool, Row};
use tokio::sync::mpsc;

use super::stored::StoredAggregate;
use crate::database::fetch_all;

/// Snapshots that may wait to be written.
const WAITING: usize = 256;

/// A state at a sequence.
#[derive(Debug)]
pub(super) struct Snapshot {
    aggregate_type: &'static str,
    aggregate_id: Arc<str>,
    sequence: i64,
    fold_hash: [u8; 32],
    state: String,
}

impl Snapshot {
    /// The snapshot that is due when a stream has grown from `before` to `sequence`.
    pub(super) fn due<A: StoredAggregate>(
        id: &Arc<str>,
        before: i64,
        sequence: i64,
        state: &A,
    ) -> Option<Self> {
        if before / A::SNAPSHOT_EVERY == sequence / A::SNAPSHOT_EVERY {
            return None;
        }
        Some(Self {
            aggregate_type: A::TYPE,
            aggregate_id: Arc::clone(id),
            sequence,
            fold_hash: A::fold_hash(),
            state: serde_json::to_string(state).ok()?,
        })
    }
}

/// Takes snapshots without waiting.
#[derive(Debug, Clone)]
pub(super) struct SnapshotWriter {
    sender: mpsc::Sender<Snapshot>,
}

impl SnapshotWriter {
    pub(super) fn new() -> (Self, mpsc::Receiver<Snapshot>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender }, receiver)
    }

    pub(super) fn offer(&self, snapshot: Snapshot) {
        if self.sender.try_send(snapshot).is_err() {
            tracing::debug!("snapshot skipped, the writer is busy");
        }
    }
}

/// Writes snapshots until every writer is gone.
pub(super) async fn write_snapshots(pool: PgPool, mut receiver: mpsc::Receiver<Snapshot>) {
    while let Some(snapshot) = receiver.recv().await {
        let written = sqlx::query(
            "insert into snapshots (aggregate_type, aggregate_id, sequence, fold_hash, state)
             values ($1, $2, $3, $4, $5::json)
             on conflict on constraint snapshots_pkey do update
                set sequence = excluded.sequence, fold_hash = excluded.fold_hash,
                    state = excluded.state, taken_at = now()
              where snapshots.sequence < excluded.sequence or snapshots.fold_hash <> excluded.fold_hash",
        )
        .bind(snapshot.aggregate_type)
        .bind(snapshot.aggregate_id.as_ref())
        .bind(snapshot.sequence)
        .bind(snapshot.fold_hash.as_slice())
        .bind(snapshot.state)
        .execute(&pool)
        .await;
        if let Err(error) = written {
            tracing::warn!(%error, "snapshot not written");
        }
    }
}

/// The latest snapshot of an aggregate that this program's fold has made.
pub(super) async fn latest<A: StoredAggregate>(
    pool: &PgPool,
    id: &str,
) -> Result<Option<(A, i64)>, sqlx::Error> {
    let fold_hash = A::fold_hash();
    let query = sqlx::query(
        "select sequence, state::text from snapshots
          where aggregate_type = $1 and aggregate_id = $2 and fold_hash = $3",
    )
    .bind(A::TYPE)
    .bind(id)
    .bind(fold_hash.as_slice());
    let rows = fetch_all(pool, query).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (sequence, state): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    match serde_json::from_str(&state) {
        Ok(state) => Ok(Some((state, sequence))),
        Err(error) => {
            tracing::warn!(%error, aggregate.id = id, "unreadable snapshot ignored");
            Ok(None)
        }
    }
}
