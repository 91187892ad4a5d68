//! Refunds: a part of what was captured goes back to the payer.
//!
//! ```text
//! refund ─► [1] RefundStarted ── channel ──┬─ done     [2] RefundCompleted + debit settlement + credit payer
//!                                          └─ declined [2'] RefundFailed
//! ```
//!
//! What has begun counts as given back, so that refunds that race never exceed what was captured. A refund
//! of which the channel says nothing stays begun: it is asked after until it is known.

use std::sync::Arc;

use domain::account::{AccountError, AccountStatus};
use domain::payment::{PaymentCommand, PaymentDetails, Refund, RefundStatus, Requester};
use domain::{AccountId, Money, PaymentId, PostingId, RefundId, TransactionId};
use tracing::Instrument;

use super::asking::Heard;
use super::authorization::{Begun, failed, started, still_unknown};
use super::{DriveError, PaymentSaga, Resume, Work, ending};
use crate::idempotency::{Answer, KeyedRequest, Reply};
use crate::keyed::KeyedError;
use crate::ports::{ChannelOrder, StoreError};
use crate::spans;
use crate::system_accounts::SHARDS;
use crate::unit::{Receipt, Refusal, Step, Unit};

/// The purpose of the system accounts that have what came back for users whose accounts cannot take it any
/// more.
pub const UNCLAIMED: &str = "unclaimed";

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    /// The payment.
    pub payment_id: PaymentId,
    /// The refund, named by the edge.
    pub refund_id: RefundId,
    /// How much, `None` for all that is left.
    pub amount: Option<Money>,
}

impl PaymentSaga {
    /// Gives a part of a payment back, on a client's request.
    ///
    /// # Errors
    /// [`KeyedError`]: nothing was changed, or (for an unknown outcome) a repeat under the same key finds out.
    pub async fn refund(&self, request: RefundRequest, keyed: KeyedRequest) -> Result<Reply, KeyedError> {
        let span = tracing::info_span!(parent: None, "payment.refund", payment.id = %request.payment_id,
            refund.id = %request.refund_id);
        spans::join_trace(&span, &keyed.context.trace);
        self.keyed.once(&keyed, self.begin_refund(&request, &keyed)).instrument(span).await
    }

    async fn begin_refund(
        &self,
        request: &RefundRequest,
        keyed: &KeyedRequest,
    ) -> Result<Option<Answer>, KeyedError> {
        self.channel_admits()?;
        let RefundRequest { payment_id, refund_id, amount } = request;
        let stored = self.store.payment(payment_id).await.map_err(KeyedError::Store)?;
        let Some(details) = stored.state.details.clone() else {
            return Err(KeyedError::Store(StoreError::Damaged(format!("no payment {payment_id}"))));
        };
        let payer = self.store.account(&details.payer).await.map_err(KeyedError::Store)?;
        if payer.state.status == AccountStatus::Closed {
            let trace_id = keyed.context.trace.trace_id();
            let answer = self.format.account_refused(&details.payer, &AccountError::Closed, trace_id);
            return self.keyed.record(answer, keyed).await;
        }
        // Where nothing is left, all of it is too much.
        let left = || stored.state.refundable().filter(|left| left.is_positive());
        let amount = amount.or_else(left).unwrap_or(details.amount);
        let command = PaymentCommand::StartRefund {
            refund_id: refund_id.clone(),
            amount,
            requester: keyed.claim.key.requester(),
        };
        let step = Step::Payment(payment_id.clone(), command);
        let begun =
            self.store.execute(Unit::led_by(step, keyed.context.clone()).claiming(keyed.claim.clone()));
        match self.begun_or_refused(payment_id, begun.await, keyed).await? {
            None => Ok(None),
            Some(Begun::Refused(answer)) => Ok(Some(answer)),
            Some(Begun::Started(receipt)) => {
                let resume = started(payment_id, receipt, &keyed.context)?;
                let work = Work::of_refund(payment_id, refund_id);
                let Some(_driven) = self.driven.enter(&work) else { return Ok(None) };
                let reply = self.end_refund(&resume, refund_id).await.map_err(failed)?;
                Ok(reply.map(|reply| reply.answer))
            }
        }
    }

    /// Takes a refund up where its events say it is, unless this process is already at it.
    ///
    /// # Errors
    /// [`DriveError`] leaves it to the next round of recovery.
    pub async fn drive_refund(&self, resume: &Resume, refund_id: &RefundId) -> Result<(), DriveError> {
        let work = Work::of_refund(&resume.payment_id, refund_id);
        let Some(_driven) = self.driven.enter(&work) else { return Ok(()) };
        self.end_refund(resume, refund_id).await.map(|_| ())
    }

