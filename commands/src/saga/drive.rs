//! From held funds to a settled payment.

use std::sync::Arc;
use std::time::Duration;

use domain::account::AccountError;
use domain::payment::{PaymentCommand, PaymentDetails, PaymentStatus, Route};
use domain::{AccountId, Payment, PaymentId, TransactionId};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::request::Reserved;
use super::{PaymentSaga, ending};
use crate::context::{CommandContext, TraceContext};
use crate::idempotency::{IdempotencyKey, KeyConflict, Reply};
use crate::meters::{self, Ended};
use crate::ports::{ChannelAnswer, Charge, StoreError};
use crate::spans::{self, LinkKind};
use crate::unit::{Receipt, Refusal, Step, Unit};

/// Pause before a store that is not available is tried again.
const STORE_RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such pause.
const STORE_RETRY_MAX: Duration = Duration::from_secs(2);

/// Where a payment is taken up.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The payment.
    pub payment_id: PaymentId,
    /// Its state.
    pub payment: Arc<Payment>,
    /// Origin of the events that follow.
    pub context: CommandContext,
    /// The span that recorded the hold.
    pub held_by: Arc<TraceContext>,
    /// Whether the channel may have been asked before: then only inquiry tells what became of it.
    pub channel_asked: bool,
}

/// Why a payment could not be driven to its end now. Recovery takes it up again.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The store refused for good; other failures of the store are waited out.
    #[error(transparent)]
    Store(StoreError),
}

impl PaymentSaga {
    /// Drives a payment that holds its funds until it is settled, and answers its request.
    ///
    /// # Errors
    /// [`DriveError`] leaves the payment to recovery.
    pub async fn finish(&self, reserved: Reserved) -> Result<(Reply, Ended), DriveError> {
        let Reserved { resume, _in_flight, driven: _driven } = reserved;
        self.settle(resume).await
    }

    /// Takes a payment up where its events say it is, unless this process is already at it.
    ///
    /// # Errors
    /// [`DriveError`] leaves the payment to the next round of recovery.
    pub async fn drive(&self, resume: Resume) -> Result<(), DriveError> {
        let Some(_driven) = self.driven.enter(&resume.payment_id) else { return Ok(()) };
        if resume.payment.status.is_settled() {
            return Ok(());
        }
        let (_, ended) = self.settle(resume).await?;
        meters::payment_ended(ended, None);
        Ok(())
    }

