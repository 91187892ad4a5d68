//! The end of an authorization: captured, voided or expired.
//!
//! ```text
//! Authorized ── capture ─► [1] CaptureStarted ── channel ──┬─ done     [2] complete + capture hold + credit settlement
//!      │                                                   └─ declined [2'] fail + release hold
//!      └── void, expiry ─► [1] VoidStarted ───── channel ──── done     [2] void + release hold
//! ```
//!
//! **Invariant:** of a capture, a void and the expiry only one is begun; the payment's stream decides which
//! before the channel hears of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::payment::{Ending, PaymentCommand, PaymentStatus};
use domain::{Money, PaymentId};
use tracing::Instrument;

use super::asking::Heard;
use super::{DriveError, PaymentSaga, Resume, Work};
use crate::context::{CommandContext, TraceContext};
use crate::idempotency::{Answer, KeyedRequest, Reply};
use crate::keyed::KeyedError;
use crate::ports::{ChannelOrder, StoreError};
use crate::spans::{self, LinkKind};
use crate::unit::{Receipt, Refusal, Step, Unit};

/// What a client asks for an authorized payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfAuthorization {
    /// Take the amount, or a part of it.
    Capture {
        /// How much, `None` for all of it.
        amount: Option<Money>,
    },
    /// Let it go.
    Void,
}

/// A payment whose authorization is older than it may become.
#[derive(Debug, Clone)]
pub struct ExpiredAuthorization {
    /// The payment.
    pub payment_id: PaymentId,
    /// The trace that recorded its last event.
    pub trace: TraceContext,
}

/// Finds authorizations that nobody has ended.
#[async_trait]
pub trait Authorizations: Send + Sync {
    /// Payments that have been authorized for longer than `age`, oldest first, some thousand at most.
    async fn expired(&self, age: Duration) -> Result<Vec<ExpiredAuthorization>, StoreError>;
}

impl PaymentSaga {
    /// Captures or voids an authorized payment, on a client's request.
    ///
    /// # Errors
    /// [`KeyedError`]: nothing was changed, or (for an unknown outcome) a repeat under the same key finds out.
    pub async fn end(
        &self,
        payment_id: PaymentId,
        end: EndOfAuthorization,
        keyed: KeyedRequest,
    ) -> Result<Reply, KeyedError> {
        let span = match end {
            EndOfAuthorization::Capture { .. } => {
                tracing::info_span!(parent: None, "payment.capture", payment.id = %payment_id)
            }
            EndOfAuthorization::Void => {
                tracing::info_span!(parent: None, "payment.void", payment.id = %payment_id)
            }
        };
        spans::join_trace(&span, &keyed.context.trace);
        self.keyed.once(&keyed, self.begin_end(&payment_id, end, &keyed)).instrument(span).await
    }

    async fn begin_end(
        &self,
        payment_id: &PaymentId,
        end: EndOfAuthorization,
        keyed: &KeyedRequest,
    ) -> Result<Option<Answer>, KeyedError> {
        let command = match end {
            EndOfAuthorization::Void => PaymentCommand::Void {
                reason: "requested".to_owned(),
                requester: Some(keyed.claim.key.requester()),
            },
            EndOfAuthorization::Capture { amount } => {
                let stored = self.store.payment(payment_id).await.map_err(KeyedError::Store)?;
                let all = stored.state.details.as_ref().map(|details| details.amount);
                let Some(amount) = amount.or(all) else {
                    return Err(KeyedError::Store(StoreError::Damaged(format!("no payment {payment_id}"))));
                };
                PaymentCommand::Capture { amount, requester: keyed.claim.key.requester() }
            }
        };
        let step = Step::Payment(payment_id.clone(), command);
        let begun =
            self.store.execute(Unit::led_by(step, keyed.context.clone()).claiming(keyed.claim.clone()));
        let Some(receipt) = self.begun_or_refused(payment_id, begun.await, keyed).await? else {
            return Ok(None);
        };
        match receipt {
            Begun::Refused(answer) => Ok(Some(answer)),
            Begun::Started(receipt) => {
                let resume = started(payment_id, receipt, &keyed.context)?;
                let Some(_driven) = self.driven.enter(&Work::of_payment(payment_id)) else { return Ok(None) };
                let reply = self.end_authorization(resume).await.map_err(failed)?;
                Ok(reply.map(|reply| reply.answer))
            }
        }
    }

