//! A unit of work: commands to several aggregates that become durable together or not at all.
//!
//! A posting is one unit: capturing a hold, crediting settlement and completing the payment are
//! decided on states that are locked together and appended in one statement.

use std::fmt;
use std::sync::Arc;

use domain::{
    Account, AccountCommand, AccountError, AccountId, Payment, PaymentCommand, PaymentError, PaymentId,
};

use crate::context::{CommandContext, TraceContext};
use crate::idempotency::{Answer, Claim, IdempotencyKey};

/// One command to one aggregate.
#[derive(Debug, Clone)]
pub enum Step {
    /// To an account.
    Account(AccountId, AccountCommand),
    /// To a payment.
    Payment(PaymentId, PaymentCommand),
}

impl Step {
    /// What a command does to an account, as a metric's label; `None` for a payment's.
    #[must_use]
    pub const fn account_operation(&self) -> Option<&'static str> {
        let Self::Account(_, command) = self else { return None };
        Some(match command {
            AccountCommand::Open(_) => "open",
            AccountCommand::Deposit { .. } => "deposit",
            AccountCommand::Withdraw { .. } => "withdraw",
            AccountCommand::Hold { .. } => "hold",
            AccountCommand::CaptureHold { .. } => "capture",
            AccountCommand::ReleaseHold { .. } => "release",
            AccountCommand::Credit { .. } => "credit",
            AccountCommand::Debit { .. } => "debit",
            AccountCommand::Freeze { .. } => "freeze",
            AccountCommand::Unfreeze => "unfreeze",
            AccountCommand::Close => "close",
        })
    }
}

/// Commands that become durable together or not at all.
///
/// The first step leads: when it has already happened (it decides no events), the unit has already
/// been carried out, and the other steps do not run. That makes every unit safe to repeat.
#[derive(Clone)]
pub struct Unit {
    /// In the order in which they are decided; the first one leads.
    pub steps: Vec<Step>,
    /// Accounts whose states the answer tells of, though no command goes to them.
    pub observed: Vec<AccountId>,
    /// The request's key, claimed in the same append.
    pub claim: Option<Claim>,
    /// The answer to the request, recorded in the same append.
    pub answer: Option<PendingAnswer>,
    /// The caller has seen that the leading aggregate does not exist: spares the read. Wrong
    /// advice costs a retry, never correctness.
    pub expect_new: bool,
    /// Origin of the events.
    pub context: CommandContext,
}

/// An answer that can be written once the unit is decided.
#[derive(Clone)]
pub struct PendingAnswer {
    /// The request that it answers.
    pub key: IdempotencyKey,
    /// Writes the answer from the states that the unit leads to.
    pub write: Arc<dyn Fn(&States) -> Answer + Send + Sync>,
}

/// States of the aggregates of a unit after its commands.
#[derive(Debug, Default)]
pub struct States {
    /// Each account of the unit.
    pub accounts: Vec<(AccountId, Arc<Account>)>,
    /// Each payment of the unit.
    pub payments: Vec<(PaymentId, Arc<Payment>)>,
}

impl States {
    /// The account's state after the unit, if it takes part.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|(other, _)| other == id).map(|(_, account)| account)
    }

    /// The payment's state after the unit, if it takes part.
    #[must_use]
    pub fn payment(&self, id: &PaymentId) -> Option<&Arc<Payment>> {
        self.payments.iter().find(|(other, _)| other == id).map(|(_, payment)| payment)
    }
}

impl Unit {
    /// A unit whose first step is `leader`.
    #[must_use]
    pub fn led_by(leader: Step, context: CommandContext) -> Self {
        Self { steps: vec![leader], observed: vec![], claim: None, answer: None, expect_new: false, context }
    }

    /// Adds a step.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Has the states of an account among those that the unit leads to.
    #[must_use]
    pub fn observing(mut self, account: AccountId) -> Self {
        self.observed.push(account);
        self
    }

    /// Claims the request's key in the same append.
    #[must_use]
    pub fn claiming(mut self, claim: Claim) -> Self {
        self.claim = Some(claim);
        self
    }

    /// Records the request's answer in the same append.
    #[must_use]
    pub fn answering(
        mut self,
        key: IdempotencyKey,
        write: impl Fn(&States) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.answer = Some(PendingAnswer { key, write: Arc::new(write) });
        self
    }

    /// Says that the leading aggregate has been seen not to exist.
    #[must_use]
    pub fn expecting_new(mut self) -> Self {
        self.expect_new = true;
        self
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("steps", &self.steps)
            .field("claim", &self.claim)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// What became of a unit.
#[derive(Debug)]
pub struct Receipt {
    /// Whether this call appended it; `false` when it had already happened.
    pub appended: bool,
    /// Position of the unit's last event, where it appended events.
    pub position: Option<i64>,
    /// The span that recorded it.
    pub recorded_by: Arc<TraceContext>,
    /// Id of the unit's last event, the cause of what follows.
    pub last_event_id: Option<String>,
    /// The recorded answer, where the unit answers a request.
    pub answer: Option<Answer>,
    /// States of the unit's aggregates, durable.
    pub states: States,
    /// Aggregates on which another process got ahead of this unit before it succeeded.
    pub contended: Vec<String>,
}

/// A domain refusal, decided on durable and current state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An account refused.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A payment refused.
    #[error(transparent)]
    Payment(#[from] PaymentError),
}
