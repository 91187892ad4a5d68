//! When to stop, and when to stop at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// What a process says that was asked a second time.
pub(crate) const AT_ONCE: &str = "asked to stop a second time, it ended at once; what was under way is taken up where its events say it is";

/// Ctrl-C and SIGTERM, heard from the moment that this is made: whoever is told that the program is
/// ready may ask it to stop at once.
pub(crate) struct Shutdown {
    requested: CancellationToken,
    at_once: CancellationToken,
    /// Ends with this.
    _listening: JoinSet<()>,
}

impl Shutdown {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("cannot listen for signals to stop: {error}"));
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (requested, at_once) = (CancellationToken::new(), CancellationToken::new());
        let tell = [requested.clone(), at_once.clone()];
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            for told in tell {
                either(&mut interrupt, &mut terminate).await;
                told.cancel();
            }
        });
        Ok(Self { requested, at_once, _listening: listening })
    }

    /// Completes when one has come.
    pub(crate) fn requested(&self) -> impl Future<Output = ()> + Send + use<> {
        self.requested.clone().cancelled_owned()
    }

    /// Completes when a second one has come.
    pub(crate) fn at_once(&self) -> impl Future<Output = ()> + Send + use<> {
        self.at_once.clone().cancelled_owned()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
