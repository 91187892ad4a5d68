//! The log page by page, read and decoded ahead of whoever folds it.

use std::collections::VecDeque;

use projections::LogEvent;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::task::AbortOnDropHandle;

use super::stretch::stretch;

/// Events of one page.
const PAGE: i64 = 5_000;
/// Pages that are read and decoded at once, each on its own connection; also how many may wait, so
/// that memory is bounded however slow the reader is.
const AHEAD: usize = 3;

/// Reads stretches of the log with several connections. Positions have no gap, so each page is known
/// before the one in front of it is read.
#[derive(Debug, Clone)]
pub(crate) struct PageReader {
    pool: PgPool,
}

/// A stretch under way. Dropping it ends the reading.
#[derive(Debug)]
pub(crate) struct Pages {
    pool: PgPool,
    next: i64,
    through: i64,
    ahead: VecDeque<AbortOnDropHandle<Result<Vec<LogEvent>, sqlx::Error>>>,
}

impl PageReader {
    pub(crate) fn new(options: &PgConnectOptions) -> Self {
        let connections = u32::try_from(AHEAD).unwrap_or(u32::MAX);
        let pool = PgPoolOptions::new().max_connections(connections).test_before_acquire(false);
        Self { pool: pool.connect_lazy_with(options.clone()) }
    }

    /// The events behind a position, up to and with another.
    pub(crate) fn pages(&self, after: i64, through: i64) -> Pages {
        Pages { pool: self.pool.clone(), next: after, through, ahead: VecDeque::new() }
    }
}

impl Pages {
    /// The next page, `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<LogEvent>>, sqlx::Error> {
        while self.ahead.len() < AHEAD && self.next < self.through {
            let (pool, after) = (self.pool.clone(), self.next);
            let through = self.through.min(after + PAGE);
            self.next = through;
            #[expect(clippy::disallowed_methods, reason = "the handle ends the task with its owner")]
            let page = tokio::spawn(async move {
                let mut connection = pool.acquire().await?;
                stretch(&mut connection, after, through).await
            });
            self.ahead.push_back(AbortOnDropHandle::new(page));
        }
        let Some(page) = self.ahead.pop_front() else { return Ok(None) };
        page.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?.map(Some)
    }
}
