//! Payments in review: an operator has found out what the channel did, and the payment ends.
//!
//! ```text
//! NeedsReview ── paid ──────► resolved + complete + capture hold + credit settlement
//!      │    ├─── paid, to be captured ► resolved + authorize        (the hold stays)
//!      └──────── not paid ──► resolved + fail + release hold
//! ```
//!
//! Each line is one unit of work. The request that asked for the payment was answered when the review
//! was required, and a repeat of it gets that answer again, so no other one is recorded here.
//!
//! **Invariant:** a desk has no way to the channel or the risk service. What it is told is final;
//! two operators, or two processes, that differ meet in the payment's stream, and one is refused.

use std::sync::Arc;

use domain::account::AccountError;
use domain::payment::{Ending, PaymentCommand, PaymentDetails, PaymentStatus, ReviewOutcome};
use domain::{Payment, PaymentId};

use super::{PaymentSaga, ending};
use crate::context::{CommandContext, TraceContext};
use crate::idempotency::{Answer, KeyedRequest, Reply};
use crate::keyed::KeyedError;
use crate::ports::{EventStore, StoreError};
use crate::system_accounts::{SHARDS, SystemAccounts};
use crate::unit::{Receipt, Refusal, Step, Unit};

/// Where operators resolve reviews.
pub struct ReviewDesk {
    store: Arc<dyn EventStore>,
    system: Arc<SystemAccounts>,
    channel_name: String,
}

/// What an operator says about a payment.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The payment.
    pub payment_id: PaymentId,
    /// What the channel did.
    pub outcome: ReviewOutcome,
    /// Who says so.
    pub operator: String,
    /// How they know.
    pub reason: String,
    /// The trace in which they say it.
    pub trace: TraceContext,
}

/// A payment whose review is resolved.
#[derive(Debug)]
pub struct Resolved {
    /// Its state.
    pub payment: Arc<Payment>,
    /// Position of the last event of the resolution; absent when it had been resolved so before.
    pub position: Option<i64>,
}

