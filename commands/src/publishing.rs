//! The log as an outbox: whoever publishes it outside, and how far that is.
//!
//! One process works, the [`Lead`]; others stand by and take over. How far the log was published is
//! marked after the fact, so a lead that dies leaves at worst a stretch that its successor publishes
//! again: whoever receives it drops positions that it has seen.

use async_trait::async_trait;

use crate::ports::{RecordedEvent, StoreError};

/// The log, to be published.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Tries to become the one that publishes; `None` while another process is it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without the database.
    async fn lead(&self) -> Result<Option<Box<dyn Lead>>, StoreError>;
}

/// The right to publish. It ends when it is dropped, or when its database connection breaks: every
/// call goes through that connection, so whoever has lost the lead learns of it at the next one.
#[async_trait]
pub trait Lead: Send {
    /// Position of the last event that was marked as published, 0 before the first.
    fn marked(&self) -> i64;

    /// Events behind a position, in the order of the log and without a gap, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a position is missing.
    async fn behind(&mut self, position: i64, limit: u32) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Marks the events up to a position as published.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the lead is lost.
    async fn mark(&mut self, position: i64) -> Result<(), StoreError>;

    /// Waits until the log may have grown beyond a position.
    async fn grown_beyond(&mut self, position: i64);
}

/// How far the log is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Position of the last event that was marked as published.
    pub position: i64,
    /// Position of the log's last event.
    pub head: i64,
    /// How long the oldest event that is not published has waited, in milliseconds; 0 when there is none.
    pub lag_ms: u64,
    /// Whether a process holds the lead.
    pub working: bool,
}

impl OutboxStatus {
    /// Events that are not published.
    #[must_use]
    pub fn lag(&self) -> i64 {
        self.head - self.position
    }
}

/// Tells how far the log is published.
#[async_trait]
pub trait OutboxMonitor: Send + Sync {
    /// `None` where nobody has ever published it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without the database.
    async fn status(&self) -> Result<Option<OutboxStatus>, StoreError>;
}
