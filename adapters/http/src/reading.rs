//! Reading the read models: waiting until they have what a client has heard of, pages, cursors.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use commands::idempotency::Answer;
use projections::ports::{Projection, ReadError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::values;

use crate::problem::{self, Problem, json_text};
use crate::shared::Shared;

/// How long a reader waits for a position; a projection that is not down has it in milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// One page of a list, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
    #[schema(value_type = Option<values::Cursor>, required)]
    pub(crate) next_cursor: Option<String>,
    /// The position up to which the read model has folded the log.
    #[schema(value_type = values::Reached)]
    pub(crate) position: i64,
    /// When the event there was recorded.
    #[schema(value_type = Option<values::Time>, required)]
    pub(crate) as_of: Option<String>,
}

impl<T: Serialize> Page<T> {
    pub(crate) fn answer(&self) -> Answer {
        Answer { status: StatusCode::OK.as_u16(), body: json_text(self), position: None }
    }
}

/// Where a list goes on: from before a position, or behind it where the list is in the order of the log. Opaque to clients, so that it may become more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) i64);

impl Cursor {
    pub(crate) fn text(self) -> String {
        format!("c{:x}", self.0)
    }

    pub(crate) fn read(text: &str) -> Result<Self, Problem> {
        let position = text.strip_prefix('c').and_then(|hex| i64::from_str_radix(hex, 16).ok());
        position.filter(|position| *position >= 0).map(Self).ok_or_else(|| {
            let detail = "`cursor` must be the `next_cursor` of the page before.";
            Problem::unprocessable("invalid_cursor", detail).param("cursor")
        })
    }
}

/// A time as clients see it: RFC 3339, UTC, microseconds.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Waits until a projection has what a client has heard of.
pub(crate) async fn wait_for(
    shared: &Shared,
    projection: Projection,
    min_position: Option<i64>,
) -> Result<(), Problem> {
    let Some(position) = min_position else { return Ok(()) };
    let reached = async |patience| {
        shared.api.read_models.reached(projection, position, patience).await.map_err(unreadable)
    };
    if reached(Duration::ZERO).await? {
        return Ok(());
    }
    if position > shared.api.reader.head().await.map_err(problem::read_failed)? {
        let detail = "The log has not reached this position.";
        return Err(Problem::unprocessable("position_not_reached", detail).param("min_position"));
    }
    if reached(PATIENCE).await? { Ok(()) } else { Err(behind(projection)) }
}

/// Waits until a projection has all that the log has now: what is not there then is not there.
pub(crate) async fn wait_for_head(shared: &Shared, projection: Projection) -> Result<(), Problem> {
    let head = shared.api.reader.head().await.map_err(problem::read_failed)?;
    wait_for(shared, projection, Some(head)).await
}

fn behind(projection: Projection) -> Problem {
    let detail =
        format!("The read model `{}` is behind this position. Repeat the request.", projection.name());
    Problem::unavailable("read_model_behind", detail, 1)
}

/// A read model could not be read.
pub(crate) fn unreadable(error: ReadError) -> Problem {
    match error {
        ReadError::Unavailable => Problem::unavailable(
            "store_unavailable",
            "The database cannot answer now. Repeat the request.",
            1,
        ),
        ReadError::Damaged(cause) => Problem::internal(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        for position in [0, 1, 255, i64::MAX] {
            assert_eq!(Cursor::read(&Cursor(position).text()).unwrap(), Cursor(position));
        }
        for text in ["", "c", "12", "c-1", "cffffffffffffffffff", "cxyz", "c1 "] {
            assert!(Cursor::read(text).is_err(), "{text:?}");
        }
    }
}