    /// What became of the unit that begins a change: `None` where another request has the key, or has begun.
    pub(super) async fn begun_or_refused(
        &self,
        payment_id: &PaymentId,
        begun: Result<Receipt, StoreError>,
        keyed: &KeyedRequest,
    ) -> Result<Option<Begun>, KeyedError> {
        match begun {
            Ok(receipt) if receipt.appended => Ok(Some(Begun::Started(receipt))),
            Ok(_) | Err(StoreError::KeyTaken) => Ok(None),
            Err(StoreError::Refused(Refusal::Payment(refusal))) => {
                let trace_id = keyed.context.trace.trace_id();
                let answer = self.format.payment_refused(payment_id, &refusal, trace_id);
                Ok(self.keyed.record(answer, keyed).await?.map(Begun::Refused))
            }
            Err(error) => Err(KeyedError::Store(error)),
        }
    }

    /// Brings an end that has begun about; answers the request that asked for it, if one did.
    pub(super) async fn end_authorization(&self, resume: Resume) -> Result<Option<Reply>, DriveError> {
        let (receipt, requester) = match resume.payment.ending.clone() {
            Some(Ending::Capture { amount, requester }) => {
                let receipt = self.capture(&resume, amount, &requester).await?;
                (receipt, Some(requester))
            }
            Some(Ending::Void { requester, .. }) => {
                (self.void(&resume, requester.as_ref()).await?, requester)
            }
            None => return Ok(None),
        };
        match requester {
            Some(requester) => Ok(Some(self.reply(receipt, &resume, &requester).await?)),
            None => Ok(None),
        }
    }

    async fn capture(
        &self,
        resume: &Resume,
        amount: Money,
        requester: &domain::payment::Requester,
    ) -> Result<Receipt, DriveError> {
        let details = Arc::clone(resume.details()?);
        let order = ChannelOrder::Capture { payment_id: resume.payment_id.clone(), amount };
        let mut asking = self.asking(order, &resume.begun_by, resume.asked_before);
        loop {
            match asking.hear(&resume.context).await {
                Heard::Done(_) => {
                    let confirm = Step::Payment(resume.payment_id.clone(), PaymentCommand::ConfirmCaptured);
                    return self.take(resume, &details, amount, &confirm, requester).await;
                }
                Heard::Declined(reason) => {
                    let declined = PaymentCommand::ConfirmDeclined { reason };
                    return self.let_go(resume, &details, declined, Some(requester)).await;
                }
                Heard::Unknown(reason) => still_unknown(resume, "capture", &reason),
                Heard::GivenUp => {
                    let reason = "the channel has not said whether it captured";
                    return self.ask_a_person(resume, &details, reason, Some(requester)).await;
                }
            }
        }
    }

    async fn void(
        &self,
        resume: &Resume,
        requester: Option<&domain::payment::Requester>,
    ) -> Result<Receipt, DriveError> {
        let details = Arc::clone(resume.details()?);
        let order = ChannelOrder::Void { payment_id: resume.payment_id.clone() };
        let mut asking = self.asking(order, &resume.begun_by, resume.asked_before);
        loop {
            match asking.hear(&resume.context).await {
                Heard::Done(_) => {
                    return self.let_go(resume, &details, PaymentCommand::ConfirmVoided, requester).await;
                }
                // It has what it should not have: nothing here may guess what became of the money.
                Heard::Declined(reason) => {
                    let reason = format!("the channel does not void: {reason}");
                    return self.ask_a_person(resume, &details, &reason, requester).await;
                }
                Heard::Unknown(reason) => still_unknown(resume, "void", &reason),
                Heard::GivenUp => {
                    let reason = "the channel has not said whether it voided";
                    return self.ask_a_person(resume, &details, reason, requester).await;
                }
            }
        }
    }

