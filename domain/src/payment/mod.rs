//! A payment: one promise to move money from a payer, exactly once.
//!
//! ```text
//! New ──► Initiated ──► Assessed ──► Reserved ──► Completed ──► (refunds)
//!             │             │          │    └─(manual)► Authorized ──► Capturing ──► Completed | Failed
//!             ▼             ▼          ▼                     └───────► Voiding ────► Voided
//!         Rejected        Failed   OutcomeUnknown ──► Completed | Authorized | Failed
//!                                      └──► NeedsReview ──► Completed | Authorized | Failed
//! ```
//!
//! A capture, a void and the expiry of an authorization race each other to the event that starts them:
//! whichever is recorded first decides, before the channel is told. Where the
//! channel never says what became of a capture or a void, a review has to tell.
//!
//! Start at [`Payment::decide`]: every rule about when a payment may change is in that one
//! function. [`Payment::apply`] holds no rules; it records what has already happened.
//!
//! **Invariant:** nothing here reads a clock, draws a random number or does I/O. What the risk
//! service, the channel and an operator said arrives inside the command.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;
mod upcasters;

use std::collections::BTreeMap;
use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

pub use command::PaymentCommand;
pub use error::PaymentError;
pub use event::{
    CaptureMode, FailureReason, PaymentDetails, PaymentEvent, PaymentKind, Requester, ReviewOutcome,
    RiskAssessment, RiskLevel, Route,
};

use crate::id::{RefundId, TransactionId};
use crate::money::Money;

/// Most refunds of one payment: its state has all of them.
pub const MAX_REFUNDS: usize = 1_000;

/// The source of the fold; see [`crate::account::FOLD_SOURCE`].
pub const FOLD_SOURCE: &str =
    concat!(include_str!("mod.rs"), include_str!("event.rs"), include_str!("upcasters.rs"));

/// Where a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing has happened yet.
    #[default]
    New,
    /// Asked for.
    Initiated,
    /// The risk is acceptable.
    Assessed,
    /// The risk is too high. Final.
    Rejected,
    /// The amount is held; the channel may have been asked.
    Reserved,
    /// The channel was asked, and its answer is not known.
    OutcomeUnknown,
    /// The channel guarantees the amount; waits for the client.
    Authorized,
    /// The channel is asked to take the authorized amount.
    Capturing,
    /// The channel is asked to let the authorized amount go.
    Voiding,
    /// The money has moved. Final but for refunds.
    Completed,
    /// No money has moved. Final.
    Failed,
    /// An authorization was given up. Final.
    Voided,
    /// Waits for an operator.
    NeedsReview,
}

impl PaymentStatus {
    /// All of them, in the order in which a payment may come to them.
    pub const ALL: [Self; 13] = [
        Self::New,
        Self::Initiated,
        Self::Assessed,
        Self::Rejected,
        Self::Reserved,
        Self::OutcomeUnknown,
        Self::Authorized,
        Self::Capturing,
        Self::Voiding,
        Self::Completed,
        Self::Failed,
        Self::Voided,
        Self::NeedsReview,
    ];

    /// The status of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The name used in the API and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Initiated => "initiated",
            Self::Assessed => "assessed",
            Self::Rejected => "rejected",
            Self::Reserved => "reserved",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Authorized => "authorized",
            Self::Capturing => "capturing",
            Self::Voiding => "voiding",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Voided => "voided",
            Self::NeedsReview => "needs_review",
        }
    }

    /// Whether the saga has nothing left to do by itself.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        match self {
            Self::New
            | Self::Initiated
            | Self::Assessed
            | Self::Reserved
            | Self::OutcomeUnknown
            | Self::Capturing
            | Self::Voiding => false,
            Self::Rejected
            | Self::Authorized
            | Self::Completed
            | Self::Failed
            | Self::Voided
            | Self::NeedsReview => true,
        }
    }
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// How much.
    pub amount: Money,
    /// How far it is.
    pub status: RefundStatus,
    /// The request that is answered when it ends, while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// The channel's transaction, when it has given it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<TransactionId>,
}

