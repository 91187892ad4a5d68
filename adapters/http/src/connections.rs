//! One connection each: how long it may take, and who goes when there are too many.
//!
//! ```text
//! accepted ─► (TLS handshake) ─► idle ─► head ─► served ─► idle ...
//!                 10 s           60 s    10 s    by the edge
//! ```
//!
//! **Invariant:** no connection keeps others out: when all places are taken, those go that have been idle
//! longest, whether or not they have begun to send a head. One whose request is being served never goes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use crate::gate::Peer;

/// Connections that go at a time when all places are taken.
const GO_AT_A_TIME: usize = 64;
/// While a request is being served.
const SERVING: u64 = u64::MAX;

/// The connections that are open.
pub(crate) struct Registry {
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Presence>>,
}

/// What a connection is at.
pub(crate) struct Presence {
    began: Instant,
    /// Milliseconds since the server began, or [`SERVING`].
    idle_since: AtomicU64,
    /// Requests that were begun.
    requests: AtomicU64,
    /// It has to go.
    pub(crate) evicted: CancellationToken,
}

/// Its place in the registry.
pub(crate) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    pub(crate) presence: Arc<Presence>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), open: Mutex::default() }
    }

    pub(crate) fn register(self: &Arc<Self>) -> Registered {
        let presence = Arc::new(Presence {
            began: self.began,
            idle_since: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            evicted: CancellationToken::new(),
        });
        presence.rest();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Arc::clone(&presence));
        Registered { registry: Arc::clone(self), number, presence }
    }

    /// Those that have been idle longest have to go. Returns how many.
    pub(crate) fn evict(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = open.connections.values().filter(|presence| !presence.evicted.is_cancelled());
        let mut idle: Vec<(u64, &Arc<Presence>)> = idle
            .map(|presence| (presence.idle_since.load(Ordering::Relaxed), presence))
            .filter(|(since, _)| *since != SERVING)
            .collect();
        let count = idle.len().min(GO_AT_A_TIME);
        if count < idle.len() {
            idle.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        for (_, presence) in &idle[..count] {
            presence.evicted.cancel();
        }
        count
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.number);
    }
}

impl Presence {
    pub(crate) fn is_serving(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) == SERVING
    }

    /// How many requests were begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn rest(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(SERVING - 1);
        self.idle_since.store(since, Ordering::Relaxed);
    }

    fn serve(self: &Arc<Self>) -> Serving {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.idle_since.store(SERVING, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }
}

/// A request that is being served.
struct Serving(Arc<Presence>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// The API for one connection.
pub(crate) struct Served {
    pub(crate) api: TowerToHyperService<Router>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) peer: Peer,
}

impl Service<Request<Incoming>> for Served {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let serving = self.presence.serve();
        request.extensions_mut().insert(self.peer);
        let answered = self.api.call(request);
        Box::pin(async move {
            let response = answered.await?;
            if response.body().size_hint().exact().is_some() {
                return Ok(response);
            }
            // A stream is being served until it ends.
            Ok(response.map(|body| Body::new(Streamed { body, _serving: serving })))
        })
    }
}

struct Streamed {
    body: Body,
    _serving: Serving,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_go_first_that_have_been_idle_longest_and_never_one_that_is_served() {
        let registry = Arc::new(Registry::new());
        let connections: Vec<Registered> = (0..200).map(|_| registry.register()).collect();
        for (since, connection) in (0..).zip(&connections) {
            connection.presence.idle_since.store(since, Ordering::Relaxed);
        }
        let serving = connections[3].presence.serve();
        assert_eq!(registry.evict(), GO_AT_A_TIME);
        let gone = |connection: &Registered| connection.presence.evicted.is_cancelled();
        let went: Vec<usize> = (0..200).filter(|number| gone(&connections[*number])).collect();
        let oldest: Vec<usize> = (0..=GO_AT_A_TIME).filter(|number| *number != 3).collect();
        assert_eq!(went, oldest);
        drop(serving);
        assert!(!connections[3].presence.is_serving());
        while registry.evict() > 0 {}
        assert!(connections.iter().all(gone));
        drop(connections);
        assert!(registry.open.lock().unwrap().connections.is_empty());
    }
}