/// Why a review is not resolved. Nothing was changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such payment.
    #[error("there is no payment {payment_id}")]
    NotFound {
        /// The id that was asked for.
        payment_id: PaymentId,
    },
    /// The engine still finds out by itself.
    #[error("payment {payment_id} is not in review but {status}: the engine is still at it")]
    NotInReview {
        /// The payment.
        payment_id: PaymentId,
        /// Where it is.
        status: &'static str,
    },
    /// It has ended in another way, by a review or without one.
    #[error("payment {payment_id} has ended otherwise: {ending}")]
    EndedOtherwise {
        /// The payment.
        payment_id: PaymentId,
        /// How it ended.
        ending: String,
    },
    /// The store could not carry it out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReviewDesk {
    /// A desk for payments through the channel of this name.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, system: Arc<SystemAccounts>, channel_name: String) -> Self {
        Self { store, system, channel_name }
    }

    /// Ends a payment as an operator says. Saying the same again is fine and changes nothing.
    ///
    /// # Errors
    /// [`ReviewError`]; after [`StoreError::OutcomeUnknown`] saying it again finds out.
    pub async fn resolve(&self, resolution: &Resolution) -> Result<Resolved, ReviewError> {
        let mut full_shards = 0;
        loop {
            let stored = self.store.payment(&resolution.payment_id).await?;
            let Some(details) = stored.state.details.clone() else {
                return Err(ReviewError::NotFound { payment_id: resolution.payment_id.clone() });
            };
            match stored.state.decide(command(resolution)) {
                Err(_) => return Err(refused(&resolution.payment_id, &stored.state)),
                Ok(events) if events.is_empty() => {
                    return Ok(Resolved { payment: stored.state, position: None });
                }
                Ok(_) => {}
            }
            let context = context(resolution, stored.last_event_id.as_deref());
            match self.carry_out(resolution, &details, stored.state.ending.as_ref(), &context).await {
                Ok(receipt) if receipt.appended => return Ok(resolved(resolution, receipt, stored.state)),
                // Somebody else resolved it first; what they said is in the state now.
                Ok(_) | Err(StoreError::Refused(Refusal::Payment(_))) => {}
                // This shard of settlement can book no more; another one can.
                Err(StoreError::Refused(Refusal::Account(AccountError::BalanceOverflow)))
                    if full_shards < SHARDS =>
                {
                    full_shards += 1;
                    self.system.leave();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn carry_out(
        &self,
        resolution: &Resolution,
        details: &PaymentDetails,
        under_way: Option<&Ending>,
        context: &CommandContext,
    ) -> Result<Receipt, StoreError> {
        let lead = Step::Payment(resolution.payment_id.clone(), command(resolution));
        let unit = Unit::led_by(lead, context.clone());
        let unit = match &resolution.outcome {
            ReviewOutcome::NotPaid => ending::releasing(unit, details),
            // What was guaranteed stays held until it is captured.
            ReviewOutcome::Paid { .. } if details.is_captured_by_hand() && under_way.is_none() => unit,
            ReviewOutcome::Paid { .. } => {
                let amount = match under_way {
                    Some(Ending::Capture { amount, .. }) => *amount,
                    Some(Ending::Void { .. }) | None => details.amount,
                };
                let settlement =
                    ending::settlement(&*self.store, &self.system, &self.channel_name, details, context);
                ending::capturing(unit, details, amount, &settlement.await?)
            }
        };
        self.store.execute(unit).await
    }
}

/// Why a request to resolve a review has no recorded answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewRequestError {
    /// The key is in use, or the store failed.
    #[error(transparent)]
    Keyed(#[from] KeyedError),
    /// The payment cannot be resolved so.
    #[error(transparent)]
    Review(#[from] ReviewError),
}

impl PaymentSaga {
    /// Resolves a review on an operator's request, and answers it once.
    ///
    /// # Errors
    /// [`ReviewRequestError`]; after an unknown outcome a repeat under the same key finds out.
    pub async fn resolve_review(
        &self,
        resolution: &Resolution,
        keyed: &KeyedRequest,
    ) -> Result<Reply, ReviewRequestError> {
        let (store, system) = (Arc::clone(&self.store), Arc::clone(&self.system));
        let desk = ReviewDesk::new(store, system, self.settings.channel_name.clone());
        let work = async {
            // To resolve again what was resolved so changes nothing: the answer may follow by itself.
            let resolved = desk.resolve(resolution).await?;
            let answer = self.format.review_resolved(&resolved.payment, keyed.context.trace.trace_id());
            let answer = Answer { position: resolved.position, ..answer };
            Ok(self.keyed.record(answer, keyed).await?)
        };
        self.keyed.once(keyed, work).await
    }
}

fn command(resolution: &Resolution) -> PaymentCommand {
    PaymentCommand::ResolveReview {
        outcome: resolution.outcome.clone(),
        operator: resolution.operator.clone(),
        reason: resolution.reason.clone(),
    }
}

fn context(resolution: &Resolution, cause: Option<&str>) -> CommandContext {
    CommandContext {
        correlation_id: Arc::from(resolution.payment_id.as_str()),
        causation_id: Arc::from(cause.unwrap_or_default()),
        actor: Arc::from(format!("operator:{}", resolution.operator)),
        trace: Arc::new(resolution.trace.clone()),
    }
}

fn resolved(resolution: &Resolution, receipt: Receipt, before: Arc<Payment>) -> Resolved {
    let payment = receipt.states.payment(&resolution.payment_id).cloned().unwrap_or(before);
    tracing::info!(payment.id = %resolution.payment_id, operator = resolution.operator,
        status = payment.status.name(), "review resolved");
    Resolved { payment, position: receipt.position }
}

/// Why a payment in this state cannot be resolved as it was asked.
fn refused(payment_id: &PaymentId, payment: &Payment) -> ReviewError {
    let (payment_id, status) = (payment_id.clone(), payment.status.name());
    match payment.status {
        PaymentStatus::New
        | PaymentStatus::Initiated
        | PaymentStatus::Assessed
        | PaymentStatus::Reserved
        | PaymentStatus::OutcomeUnknown
        | PaymentStatus::Capturing
        | PaymentStatus::Voiding
        | PaymentStatus::NeedsReview => ReviewError::NotInReview { payment_id, status },
        PaymentStatus::Rejected
        | PaymentStatus::Authorized
        | PaymentStatus::Completed
        | PaymentStatus::Failed
        | PaymentStatus::Voided => {
            let transaction = payment.transaction_id.as_ref().map(|id| format!(", transaction {id}"));
            let failure = payment.failure.as_ref().map(|failure| format!(", {}", failure.code()));
            let ending =
                format!("{status}{}{}", transaction.unwrap_or_default(), failure.unwrap_or_default());
            ReviewError::EndedOtherwise { payment_id, ending }
        }
    }
}
