//! Which shard of the system's accounts this process books on.
//!
//! Every payment credits settlement. One stream for all processes would make them fight over each
//! append, so a system account is split into a fixed number of shards: a process keeps to one and
//! moves on when it meets another process there. Readers add the shards up.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::account::{AccountCommand, Opening, Owner};
use domain::{AccountId, Currency};

use crate::context::CommandContext;
use crate::ports::{EventStore, StoreError};
use crate::unit::{Receipt, Step, Unit};

/// Shards of each system account.
pub const SHARDS: u32 = 16;

/// The system accounts as this process uses them.
#[derive(Debug)]
pub struct SystemAccounts {
    shard: AtomicU32,
    opened: Mutex<HashSet<AccountId>>,
}

impl SystemAccounts {
    /// Starts on a shard; processes should differ, for instance by a random number.
    #[must_use]
    pub fn starting_at(shard: u32) -> Self {
        Self { shard: AtomicU32::new(shard % SHARDS), opened: Mutex::default() }
    }

    /// The account to book on, opened if need be.
    ///
    /// # Errors
    /// [`StoreError`] when it has to be opened and cannot be.
    pub async fn account(
        &self,
        store: &dyn EventStore,
        purpose: &str,
        currency: Currency,
        context: &CommandContext,
    ) -> Result<AccountId, StoreError> {
        let shard = self.shard.load(Ordering::Relaxed);
        let account_id = AccountId::of_system(purpose, currency, shard)
            .map_err(|error| StoreError::Damaged(format!("system account {purpose}: {error}")))?;
        if self.opened().contains(&account_id) {
            return Ok(account_id);
        }
        let opening = Opening {
            account_id: account_id.clone(),
            owner: Owner::System { purpose: purpose.to_owned() },
            currency,
        };
        let open = Step::Account(account_id.clone(), AccountCommand::Open(opening));
        // Its own story: the payment that happens to be first on this shard did not ask for it.
        let context = CommandContext {
            correlation_id: Arc::from(account_id.as_str()),
            actor: Arc::from("engine"),
            ..context.clone()
        };
        store.execute(Unit::led_by(open, context)).await?;
        self.opened().insert(account_id.clone());
        Ok(account_id)
    }

    /// Moves to another shard when another process was met on this one.
    pub fn learn_from(&self, receipt: &Receipt, account_id: &AccountId) {
        if receipt.contended.iter().any(|id| id == account_id.as_str()) {
            self.leave();
        }
    }

    /// Moves to another shard, for instance because this one's balance can book no more.
    pub fn leave(&self) {
        // A stride that is odd visits every shard; a lost race between two requests moves twice.
        let next = |shard: u32| Some((shard + 1 + 2 * (std::process::id() % 3)) % SHARDS);
        let _ = self.shard.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, HashSet<AccountId>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
