//! What each operation takes and answers, a file for each chapter.

mod accounts;
mod changes;
mod events;
mod payments;
mod process;
mod webhooks;

use super::operation::Operation;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    [payments::all(), changes::all(), accounts::all(), events::all(), webhooks::all(), process::all()]
        .into_iter()
        .flatten()
        .collect()
}