    async fn end_refund(&self, resume: &Resume, refund_id: &RefundId) -> Result<Option<Reply>, DriveError> {
        let Some(refund) = resume.payment.refunds.get(refund_id) else { return Ok(None) };
        if refund.status != RefundStatus::Started {
            return Ok(None);
        }
        let details = Arc::clone(resume.details()?);
        let order = ChannelOrder::Refund {
            payment_id: resume.payment_id.clone(),
            refund_id: refund_id.clone(),
            amount: refund.amount,
        };
        let mut asking = self.asking(order, &resume.begun_by, resume.asked_before);
        let receipt = loop {
            match asking.hear(&resume.context).await {
                Heard::Done(transaction_id) => {
                    break self.give_back(resume, &details, (refund_id, refund), transaction_id).await?;
                }
                Heard::Declined(reason) => {
                    let fail = PaymentCommand::FailRefund { refund_id: refund_id.clone(), reason };
                    let fail = Step::Payment(resume.payment_id.clone(), fail);
                    let unit = Unit::led_by(fail, resume.context.clone());
                    let unit =
                        self.answering_refund(unit, resume, &details, refund_id, refund.requester.as_ref());
                    break self.persist(|| unit.clone()).await?;
                }
                Heard::Unknown(reason) => still_unknown(resume, "refund", &reason),
                Heard::GivenUp => {
                    tracing::error!(payment.id = %resume.payment_id, refund.id = %refund_id,
                        "the channel has not said whether it refunded, asking on");
                    return Err(DriveError::StillUnknown);
                }
            }
        };
        match &refund.requester {
            Some(requester) => Ok(Some(self.reply(receipt, resume, requester).await?)),
            None => Ok(None),
        }
    }

    /// The channel has given it back: settlement is debited, the payer credited, and the refund completed,
    /// in one append. It has happened, so a payer's account that cannot take it is no reason not to book it.
    async fn give_back(
        &self,
        resume: &Resume,
        details: &PaymentDetails,
        (refund_id, refund): (&RefundId, &Refund),
        transaction_id: TransactionId,
    ) -> Result<Receipt, DriveError> {
        let complete = PaymentCommand::CompleteRefund { refund_id: refund_id.clone(), transaction_id };
        let complete = Step::Payment(resume.payment_id.clone(), complete);
        let posting = (PostingId::of_refund(refund_id), refund.amount);
        let (mut to, mut full_shards) = (details.payer.clone(), 0);
        loop {
            let settlement = self.settlement(resume, details).await?;
            let unit = Unit::led_by(complete.clone(), resume.context.clone());
            let unit = ending::refunding(unit, details, posting.clone(), &settlement, &to);
            let unit = self.answering_refund(unit, resume, details, refund_id, refund.requester.as_ref());
            let refused = match self.persist(|| unit.clone()).await {
                Ok(receipt) => {
                    self.system.learn_from(&receipt, &settlement);
                    return Ok(receipt);
                }
                Err(DriveError::Store(StoreError::Refused(Refusal::Account(refused)))) => refused,
                Err(error) => return Err(error),
            };
            let payer_is_asked = to == details.payer;
            match refused {
                // A shard of settlement that can book no more, perhaps; or the payer's account.
                AccountError::BalanceOverflow if full_shards < SHARDS => {
                    full_shards += 1;
                    self.system.leave();
                }
                AccountError::BalanceOverflow | AccountError::Closed if payer_is_asked => {
                    tracing::error!(payment.id = %resume.payment_id, refund.id = %refund_id, reason = %refused,
                        "the payer's account cannot take the refund; it is booked as unclaimed");
                    to = self.unclaimed(resume, details).await?;
                    full_shards = 0;
                }
                refused => return Err(DriveError::Store(StoreError::Refused(Refusal::Account(refused)))),
            }
        }
    }

    async fn unclaimed(&self, resume: &Resume, details: &PaymentDetails) -> Result<AccountId, DriveError> {
        let (store, currency) = (&*self.store, details.amount.currency);
        let unclaimed = self.system.account(store, UNCLAIMED, currency, &resume.context);
        unclaimed.await.map_err(DriveError::Store)
    }

    /// Records the answer for whoever asked for the refund in the append that ends it.
    fn answering_refund(
        &self,
        unit: Unit,
        resume: &Resume,
        details: &PaymentDetails,
        refund_id: &RefundId,
        requester: Option<&Requester>,
    ) -> Unit {
        let Some(requester) = requester else { return unit };
        let (format, refund_id) = (Arc::clone(&self.format), refund_id.clone());
        let (payment_id, payer) = (resume.payment_id.clone(), details.payer.clone());
        let trace_id = resume.context.trace.trace_id().to_owned();
        unit.answering(requester.into(), move |states| {
            let untouched = domain::Payment::default();
            let payment = states.payment(&payment_id).map_or(&untouched, Arc::as_ref);
            format.refund(payment, &refund_id, states.account(&payer).map(Arc::as_ref), &trace_id)
        })
    }
}
