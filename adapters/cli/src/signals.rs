//! When to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// Ctrl-C and SIGTERM, heard from the moment that this is made: whoever is told that the program is
/// ready may ask it to stop at once.
pub(crate) struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
}

impl Shutdown {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("cannot listen for signals to stop: {error}"));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Completes when one has come.
    pub(crate) async fn requested(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
