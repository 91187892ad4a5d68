//! Tells readers in this process how far the projector of this process has come.

use std::sync::Arc;

use projections::ports::Projection;
use tokio::sync::watch;

/// How far each projection has come, as this process knows. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    positions: Arc<Positions>,
}

#[derive(Debug, Default)]
struct Positions {
    account_balances: watch::Sender<i64>,
    account_entries: watch::Sender<i64>,
    payments: watch::Sender<i64>,
}

impl Progress {
    fn of(&self, projection: Projection) -> &watch::Sender<i64> {
        match projection {
            Projection::AccountBalances => &self.positions.account_balances,
            Projection::AccountEntries => &self.positions.account_entries,
            Projection::Payments => &self.positions.payments,
        }
    }

    /// A projection has folded the log up to a position. Positions only grow.
    pub(crate) fn reached(&self, projection: Projection, position: i64) {
        self.of(projection).send_if_modified(|reached| {
            let grows = position > *reached;
            if grows {
                *reached = position;
            }
            grows
        });
    }

    /// Follows a projection.
    pub(crate) fn watch(&self, projection: Projection) -> watch::Receiver<i64> {
        self.of(projection).subscribe()
    }
}
