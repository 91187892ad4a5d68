//! What the handlers call. Adapters implement these; the composition root connects them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::account::AccountError;
use domain::payment::{PaymentError, RiskLevel};
use domain::{Account, AccountId, Money, Payment, PaymentId, RefundId, UserId};

use crate::context::CommandContext;
use crate::idempotency::{Answer, IdempotencyKey, KeyRecord};
use crate::unit::{Receipt, Refusal, Unit};

mod channel;

pub use channel::{ChannelAnswer, ChannelOrder, Charge, PaymentChannel};

/// Why the store could not carry out a unit.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The domain refused, on durable and current state. Nothing was appended.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The unit's key was claimed by another request meanwhile. Nothing was appended.
    #[error("the idempotency key was claimed by another request")]
    KeyTaken,
    /// Others kept getting ahead on the same aggregates. Nothing was appended.
    #[error("too many others are working on the same accounts")]
    Contended,
    /// The database cannot be reached or is too busy. Nothing was appended.
    #[error("the event store is not available")]
    Unavailable,
    /// No word from the database in time: the unit may still become durable. Repeat it to find out.
    #[error("the event store has not answered in time")]
    OutcomeUnknown,
    /// The log holds what this program cannot read; an operator has to look.
    #[error("the event store is damaged: {0}")]
    Damaged(String),
}

/// Where facts are kept.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Carries out a unit of work; returns when it is durable.
    async fn execute(&self, unit: Unit) -> Result<Receipt, StoreError>;

    /// The durable and current state of an account, with the position of its last event.
    async fn account(&self, id: &AccountId) -> Result<Stored<Account>, StoreError>;

    /// The durable and current state of a payment, with the position of its last event.
    async fn payment(&self, id: &PaymentId) -> Result<Stored<Payment>, StoreError>;

    /// Whether this process can still carry units out; if not, only another process can.
    fn is_running(&self) -> bool;

    /// What is recorded under a key, and whether a payment with this id exists: one read.
    async fn look_up(&self, key: &IdempotencyKey, payment: Option<&PaymentId>) -> Result<LookUp, StoreError>;
}

/// A state and where in the log it was read.
#[derive(Debug, Clone)]
pub struct Stored<A> {
    /// The state; the aggregate's default when it has no events.
    pub state: Arc<A>,
    /// Position of its last event, `None` without events.
    pub position: Option<i64>,
    /// When its last event was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
    /// Id of its last event.
    pub last_event_id: Option<String>,
}

/// A moment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Right behind the event at this position.
    Position(i64),
    /// Behind the last event that was recorded by then.
    Time(DateTime<Utc>),
}

/// A past state of an account.
#[derive(Debug, Clone)]
pub struct AccountAt {
    /// The state; unopened where it was not there yet.
    pub state: Account,
    /// The position up to which the log was folded.
    pub position: i64,
    /// When the event at that position was recorded, `None` before the first.
    pub as_of: Option<DateTime<Utc>>,
}

/// What a request's first read finds.
#[derive(Debug, Clone, Default)]
pub struct LookUp {
    /// What is recorded under the key.
    pub key: Option<KeyRecord>,
    /// Whether the payment exists.
    pub payment_exists: bool,
}

/// An event as the log keeps it, for people: payloads are text, since nothing here decides on them.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// Where in the log it is.
    pub position: i64,
    /// Which event of its aggregate it is, from 1.
    pub sequence: i64,
    /// Its id, a UUIDv7.
    pub event_id: String,
    /// `account` or `payment`.
    pub aggregate_type: String,
    /// The aggregate that it happened to.
    pub aggregate_id: String,
    /// Its name, for instance `FundsHeld`.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// What happened: JSON text tagged with the event's name, `{"FundsHeld": {...}}`.
    pub payload: String,
    /// When it became durable.
    pub recorded_at: DateTime<Utc>,
    /// The business story that it belongs to.
    pub correlation_id: String,
    /// What caused it: a request, or an earlier event.
    pub causation_id: String,
    /// Who acted.
    pub actor: String,
    /// The span that recorded it.
    pub traceparent: String,
    /// Vendors' part of its trace context.
    pub tracestate: Option<String>,
    /// W3C baggage of the request that caused it.
    pub baggage: Option<String>,
    /// SHA-256 of what it says, `None` where it was recorded before there was a hash chain.
    pub hash: Option<Vec<u8>>,
    /// The hash chain up to it, where it is the last event of its append.
    pub chain: Option<Vec<u8>>,
}

