//! Connections, and the drain at the end.
//!
//! ```text
//! shutdown ─► /readyz says 503 ─► no more connections ─► requests end ─► commands end ─► return
//!                                 └──────────── at most the drain timeout ───────────┘
//! ```

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::{Presence, Registry, Served};
use crate::gate::Peer;
use crate::patient::Patient;
use crate::router::routes;
use crate::shared::{Api, Shared};
use crate::tls::Tls;

/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Pause before others have to go where all places are taken by requests that are served.
const PLACE_RETRY: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had a request without a response when time was up.
    pub open_connections: usize,
    /// Commands that were still running; recovery takes them up where their events say they are.
    pub running_commands: usize,
}

/// Serves the API until `shutdown`, then drains within [`HttpSettings::drain_timeout`].
///
/// Connections are served here rather than by axum's own server, which has no time limit on headers
/// and no bound on connections.
///
/// [`HttpSettings::drain_timeout`]: crate::HttpSettings::drain_timeout
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()> + Send) -> Drained {
    let settings = api.settings.clone();
    let shared = Arc::new(Shared::new(api));
    let connections = Connections::new(routes(Arc::clone(&shared)), &settings);
    let announced = async {
        shutdown.await;
        shared.begin_drain();
        tokio::time::sleep(settings.shutdown_notice).await;
    };
    let renewing = async {
        match &settings.tls {
            Some(tls) => tls.follow_files().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = connections.accept(&listener, announced) => {}
        () = shared.gate.keep() => {}
        () = renewing => {}
    }
    drop(listener);
    let drain = async {
        connections.draining.cancel();
        connections.tasks.close();
        connections.tasks.wait().await;
        // Behind the connections: until they are closed, they may start commands.
        shared.running.close();
        shared.running.wait().await;
        shared.gate.end().await;
    };
    let in_time = tokio::time::timeout(settings.drain_timeout, drain).await.is_ok();
    let drained =
        Drained { open_connections: connections.tasks.len(), running_commands: shared.running.len() };
    if !in_time {
        tracing::warn!(drained.open_connections, drained.running_commands, "the drain ran out of time");
    }
    drained
}

struct Connections {
    http: http1::Builder,
    api: TowerToHyperService<Router>,
    tls: Option<Tls>,
    header_timeout: Duration,
    idle_timeout: Duration,
    draining: CancellationToken,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    registry: Arc<Registry>,
}

impl Connections {
    fn new(router: Router, settings: &crate::HttpSettings) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // From the end of the request before; what begins to come last has its time, see `Patient`.
            .header_read_timeout(settings.idle_timeout.saturating_add(settings.header_timeout))
            .max_headers(settings.max_headers)
            .max_header_size(settings.max_header_bytes);
        Self {
            http,
            api: TowerToHyperService::new(router),
            tls: settings.tls.clone(),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
            registry: Arc::new(Registry::new()),
        }
    }

    async fn accept(&self, listener: &TcpListener, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        loop {
            let accepted = tokio::select! {
                () = &mut until => return,
                accepted = self.next(listener) => accepted,
            };
            if let Some((stream, peer, place)) = accepted {
                self.start(stream, peer, place);
            }
        }
    }

    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, self.place().await?)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                None
            }
        }
    }

    /// A place for one more connection. When there is none, those go that have been idle longest.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            let went = self.registry.evict();
            tracing::debug!(went, "all connections are taken: the ones that were idle longest go");
            let place = tokio::time::timeout(PLACE_RETRY, Arc::clone(&self.places).acquire_owned()).await;
            if let Ok(place) = place {
                return place.ok();
            }
        }
    }

    fn start(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // A response is one small write; waiting for more to send would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket has no TCP_NODELAY");
        }
        let registered = self.registry.register();
        let presence = Arc::clone(&registered.presence);
        let connection = Connection {
            http: self.http.clone(),
            api: Served { api: self.api.clone(), presence: Arc::clone(&presence), peer: Peer(peer) },
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            draining: self.draining.clone(),
        };
        let tls = self.tls.clone();
        self.tasks.spawn(async move {
            let _held = (place, registered);
            let Some(tls) = tls else { return connection.serve(stream, presence).await };
            let secured = tokio::select! {
                secured = tokio::time::timeout(connection.header_timeout, tls.acceptor.accept(stream)) => secured,
                () = presence.evicted.cancelled() => return,
                () = connection.draining.cancelled() => return,
            };
            match secured {
                Ok(Ok(stream)) => connection.serve(stream, presence).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

/// What one connection is served with.
struct Connection {
    http: http1::Builder,
    api: Served,
    header_timeout: Duration,
    idle_timeout: Duration,
    draining: CancellationToken,
}

impl Connection {
    async fn serve<S>(self, stream: S, presence: Arc<Presence>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = Patient::new(stream, Arc::clone(&presence), self.header_timeout, self.idle_timeout);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), self.api));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = presence.evicted.cancelled() => {
                // Nothing runs between the look and the end: this task is the one that serves.
                if !presence.is_serving() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = self.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
