//! From held funds to a settled payment.

use std::sync::Arc;
use std::time::Duration;

use domain::account::AccountError;
use domain::payment::{PaymentCommand, PaymentDetails, PaymentStatus, Requester, Route};
use domain::{AccountId, Money, Payment, PaymentId, TransactionId};
use tracing::Instrument;

use super::asking::Heard;
use super::request::Reserved;
use super::{PaymentSaga, Work, ending};
use crate::context::{CommandContext, TraceContext};
use crate::idempotency::{KeyConflict, Reply};
use crate::meters::{self, Ended};
use crate::ports::{ChannelOrder, Charge, StoreError};
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
    /// The span that recorded what the channel is asked for: the hold, the begin of a capture, a void or a
    /// refund.
    pub begun_by: Arc<TraceContext>,
    /// Whether the channel may have been asked before: then only inquiry tells what became of it.
    pub asked_before: bool,
}

impl Resume {
    /// What the payment is.
    pub(super) fn details(&self) -> Result<&Arc<PaymentDetails>, DriveError> {
        let missing = || DriveError::damaged(format!("payment {} has no beginning", self.payment_id));
        self.payment.details.as_ref().ok_or_else(missing)
    }
}

/// Why a payment could not be driven to its end now. Recovery takes it up again.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The store refused for good; other failures of the store are waited out.
    #[error(transparent)]
    Store(StoreError),
    /// The channel has not said for long what it did; there is no other way than to go on asking.
    #[error("the channel has not said what it did")]
    StillUnknown,
}