/// How an authorization is being ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The amount is being taken.
    Capture {
        /// How much.
        amount: Money,
        /// The request that is answered when it has ended.
        requester: Requester,
    },
    /// It is being given up.
    Void {
        /// Why.
        reason: String,
        /// The request that is answered when it has ended, `None` where it has expired.
        requester: Option<Requester>,
    },
}

/// How far a refund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// On its way.
    Started,
    /// Back with the payer.
    Completed,
    /// Not given back.
    Failed,
}

/// State of one payment, rebuilt from its events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Payment {
    /// Absent until the payment is initiated. Shared, because a state is cloned for each unit of work
    /// and this part of it never changes.
    pub details: Option<Arc<PaymentDetails>>,
    /// Where it is.
    pub status: PaymentStatus,
    /// What the risk step said.
    pub risk: Option<RiskAssessment>,
    /// The channel's transaction.
    pub transaction_id: Option<TransactionId>,
    /// Why it failed.
    pub failure: Option<FailureReason>,
    /// How its authorization is being ended, while that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// How much was taken.
    pub captured: Option<Money>,
    /// Refunds by id.
    pub refunds: BTreeMap<RefundId, Refund>,
}

impl Payment {
    /// Decides a command on this state: the events that follow, none when it has already happened.
    ///
    /// # Errors
    /// [`PaymentError`] is the refusal, an answer for whoever asked.
    pub fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, PaymentError> {
        use PaymentCommand as C;
        use PaymentEvent as E;
        use PaymentStatus as S;
        // One line for each allowed step; whatever is not named is refused.
        Ok(match (self.status, command) {
            (S::New, C::Initiate(details)) if !details.amount.is_positive() => {
                return Err(PaymentError::WrongAmount { requested: details.amount });
            }
            (S::New, C::Initiate(details)) => vec![E::PaymentInitiated(details)],
            (_, C::Initiate(details)) => return self.repeat_of_initiate(&details),
            (S::Initiated, C::AssessRisk(assessment)) => assess(assessment),
            (S::Assessed | S::Rejected, C::AssessRisk(again)) if self.risk.as_ref() == Some(&again) => vec![],
            (S::Assessed, C::ReserveFunds) if !self.is_transfer() => {
                vec![E::FundsReserved { amount: self.amount()? }]
            }
            (S::Reserved, C::ReserveFunds) => vec![],
            (S::Initiated | S::Assessed, C::Fail(reason)) => vec![E::PaymentFailed { reason }],

            (S::Reserved | S::OutcomeUnknown, C::ConfirmPaid { transaction_id }) => {
                vec![self.paid(transaction_id)?]
            }
            (
                S::Completed | S::Authorized | S::Capturing | S::Voiding | S::Voided,
                C::ConfirmPaid { transaction_id },
            ) if self.transaction_id.as_ref() == Some(&transaction_id) => {
                vec![]
            }
            (S::Reserved | S::OutcomeUnknown | S::Capturing, C::ConfirmDeclined { reason }) => {
                vec![E::PaymentFailed { reason: FailureReason::ChannelDeclined { reason } }]
            }
            (S::Failed, C::ConfirmDeclined { reason })
                if self.failure == Some(FailureReason::ChannelDeclined { reason: reason.clone() }) =>
            {
                vec![]
            }
            (S::Reserved, C::RecordOutcomeUnknown { reason }) => vec![E::ChannelOutcomeUnknown { reason }],
            (S::OutcomeUnknown, C::RecordOutcomeUnknown { .. }) => vec![],
            (S::Reserved | S::OutcomeUnknown | S::Capturing | S::Voiding, C::RequireReview { reason }) => {
                vec![E::ReviewRequired { reason }]
            }
            (S::NeedsReview, C::RequireReview { .. }) => vec![],
            (S::NeedsReview, C::ResolveReview { outcome, operator, reason }) => {
                let consequence = self.reviewed(&outcome)?;
                vec![E::ReviewResolved { outcome, operator, reason }, consequence]
            }
            (
                S::Completed | S::Authorized | S::Capturing | S::Voiding | S::Voided | S::Failed,
                C::ResolveReview { outcome, .. },
            ) if self.ended_as(&outcome) => vec![],

            (_, end @ (C::Capture { .. } | C::ConfirmCaptured | C::Void { .. } | C::ConfirmVoided)) => {
                return self.decide_end(end);
            }
            // The channel has taken nothing that it could give back.
            (S::Completed, C::StartRefund { .. }) if self.kind() == Some(PaymentKind::Transfer) => {
                return Err(PaymentError::TransferNotRefundable);
            }
            (S::Completed, C::StartRefund { .. }) if self.kind() == Some(PaymentKind::Withdrawal) => {
                return Err(PaymentError::WithdrawalNotRefundable);
            }
            (S::Completed, C::StartRefund { refund_id, amount, requester }) => {
                self.start_refund(refund_id, amount, requester)?
            }
            (S::Completed, C::CompleteRefund { refund_id, transaction_id }) => {
                self.complete_refund(refund_id, transaction_id)?
            }
            (S::Completed, C::FailRefund { refund_id, reason }) => self.fail_refund(refund_id, reason)?,
            (S::Initiated | S::Assessed, C::CompleteTransfer) if self.is_transfer() => {
                vec![E::PaymentCompleted { transaction_id: None, captured: self.amount()? }]
            }
            (status, command) => {
                return Err(PaymentError::WrongStatus { command: command.name(), status });
            }
        })
    }