    /// The authorizations that this process should end now.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn expired(
        &self,
        authorizations: &dyn Authorizations,
    ) -> Result<Vec<ExpiredAuthorization>, StoreError> {
        let expired = authorizations.expired(self.settings.authorization_expires_after).await?;
        let ours =
            |expired: &ExpiredAuthorization| !self.driven.contains(&Work::of_payment(&expired.payment_id));
        Ok(expired.into_iter().filter(ours).collect())
    }

    /// Gives an authorization up that nobody has captured in time. A client who was quicker wins.
    pub async fn expire(&self, expired: ExpiredAuthorization) {
        let ExpiredAuthorization { payment_id, trace } = expired;
        let span = tracing::info_span!(parent: None, "payment.expire", payment.id = %payment_id);
        spans::link(&span, &trace, LinkKind::CausedBy);
        let expiring = self.expire_now(&payment_id, trace).instrument(span);
        match expiring.await {
            Ok(()) => {}
            Err(DriveError::Store(StoreError::Refused(refusal))) => {
                tracing::debug!(payment.id = %payment_id, %refusal, "the authorization was ended by another");
            }
            Err(error) => {
                tracing::warn!(payment.id = %payment_id, %error, "cannot end the authorization yet");
            }
        }
    }

    async fn expire_now(&self, payment_id: &PaymentId, trace: TraceContext) -> Result<(), DriveError> {
        let stored = self.store.payment(payment_id).await.map_err(DriveError::Store)?;
        if stored.state.status != PaymentStatus::Authorized {
            return Ok(());
        }
        let context = CommandContext {
            correlation_id: Arc::from(payment_id.as_str()),
            causation_id: Arc::from(stored.last_event_id.unwrap_or_default()),
            actor: Arc::from("saga:expiry"),
            trace: Arc::new(trace),
        };
        let command = PaymentCommand::Void { reason: "expired".to_owned(), requester: None };
        let unit = Unit::led_by(Step::Payment(payment_id.clone(), command), context.clone());
        let receipt = self.store.execute(unit).await.map_err(DriveError::Store)?;
        if receipt.appended {
            tracing::info!(payment.id = %payment_id, "an authorization has expired");
            let resume = started(payment_id, receipt, &context).map_err(|error| match error {
                KeyedError::Store(error) => DriveError::Store(error),
                KeyedError::Key(conflict) => DriveError::damaged(conflict.to_string()),
            })?;
            // Only now: until it is recorded who ends it, a client's request may be what drives it.
            let Some(_driven) = self.driven.enter(&Work::of_payment(payment_id)) else { return Ok(()) };
            self.end_authorization(resume).await?;
        }
        Ok(())
    }
}

/// How the begin of a change ended.
pub(super) enum Begun {
    /// The payment refused; this is the recorded answer.
    Refused(Answer),
    /// It is recorded that it has begun.
    Started(Receipt),
}

/// A payment whose change has just begun.
pub(super) fn started(
    payment_id: &PaymentId,
    receipt: Receipt,
    context: &CommandContext,
) -> Result<Resume, KeyedError> {
    let payment = receipt.states.payment(payment_id).cloned();
    let missing = || StoreError::Damaged(format!("payment {payment_id} is not in its unit"));
    Ok(Resume {
        payment_id: payment_id.clone(),
        payment: payment.ok_or_else(missing).map_err(KeyedError::Store)?,
        context: context.caused_by(&receipt.last_event_id.unwrap_or_default()),
        begun_by: receipt.recorded_by,
        asked_before: false,
    })
}

pub(super) fn still_unknown(resume: &Resume, order: &str, reason: &str) {
    tracing::warn!(payment.id = %resume.payment_id, order, reason, "channel outcome unknown, inquiring");
}

/// What a caller is told whose request was begun and could not be ended now: recovery goes on with it.
pub(super) fn failed(error: DriveError) -> KeyedError {
    match error {
        DriveError::Store(error) => KeyedError::Store(error),
        DriveError::StillUnknown => KeyedError::Store(StoreError::OutcomeUnknown),
    }
}