    async fn settle(&self, mut resume: Resume) -> Result<(Reply, Ended), DriveError> {
        let details = Arc::clone(details_of(&resume)?);
        let started = Instant::now();
        let mut delay = self.settings.inquiry_first_delay;
        // The call that an inquiry asks about: one of a process that is gone is told by what it recorded.
        let mut asked = Arc::clone(&resume.held_by);
        let mut answer = if resume.channel_asked {
            self.inquire(&resume, &asked).await
        } else {
            self.pay(&details, &resume.context, &mut asked).await
        };
        loop {
            match &answer {
                ChannelAnswer::Paid { transaction_id } => {
                    let receipt = self.complete(&resume, &details, transaction_id.clone()).await?;
                    return Ok((self.reply(receipt, &resume, &details).await?, Ended::Success));
                }
                ChannelAnswer::Declined { reason } => {
                    let receipt = self.decline(&resume, &details, reason.clone()).await?;
                    return Ok((self.reply(receipt, &resume, &details).await?, Ended::Failed));
                }
                ChannelAnswer::NotFound => {}
                ChannelAnswer::Unknown { reason } => self.record_unknown(&mut resume, reason).await?,
            }
            if started.elapsed() >= self.settings.review_after {
                let receipt = self.require_review(&resume, &details).await?;
                return Ok((self.reply(receipt, &resume, &details).await?, Ended::Failed));
            }
            if answer == ChannelAnswer::NotFound {
                // The channel has no record: the same key makes it safe to ask again.
                answer = self.pay(&details, &resume.context, &mut asked).await;
                continue;
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(self.settings.inquiry_max_delay);
            answer = self.inquire(&resume, &asked).await;
        }
    }

    async fn inquire(&self, resume: &Resume, asked: &TraceContext) -> ChannelAnswer {
        let span = spans::call("channel.inquire");
        spans::link(&span, asked, LinkKind::CausedBy);
        let context = resume.context.within(&span);
        let answer = self.channel.inquire(&resume.payment_id, &context).instrument(span.clone()).await;
        record(&span, &answer);
        answer
    }

    async fn pay(
        &self,
        details: &PaymentDetails,
        context: &CommandContext,
        asked: &mut Arc<TraceContext>,
    ) -> ChannelAnswer {
        let Route::Channel { payment_method, .. } = &details.route else {
            return ChannelAnswer::Unknown { reason: "a transfer has no channel".to_owned() };
        };
        let charge = Charge {
            payment_id: details.payment_id.clone(),
            amount: details.amount,
            payment_method: payment_method.clone(),
        };
        let span = spans::call("channel.pay");
        let context = context.within(&span);
        *asked = Arc::clone(&context.trace);
        let answer = self.channel.pay(&charge, &context).instrument(span.clone()).await;
        record(&span, &answer);
        answer
    }

    /// Compensation never runs from here: an unknown outcome keeps its hold.
    async fn record_unknown(&self, resume: &mut Resume, reason: &str) -> Result<(), DriveError> {
        if resume.payment.status != PaymentStatus::Reserved {
            return Ok(());
        }
        tracing::warn!(payment.id = %resume.payment_id, reason, "channel outcome unknown, inquiring");
        let command = PaymentCommand::RecordOutcomeUnknown { reason: reason.to_owned() };
        let step = Step::Payment(resume.payment_id.clone(), command);
        let receipt = self.persist(|| Unit::led_by(step.clone(), resume.context.clone())).await?;
        if let Some(payment) = receipt.states.payment(&resume.payment_id) {
            resume.payment = Arc::clone(payment);
        }
        if let Some(event_id) = receipt.last_event_id {
            resume.context = resume.context.caused_by(&event_id);
        }
        Ok(())
    }

    /// The channel has the money: the hold is captured, settlement credited, the payment completed.
    async fn complete(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        transaction_id: TransactionId,
    ) -> Result<Receipt, DriveError> {
        let confirm =
            Step::Payment(resume.payment_id.clone(), PaymentCommand::ConfirmPaid { transaction_id });
        if ending::is_manual(details) {
            let unit = Unit::led_by(confirm, resume.context.clone()).observing(details.payer.clone());
            let unit = self.answering_payment(unit, details, resume.context.trace.trace_id());
            return self.persist(|| unit.clone()).await;
        }
        loop {
            let settlement = self.settlement(resume, details).await?;
            let unit = Unit::led_by(confirm.clone(), resume.context.clone());
            let unit = ending::capturing(unit, details, &settlement);
            let unit = self.answering_payment(unit, details, resume.context.trace.trace_id());
            let capturing = tracing::info_span!("account.capture");
            match self.persist(|| unit.clone()).instrument(capturing).await {
                // This shard's balance can book no more. The channel has the money, so the payment
                // completes on another one.
                Err(DriveError::Store(StoreError::Refused(Refusal::Account(
                    AccountError::BalanceOverflow,
                )))) => {
                    self.system.leave();
                }
                Ok(receipt) => {
                    self.system.learn_from(&receipt, &settlement);
                    return Ok(receipt);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn settlement(&self, resume: &Resume, details: &PaymentDetails) -> Result<AccountId, DriveError> {
        let name = &self.settings.channel_name;
        loop {
            match ending::settlement(&*self.store, &self.system, name, details, &resume.context).await {
                Ok(account) => return Ok(account),
                Err(error) => retry_later(error, STORE_RETRY_FIRST).await?,
            }
        }
    }

    /// Compensation: the hold is released in the append that fails the payment.
    async fn decline(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        reason: String,
    ) -> Result<Receipt, DriveError> {
        let decline = Step::Payment(resume.payment_id.clone(), PaymentCommand::ConfirmDeclined { reason });
        let unit = ending::releasing(Unit::led_by(decline, resume.context.clone()), details);
        let unit = self.answering_payment(unit, details, resume.context.trace.trace_id());
        let releasing = tracing::info_span!("account.release");
        spans::link(&releasing, &resume.held_by, LinkKind::Compensates);
        self.persist(|| unit.clone()).instrument(releasing).await
    }

    async fn require_review(&self, resume: &Resume, details: &PaymentDetails) -> Result<Receipt, DriveError> {
        tracing::error!(payment.id = %resume.payment_id, "channel outcome still unknown, review required");
        let command =
            PaymentCommand::RequireReview { reason: "the channel has not said whether it paid".to_owned() };
        let unit = Unit::led_by(Step::Payment(resume.payment_id.clone(), command), resume.context.clone())
            .observing(details.payer.clone());
        let unit = self.answering_payment(unit, details, resume.context.trace.trace_id());
        self.persist(|| unit.clone()).await
    }

    /// Repeats a unit until the store has it. What the channel said must not be lost to a database
    /// that restarts; a unit that has already happened does nothing.
    async fn persist(&self, unit: impl Fn() -> Unit) -> Result<Receipt, DriveError> {
        let mut delay = STORE_RETRY_FIRST;
        loop {
            match self.store.execute(unit()).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => retry_later(error, delay).await?,
            }
            delay = (delay * 2).min(STORE_RETRY_MAX);
        }
    }

    async fn reply(
        &self,
        receipt: Receipt,
        resume: &Resume,
        details: &PaymentDetails,
    ) -> Result<Reply, DriveError> {
        let key = IdempotencyKey {
            caller: details.requester.caller.as_str().into(),
            key: details.requester.idempotency_key.as_str().into(),
        };
        if let (true, Some(answer)) = (receipt.appended, receipt.answer) {
            let trace_id = resume.context.trace.trace_id().to_owned();
            return Ok(Reply { answer, replayed: false, trace_id });
        }
        // Another process settled the payment first; its answer is the one.
        loop {
            match self.store.look_up(&key, None).await {
                Ok(found) => {
                    let recorded = found
                        .key
                        .and_then(|record| Some((record.answer.clone()?, record.trace_id().to_owned())));
                    let (answer, trace_id) = recorded.ok_or_else(|| {
                        DriveError::Store(StoreError::Damaged(KeyConflict::InFlight.to_string()))
                    })?;
                    return Ok(Reply { answer, replayed: false, trace_id });
                }
                Err(error) => retry_later(error, STORE_RETRY_FIRST).await?,
            }
        }
    }
}

/// Says in a span under which name the channel keeps what it paid.
fn record(span: &Span, answer: &ChannelAnswer) {
    if let ChannelAnswer::Paid { transaction_id } = answer {
        span.record("transaction.id", transaction_id.as_str());
    }
}

/// Waits out what passes; what does not pass is the caller's.
async fn retry_later(error: StoreError, delay: Duration) -> Result<(), DriveError> {
    match error {
        StoreError::Unavailable | StoreError::OutcomeUnknown | StoreError::Contended => {
            tokio::time::sleep(delay).await;
            Ok(())
        }
        StoreError::Refused(_) | StoreError::KeyTaken | StoreError::Damaged(_) => {
            Err(DriveError::Store(error))
        }
    }
}

fn details_of(resume: &Resume) -> Result<&Arc<PaymentDetails>, DriveError> {
    resume.payment.details.as_ref().ok_or_else(|| {
        DriveError::Store(StoreError::Damaged(format!("payment {} has no beginning", resume.payment_id)))
    })
}