    /// The end of an authorization: begun once, and confirmed by the channel.
    fn decide_end(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, PaymentError> {
        use PaymentCommand as C;
        use PaymentEvent as E;
        use PaymentStatus as S;
        Ok(match (self.status, command) {
            (S::Authorized, C::Capture { amount, requester }) => vec![self.start_capture(amount, requester)?],
            (S::Capturing, C::Capture { amount, requester })
                if self.ending.as_ref()
                    == Some(&Ending::Capture { amount, requester: requester.clone() }) =>
            {
                vec![]
            }
            (S::Capturing, C::ConfirmCaptured) => vec![self.captured()?],
            (S::Completed, C::ConfirmCaptured) if self.is_manual() => vec![],
            (S::Authorized, C::Void { reason, requester }) => vec![E::VoidStarted { reason, requester }],
            (S::Voiding, C::Void { reason, requester })
                if self.ending.as_ref()
                    == Some(&Ending::Void { reason: reason.clone(), requester: requester.clone() }) =>
            {
                vec![]
            }
            (S::Voiding, C::ConfirmVoided) => vec![E::PaymentVoided { reason: self.void_reason() }],
            (S::Voided, C::ConfirmVoided) => vec![],
            (status, command) => {
                return Err(PaymentError::WrongStatus { command: command.name(), status });
            }
        })
    }

    /// What is neither refunded nor on its way back, `None` before a capture.
    #[must_use]
    pub fn refundable(&self) -> Option<Money> {
        let captured = self.captured?;
        let returned: i64 = self
            .refunds
            .values()
            .filter(|refund| refund.status != RefundStatus::Failed)
            .map(|refund| refund.amount.minor)
            .sum();
        Some(Money::new(captured.minor - returned, captured.currency))
    }

    fn repeat_of_initiate(&self, details: &PaymentDetails) -> Result<Vec<PaymentEvent>, PaymentError> {
        if self.details.as_deref() == Some(details) {
            return Ok(vec![]);
        }
        Err(PaymentError::AlreadyExists { payment_id: details.payment_id.clone() })
    }

    fn paid(&self, transaction_id: TransactionId) -> Result<PaymentEvent, PaymentError> {
        let completed = |captured| PaymentEvent::PaymentCompleted {
            transaction_id: Some(transaction_id.clone()),
            captured,
        };
        Ok(match &self.ending {
            // A capture that was reviewed: the authorization is behind it.
            None if self.is_manual() => PaymentEvent::PaymentAuthorized { transaction_id },
            // A review has found that the channel took it: behind an authorization there is no way back.
            Some(Ending::Capture { amount, .. }) => completed(*amount),
            Some(Ending::Void { .. }) | None => completed(self.amount()?),
        })
    }

    fn reviewed(&self, outcome: &ReviewOutcome) -> Result<PaymentEvent, PaymentError> {
        match outcome {
            ReviewOutcome::Paid { transaction_id } => self.paid(transaction_id.clone()),
            ReviewOutcome::NotPaid => {
                Ok(PaymentEvent::PaymentFailed { reason: FailureReason::ReviewedNotPaid })
            }
        }
    }

    fn start_capture(&self, amount: Money, requester: Requester) -> Result<PaymentEvent, PaymentError> {
        let authorized = self.amount()?;
        if !amount.is_positive() || amount.currency != authorized.currency {
            return Err(PaymentError::WrongAmount { requested: amount });
        }
        if amount.minor > authorized.minor {
            return Err(PaymentError::CaptureTooLarge { authorized, requested: amount });
        }
        Ok(PaymentEvent::CaptureStarted { amount, requester })
    }

    /// The channel has taken what the capture is about.
    fn captured(&self) -> Result<PaymentEvent, PaymentError> {
        let captured = match &self.ending {
            Some(Ending::Capture { amount, .. }) => *amount,
            Some(Ending::Void { .. }) | None => self.amount()?,
        };
        Ok(PaymentEvent::PaymentCompleted { transaction_id: self.transaction_id.clone(), captured })
    }

    fn void_reason(&self) -> String {
        match &self.ending {
            Some(Ending::Void { reason, .. }) => reason.clone(),
            Some(Ending::Capture { .. }) | None => String::new(),
        }
    }

    fn start_refund(
        &self,
        refund_id: RefundId,
        amount: Money,
        requester: Requester,
    ) -> Result<Vec<PaymentEvent>, PaymentError> {
        match self.refunds.get(&refund_id) {
            Some(refund) if refund.amount == amount && refund.status != RefundStatus::Failed => {
                return Ok(vec![]);
            }
            Some(_) => return Err(PaymentError::RefundExists { refund_id }),
            None => {}
        }
        let refundable = self.refundable().ok_or(PaymentError::WrongAmount { requested: amount })?;
        if !amount.is_positive() || amount.currency != refundable.currency {
            return Err(PaymentError::WrongAmount { requested: amount });
        }
        if amount.minor > refundable.minor {
            return Err(PaymentError::RefundTooLarge { refundable, requested: amount });
        }
        if self.refunds.len() >= MAX_REFUNDS {
            return Err(PaymentError::TooManyRefunds { limit: MAX_REFUNDS });
        }
        Ok(vec![PaymentEvent::RefundStarted { refund_id, amount, requester: Some(requester) }])
    }

    fn complete_refund(
        &self,
        refund_id: RefundId,
        transaction_id: TransactionId,
    ) -> Result<Vec<PaymentEvent>, PaymentError> {
        let amount = self.refund_to_end(&refund_id, RefundStatus::Completed)?;
        let event = |amount| PaymentEvent::RefundCompleted { refund_id, amount, transaction_id };
        Ok(amount.map(event).into_iter().collect())
    }

    fn fail_refund(&self, refund_id: RefundId, reason: String) -> Result<Vec<PaymentEvent>, PaymentError> {
        let amount = self.refund_to_end(&refund_id, RefundStatus::Failed)?;
        let event = |amount| PaymentEvent::RefundFailed { refund_id, amount, reason };
        Ok(amount.map(event).into_iter().collect())
    }

    /// The amount of a refund that is under way, `None` when it has already come to this end.
    fn refund_to_end(&self, refund_id: &RefundId, end: RefundStatus) -> Result<Option<Money>, PaymentError> {
        match self.refunds.get(refund_id) {
            Some(refund) if refund.status == RefundStatus::Started => Ok(Some(refund.amount)),
            Some(refund) if refund.status == end => Ok(None),
            _ => Err(PaymentError::RefundNotFound { refund_id: refund_id.clone() }),
        }
    }

    fn amount(&self) -> Result<Money, PaymentError> {
        match &self.details {
            Some(details) => Ok(details.amount),
            None => Err(PaymentError::WrongStatus { command: "use", status: self.status }),
        }
    }

    /// Whether this is how the payment ended, by a review or without one.
    fn ended_as(&self, outcome: &ReviewOutcome) -> bool {
        match outcome {
            ReviewOutcome::Paid { transaction_id } => self.transaction_id.as_ref() == Some(transaction_id),
            ReviewOutcome::NotPaid => self.failure == Some(FailureReason::ReviewedNotPaid),
        }
    }

    fn is_manual(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.is_captured_by_hand())
    }