/// Why a search of the log has no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was given up, so that it takes nothing from payments.
    #[error("the search took longer than {limit_ms} ms and was given up")]
    TookTooLong {
        /// How long it may take.
        limit_ms: u64,
    },
}

/// Reads the log for people.
#[async_trait]
pub trait EventReader: Send + Sync {
    /// The whole story of a payment, in the order of the log: its own events and those of every
    /// account with the same correlation. Empty when there is no such payment.
    async fn story(&self, payment: &PaymentId) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Events behind a position, in the order of the log, at most `limit`.
    async fn behind(&self, position: i64, limit: u32) -> Result<Vec<RecordedEvent>, StoreError>;

    /// One event, `None` when there is none with this id.
    async fn event(&self, event_id: &str) -> Result<Option<RecordedEvent>, StoreError>;

    /// Events that a trace recorded, behind a position, in the order of the log, at most `limit`. The trace is
    /// named by its 32 hexadecimal digits in lower case.
    async fn of_trace(
        &self,
        trace_id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, SearchError>;

    /// What an account was at a moment: its events up to it, folded. `None` for a position that the
    /// log has not reached.
    async fn account_at(&self, account: &AccountId, moment: Moment) -> Result<Option<AccountAt>, StoreError>;

    /// Position of the last event.
    async fn head(&self) -> Result<i64, StoreError>;

    /// Waits until the log may have grown beyond a position: at once when this process appends, after
    /// a moment in any case, since other processes append as well.
    async fn grown_beyond(&self, position: i64);

    /// Whether the database answers.
    async fn is_up(&self) -> bool;
}

/// What the risk service is asked.
#[derive(Debug, Clone)]
pub struct RiskRequest {
    /// The payment.
    pub payment_id: PaymentId,
    /// Who pays.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// By which means.
    pub payment_method: String,
}

/// The risk service's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiskVerdict {
    /// How risky.
    pub level: RiskLevel,
    /// 0 (no risk) to 100.
    pub score: u8,
}

/// The risk service did not answer, or not with a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RiskUnavailable {
    /// What came instead, without anything internal: it is recorded in an event.
    pub reason: String,
}

/// Judges payments.
#[async_trait]
pub trait RiskService: Send + Sync {
    /// Judges a payment within the configured time.
    async fn evaluate(
        &self,
        request: &RiskRequest,
        context: &CommandContext,
    ) -> Result<RiskVerdict, RiskUnavailable>;
}

/// Writes answers for callers, so that a request ends with the same bytes whoever ends it: the
/// request itself, a repeat of it, or recovery after a crash.
pub trait AnswerFormat: Send + Sync {
    /// A payment that is settled.
    fn payment(&self, payment: &Payment, payer: Option<&Account>, trace_id: &str) -> Answer;

    /// A payment whose authorization was captured or given up, or could not be.
    fn authorization_ended(&self, payment: &Payment, payer: Option<&Account>, trace_id: &str) -> Answer;

    /// A refund that has ended.
    fn refund(
        &self,
        payment: &Payment,
        refund_id: &RefundId,
        payer: Option<&Account>,
        trace_id: &str,
    ) -> Answer;

    /// A payment whose review an operator has resolved.
    fn review_resolved(&self, payment: &Payment, trace_id: &str) -> Answer;

    /// A command that a payment refused.
    fn payment_refused(&self, payment_id: &PaymentId, refusal: &PaymentError, trace_id: &str) -> Answer;

    /// An account after a command to it; `created` when the command made something that was not
    /// there: the account, or a posting.
    fn account(&self, account: &Account, created: bool) -> Answer;

    /// A command that an account refused.
    fn account_refused(&self, account_id: &AccountId, refusal: &AccountError, trace_id: &str) -> Answer;
}
