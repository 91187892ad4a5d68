//! Connections, and the drain at the end.
//!
//! ```text
//! shutdown ─► /readyz says 503 ─► no more connections ─► requests end ─► commands end ─► return
//!                                 └──────────── at most the drain timeout ───────────┘
//! ```

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::router::routes;
use crate::shared::{Api, Shared};

/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
    tokio::select! {
        () = connections.accept(&listener, announced) => {}
        () = shared.gate.keyring.write_uses() => {}
    }
    drop(listener);
    let drain = async {
        connections.graceful.shutdown().await;
        // Behind the connections: until they are closed, they may start commands.
        shared.running.close();
        shared.running.wait().await;
        shared.gate.keyring.write_uses_now().await;
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
    service: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl Connections {
    fn new(router: Router, settings: &crate::HttpSettings) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
        Self {
            http,
            service: TowerToHyperService::new(router),
            graceful: GracefulShutdown::new(),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
        }
    }

    async fn accept(&self, listener: &TcpListener, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        loop {
            let accepted = tokio::select! {
                () = &mut until => return,
                accepted = self.next(listener) => accepted,
            };
            if let Some((stream, place)) = accepted {
                self.start(stream, place);
            }
        }
    }

    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _)) => Some((stream, place)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                None
            }
        }
    }

    fn start(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        // A response is one small write; waiting for more to send would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket has no TCP_NODELAY");
        }
        let connection = self.http.serve_connection(TokioIo::new(stream), self.service.clone());
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