    fn is_transfer(&self) -> bool {
        self.kind() == Some(PaymentKind::Transfer)
    }

    fn kind(&self) -> Option<PaymentKind> {
        self.details.as_ref().map(|details| details.route.kind())
    }
}

fn assess(assessment: RiskAssessment) -> Vec<PaymentEvent> {
    let rejected = match &assessment {
        RiskAssessment::Assessed { level: RiskLevel::High, score } => {
            Some(PaymentEvent::PaymentRejected { score: *score })
        }
        RiskAssessment::Assessed { .. } | RiskAssessment::Degraded { .. } => None,
    };
    let mut events = vec![PaymentEvent::RiskAssessed { assessment }];
    events.extend(rejected);
    events
}

impl Aggregate for Payment {
    const TYPE: &'static str = "payment";
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Error = PaymentError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        use PaymentEvent as E;
        match event {
            E::PaymentInitiated(details) => {
                self.details = Some(details);
                self.status = PaymentStatus::Initiated;
            }
            E::RiskAssessed { assessment } => {
                self.risk = Some(assessment);
                self.status = PaymentStatus::Assessed;
            }
            E::PaymentRejected { .. } => self.status = PaymentStatus::Rejected,
            E::FundsReserved { .. } => self.status = PaymentStatus::Reserved,
            E::ChannelOutcomeUnknown { .. } => self.status = PaymentStatus::OutcomeUnknown,
            E::PaymentAuthorized { transaction_id } => {
                self.transaction_id = Some(transaction_id);
                self.status = PaymentStatus::Authorized;
            }
            E::CaptureStarted { amount, requester } => {
                self.ending = Some(Ending::Capture { amount, requester });
                self.status = PaymentStatus::Capturing;
            }
            E::VoidStarted { reason, requester } => {
                self.ending = Some(Ending::Void { reason, requester });
                self.status = PaymentStatus::Voiding;
            }
            E::PaymentCompleted { transaction_id, captured } => {
                self.transaction_id = transaction_id;
                self.captured = Some(captured);
                self.ending = None;
                self.status = PaymentStatus::Completed;
            }
            E::PaymentFailed { reason } => {
                self.failure = Some(reason);
                self.ending = None;
                self.status = PaymentStatus::Failed;
            }
            E::PaymentVoided { .. } => {
                self.ending = None;
                self.status = PaymentStatus::Voided;
            }
            E::RefundStarted { refund_id, amount, requester } => {
                let status = RefundStatus::Started;
                self.refunds.insert(refund_id, Refund { amount, status, requester, transaction_id: None });
            }
            E::RefundCompleted { refund_id, amount, transaction_id } => {
                let (status, transaction_id) = (RefundStatus::Completed, Some(transaction_id));
                self.refunds.insert(refund_id, Refund { amount, status, requester: None, transaction_id });
            }
            E::RefundFailed { refund_id, amount, .. } => {
                let status = RefundStatus::Failed;
                let refund = Refund { amount, status, requester: None, transaction_id: None };
                self.refunds.insert(refund_id, refund);
            }
            E::ReviewRequired { .. } => self.status = PaymentStatus::NeedsReview,
            // What follows from it is the event behind it.
            E::ReviewResolved { .. } => {}
        }
    }
}
