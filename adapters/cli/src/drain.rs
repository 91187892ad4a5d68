//! What a process does beside answering requests, and how all of it ends.
//!
//! ```text
//! asked to stop ─► /readyz says 503 ─► notice ─► no more connections ─► requests and payments end ─► over
//!                                            └─► saga, relay, notifier end ──────────────────────┘
//!                                                └────────── at most the drain timeout ─────────┘
//! ```
//!
//! **Invariants.** Until the notice is over all goes on as before. Whatever has not ended when time is up is
//! dropped, which loses nothing: it is taken up, here or by another process, where the events say it is. The projector
//! goes on to the end, since requests may wait for it; dropped, its transaction is as if it had never begun.

use adapter_http::{Api, Drained};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The roles of a process, each a task of its own: what they do is no part of what serving waits for.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    until_the_end: JoinSet<()>,
    until_asked: JoinSet<()>,
    stop: CancellationToken,
}

impl Roles {
    /// Starts one that can be dropped at any time.
    pub(crate) fn until_the_end(&mut self, role: impl Future<Output = ()> + Send + 'static) {
        self.until_the_end.spawn(role);
    }

    /// Starts one that ends what it has under way when [`Self::asked`] tells it to stop.
    pub(crate) fn until_asked(&mut self, role: impl Future<Output = ()> + Send + 'static) {
        self.until_asked.spawn(role);
    }

    /// Tells roles to stop.
    pub(crate) fn asked(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Serves until `shutdown`, then ends everything within the settings' bound.
    pub(crate) async fn serve(
        mut self,
        listener: TcpListener,
        api: Api,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Drained {
        let (notice, bound) = (api.settings.shutdown_notice, api.settings.drain_timeout);
        let asked = CancellationToken::new();
        let serving = adapter_http::serve(listener, api, async {
            shutdown.await;
            tracing::info!(?notice, ?bound, "asked to stop");
            asked.cancel();
        });
        let ending = async {
            asked.cancelled().await;
            tokio::time::sleep(notice).await;
            self.stop.cancel();
            let ended = async {
                while let Some(ended) = self.until_asked.join_next().await {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a role broke off");
                    }
                }
            };
            if tokio::time::timeout(bound, ended).await.is_err() {
                tracing::warn!(roles = self.until_asked.len(), "roles had not ended when time was up");
            }
        };
        let (drained, ()) = tokio::join!(serving, ending);
        tracing::info!(drained.open_connections, drained.running_commands, "stopped serving");
        drained
    }
}
