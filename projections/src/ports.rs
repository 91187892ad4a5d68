//! What readers of the read models call. An adapter implements it; the composition root connects them.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::payment::PaymentStatus;
use domain::{AccountId, UserId};

use crate::balances::{AccountBalance, AccountBalances};
use crate::entries::{AccountEntries, AccountEntry};
use crate::payments::{PaymentRow, Payments};
use crate::read_model::ReadModel;

/// The read models by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// `account_balances`.
    AccountBalances,
    /// `account_entries`.
    AccountEntries,
    /// `payments`.
    Payments,
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AccountBalances, Self::AccountEntries, Self::Payments];

    /// The name, also that of the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountBalances => AccountBalances::NAME,
            Self::AccountEntries => AccountEntries::NAME,
            Self::Payments => Payments::NAME,
        }
    }

    /// The projection of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.name() == name)
    }
}

/// What was read, and up to where in the log it had been folded.
#[derive(Debug, Clone)]
pub struct AsOf<T> {
    /// What was read.
    pub value: T,
    /// The position up to which the read model has folded the log.
    pub position: i64,
    /// When the event there was recorded, `None` before the first.
    pub recorded_at: Option<DateTime<Utc>>,
}

/// Why a read model cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database cannot be reached or is too busy.
    #[error("the read models are not available")]
    Unavailable,
    /// A row holds what this program cannot read; rebuild the projection.
    #[error("a row of a read model cannot be read: {0}")]
    Damaged(String),
}

/// Which payments are asked for.
#[derive(Debug, Clone, Default)]
pub struct PaymentFilter {
    /// Asked for by this caller.
    pub caller: Option<String>,
    /// Of this payer.
    pub user_id: Option<UserId>,
    /// Where they are: one of these; any when empty.
    pub statuses: Vec<PaymentStatus>,
    /// Asked for at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Asked for before this time.
    pub to: Option<DateTime<Utc>>,
}

/// How far a projection is, and what keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// The position up to which it has folded the log.
    pub position: i64,
    /// Events behind that position.
    pub lag: i64,
    /// How long ago the first of them was recorded, in milliseconds; 0 when there is none.
    pub lag_ms: u64,
    /// When the event at its position was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
    /// The event that it cannot fold.
    pub failure: Option<ProjectionFailure>,
    /// Whether its rows were made by another fold than this program's.
    pub outdated: bool,
    /// Where a rebuild that has begun has come to.
    pub rebuilding: Option<i64>,
    /// Whether the tables that a rebuild replaced are still kept.
    pub old_kept: bool,
}

/// The event that stopped a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionFailure {
    /// Where it is.
    pub position: i64,
    /// Its id.
    pub event_id: String,
    /// Why it cannot be folded.
    pub reason: String,
    /// The span that recorded it.
    pub traceparent: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Reads the read models. Each answer is of one moment: rows and position belong together.
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// What an account has, `None` when there is none (yet).
    async fn balance(&self, account: &AccountId) -> Result<AsOf<Option<AccountBalance>>, ReadError>;

    /// An account's statement, newest line first, from before a position, at most `limit` lines.
    async fn entries(
        &self,
        account: &AccountId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AsOf<Vec<AccountEntry>>, ReadError>;

    /// Payments, newest first, from before a position at which they were asked for, at most `limit`.
    async fn payments(
        &self,
        filter: &PaymentFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AsOf<Vec<PaymentRow>>, ReadError>;

    /// Waits until a projection has folded the log up to a position. Returns whether it has within
    /// the time that a reader waits.
    async fn reached(
        &self,
        projection: Projection,
        position: i64,
        patience: Duration,
    ) -> Result<bool, ReadError>;

    /// How many payments wait for a person.
    async fn waiting_for_review(&self) -> Result<i64, ReadError>;

    /// How far each projection is, in the order of [`Projection::ALL`].
    async fn status(&self) -> Result<Vec<ProjectionStatus>, ReadError>;
}