impl DriveError {
    pub(super) fn damaged(what: String) -> Self {
        Self::Store(StoreError::Damaged(what))
    }
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
        let Some(_driven) = self.driven.enter(&Work::of_payment(&resume.payment_id)) else { return Ok(()) };
        match resume.payment.status {
            PaymentStatus::Reserved | PaymentStatus::OutcomeUnknown => {
                let (_, ended) = self.settle(resume).await?;
                meters::payment_ended(ended, None);
            }
            PaymentStatus::Capturing | PaymentStatus::Voiding => {
                self.end_authorization(resume).await?;
            }
            // Its first append is all that there is to do, or somebody else has ended it.
            PaymentStatus::New
            | PaymentStatus::Initiated
            | PaymentStatus::Assessed
            | PaymentStatus::Rejected
            | PaymentStatus::Authorized
            | PaymentStatus::Completed
            | PaymentStatus::Failed
            | PaymentStatus::Voided
            | PaymentStatus::NeedsReview => {}
        }
        Ok(())
    }

    async fn settle(&self, mut resume: Resume) -> Result<(Reply, Ended), DriveError> {
        let details = Arc::clone(resume.details()?);
        let mut asking = self.asking(order(&details)?, &resume.begun_by, resume.asked_before);
        loop {
            match asking.hear(&resume.context).await {
                Heard::Done(transaction_id) => {
                    let receipt = self.complete(&resume, &details, transaction_id).await?;
                    return Ok((self.reply(receipt, &resume, &details.requester).await?, Ended::Success));
                }
                Heard::Declined(reason) => {
                    let receipt = self.decline(&resume, &details, reason).await?;
                    return Ok((self.reply(receipt, &resume, &details.requester).await?, Ended::Failed));
                }
                Heard::Unknown(reason) => self.record_unknown(&mut resume, &reason).await?,
                Heard::GivenUp => {
                    let receipt = self.require_review(&resume, &details).await?;
                    return Ok((self.reply(receipt, &resume, &details.requester).await?, Ended::Failed));
                }
            }
        }
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
        if details.is_captured_by_hand() {
            let unit = Unit::led_by(confirm, resume.context.clone()).observing(details.payer.clone());
            let unit = self.answering(unit, details, &details.requester, resume);
            return self.persist(|| unit.clone()).await;
        }
        self.take(resume, details, details.amount, &confirm, &details.requester).await
    }

    /// The hold is spent, settlement credited, and the payment confirmed, in one append that answers the
    /// request.
    pub(super) async fn take(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        amount: Money,
        confirm: &Step,
        requester: &Requester,
    ) -> Result<Receipt, DriveError> {
        loop {
            let settlement = self.settlement(resume, details).await?;
            let unit = Unit::led_by(confirm.clone(), resume.context.clone());
            let unit = ending::capturing(unit, details, amount, &settlement);
            let unit = self.answering(unit, details, requester, resume);
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

    pub(super) async fn settlement(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
    ) -> Result<AccountId, DriveError> {
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
        let decline = PaymentCommand::ConfirmDeclined { reason };
        self.let_go(resume, details, decline, Some(&details.requester)).await
    }

    /// The hold is released in the append that ends the payment without money moved.
    pub(super) async fn let_go(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        end: PaymentCommand,
        requester: Option<&Requester>,
    ) -> Result<Receipt, DriveError> {
        let end = Step::Payment(resume.payment_id.clone(), end);
        let mut unit = ending::releasing(Unit::led_by(end, resume.context.clone()), details);
        if let Some(requester) = requester {
            unit = self.answering(unit, details, requester, resume);
        }
        let releasing = tracing::info_span!("account.release");
        spans::link(&releasing, &resume.begun_by, LinkKind::Compensates);
        self.persist(|| unit.clone()).instrument(releasing).await
    }

    async fn require_review(&self, resume: &Resume, details: &PaymentDetails) -> Result<Receipt, DriveError> {
        self.ask_a_person(
            resume,
            details,
            "the channel has not said whether it paid",
            Some(&details.requester),
        )
        .await
    }

    /// Nobody but a person can find out any more; the hold stays.
    pub(super) async fn ask_a_person(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        reason: &str,
        requester: Option<&Requester>,
    ) -> Result<Receipt, DriveError> {
        tracing::error!(payment.id = %resume.payment_id, reason, "review required");
        let command = PaymentCommand::RequireReview { reason: reason.to_owned() };
        let mut unit =
            Unit::led_by(Step::Payment(resume.payment_id.clone(), command), resume.context.clone())
                .observing(details.payer.clone());
        if let Some(requester) = requester {
            unit = self.answering(unit, details, requester, resume);
        }
        self.persist(|| unit.clone()).await
    }

    /// Answers the request that waits for this, in the same append.
    fn answering(
        &self,
        unit: Unit,
        details: &PaymentDetails,
        requester: &Requester,
        resume: &Resume,
    ) -> Unit {
        self.answering_payment(unit, details, requester, resume.context.trace.trace_id())
    }

    /// Repeats a unit until the store has it. What the channel said must not be lost to a database
    /// that restarts; a unit that has already happened does nothing.
    pub(super) async fn persist(&self, unit: impl Fn() -> Unit) -> Result<Receipt, DriveError> {
        let mut delay = STORE_RETRY_FIRST;
        loop {
            match self.store.execute(unit()).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => retry_later(error, delay).await?,
            }
            delay = (delay * 2).min(STORE_RETRY_MAX);
        }
    }

    /// What answers the request that waits for this.
    pub(super) async fn reply(
        &self,
        receipt: Receipt,
        resume: &Resume,
        requester: &Requester,
    ) -> Result<Reply, DriveError> {
        if let (true, Some(answer)) = (receipt.appended, receipt.answer) {
            let trace_id = resume.context.trace.trace_id().to_owned();
            return Ok(Reply { answer, replayed: false, trace_id });
        }
        // Another process ended it first; its answer is the one.
        let key = requester.into();
        loop {
            match self.store.look_up(&key, None).await {
                Ok(found) => {
                    let recorded = found
                        .key
                        .and_then(|record| Some((record.answer.clone()?, record.trace_id().to_owned())));
                    let (answer, trace_id) =
                        recorded.ok_or_else(|| DriveError::damaged(KeyConflict::InFlight.to_string()))?;
                    return Ok(Reply { answer, replayed: false, trace_id });
                }
                Err(error) => retry_later(error, STORE_RETRY_FIRST).await?,
            }
        }
    }
}

/// What the channel is asked to collect, or to pay out.
fn order(details: &PaymentDetails) -> Result<ChannelOrder, DriveError> {
    let (payment_id, amount) = (details.payment_id.clone(), details.amount);
    match &details.route {
        Route::Channel { payment_method, capture } => Ok(ChannelOrder::Pay(Charge {
            payment_id,
            amount,
            payment_method: payment_method.clone(),
            capture: *capture,
        })),
        Route::Payout { reference } => {
            Ok(ChannelOrder::PayOut { payment_id, amount, reference: reference.clone() })
        }
        Route::Transfer { .. } => {
            Err(DriveError::damaged(format!("transfer {payment_id} waits for a channel")))
        }
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
