//! The log followed live, as server-sent events.
//!
//! ```text
//! id: 1234                 the position; a client that comes back sends it as Last-Event-ID
//! event: FundsHeld
//! data: {"event_id": ...}
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use commands::ports::RecordedEvent;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::view;
use crate::gate::Caller;
use crate::path::LogQuery;
use crate::problem::{Problem, json_text};
use crate::shared::{Shared, overloaded};

/// Where a follower is.
struct Follower {
    shared: Arc<Shared>,
    caller: Caller,
    position: i64,
    page: u32,
    read: VecDeque<RecordedEvent>,
    /// Its share of the bound on followers.
    _place: OwnedSemaphorePermit,
}

/// Streams what is behind `Last-Event-ID`, or else behind `after`; `limit` bounds each read.
pub(super) fn stream(
    shared: &Arc<Shared>,
    caller: Caller,
    query: LogQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let position = match headers.get("last-event-id") {
        None => query.after,
        Some(value) => {
            let position = value.to_str().ok().and_then(|text| text.parse().ok());
            position.filter(|position: &i64| *position >= 0).ok_or_else(|| {
                let detail = "`Last-Event-ID` must be the id of an event of this stream, a position.";
                Problem::bad_request("wrong_last_event_id", detail)
            })?
        }
    };
    let place = Arc::clone(&shared.followers).try_acquire_owned().map_err(|_| overloaded())?;
    let follower = Follower {
        shared: Arc::clone(shared),
        caller,
        position,
        page: query.limit,
        read: VecDeque::new(),
        _place: place,
    };
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

impl Follower {
    /// The next event, waited for. The stream ends when this process shuts down or cannot read, or when
    /// the client's credentials have ended; the client comes back with the last id that it has seen.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.position = event.position;
                // A payload that cannot be shown must not be passed over: the stream ends at it.
                let data = view(&event, self.shared.jaeger()).inspect_err(|problem| problem.log("")).ok()?;
                let shown = Event::default().id(event.position.to_string()).event(&event.event_type);
                return Some(shown.data(json_text(&data)));
            }
            if self.shared.is_draining() {
                return None;
            }
            let read = self.shared.api.reader.behind(self.position, self.page).await;
            self.read = read.ok()?.into();
            // It may have followed for days: a key that was revoked meanwhile opens nothing more.
            if !self.shared.gate.still_admits(&self.caller.0).await {
                return None;
            }
            if self.read.is_empty() {
                self.shared.api.reader.grown_beyond(self.position).await;
            }
        }
    }
}
