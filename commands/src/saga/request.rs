//! From a client's request to a payment that holds its funds, or to its refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::AccountCommand;
use domain::payment::{
    FailureReason, PaymentCommand, PaymentDetails, PaymentStatus, Requester, RiskAssessment, RiskLevel, Route,
};
use domain::{AccountError, AccountId, Money, PaymentError, PaymentId, UserId};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{DriveError, DrivenGuard, PaymentSaga, Resume, Work};
use crate::context::TraceContext;
use crate::idempotency::{InFlightGuard, KeyConflict, KeyedRequest, Reply};
use crate::keyed::KeyedError;
use crate::meters::{self, Ended};
use crate::ports::{RiskRequest, StoreError};
use crate::spans;
use crate::unit::{Receipt, Refusal, Step, Unit};

/// What a client asks for, valid in itself.
#[derive(Debug, Clone)]
pub struct PaymentRequest {
    /// The payment, named by the client or by the edge.
    pub payment_id: PaymentId,
    /// Who pays.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// Where the money goes.
    pub route: Route,
    /// The client's own notes.
    pub metadata: BTreeMap<String, String>,
}

/// Why a request for a payment has no recorded answer. Nothing was charged.
#[derive(Debug, thiserror::Error)]
pub enum PaymentRequestError {
    /// The key is in use, or was used for something else.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The payment's id belongs to another payment.
    #[error("payment {payment_id} already exists")]
    PaymentExists {
        /// The id that is taken.
        payment_id: PaymentId,
    },
    /// The risk service cannot answer, and the amount is too large to go on without it.
    #[error("the risk service is not available")]
    RiskUnavailable,
    /// The channel cannot be asked now; nothing was begun.
    #[error("the payment channel is not available")]
    ChannelUnavailable,
    /// The store could not carry it out.
    #[error(transparent)]
    Store(StoreError),
}

impl From<DriveError> for PaymentRequestError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Store(error) => Self::Store(error),
            DriveError::StillUnknown => Self::Store(StoreError::OutcomeUnknown),
        }
    }
}

impl From<KeyedError> for PaymentRequestError {
    fn from(error: KeyedError) -> Self {
        match error {
            KeyedError::Key(conflict) => Self::Key(conflict),
            KeyedError::ChannelUnavailable => Self::ChannelUnavailable,
            KeyedError::Store(error) => Self::Store(error),
        }
    }
}

/// How far [`PaymentSaga::begin`] got.
pub enum Begun {
    /// The request is answered: a repeat, a rejection, a failure.
    Answered(Reply, Ended),
    /// The payment holds its funds and can be driven on.
    Reserved(Box<Reserved>),
}

/// A payment that holds its funds, and the request that waits for it.
pub struct Reserved {
    /// Where it is.
    pub(super) resume: Resume,
    pub(super) _in_flight: InFlightGuard,
    pub(super) driven: DrivenGuard,
}

impl Reserved {
    /// The payment.
    #[must_use]
    pub fn payment_id(&self) -> &PaymentId {
        &self.resume.payment_id
    }
}

impl PaymentSaga {
    /// Carries a request as far as the held funds: the part that may still refuse.
    ///
    /// # Errors
    /// [`PaymentRequestError`]: nothing was changed, or (for an unknown outcome) a repeat under the
    /// same key finds out.
    pub async fn begin(
        &self,
        request: PaymentRequest,
        keyed: KeyedRequest,
    ) -> Result<Begun, PaymentRequestError> {
        let in_flight = self.in_flight.enter(&keyed.claim.key).ok_or(KeyConflict::InFlight)?;
        if let Some(reply) = self.recorded(&request, &keyed).await? {
            return Ok(Begun::Answered(reply, Ended::Duplicate));
        }
        if !self.channel.admits() {
            meters::failed("channel");
            return Err(PaymentRequestError::ChannelUnavailable);
        }
        let assessment = self.assess_risk(&request, &keyed).await?;
        let Some(driven) = self.driven.enter(&Work::of_payment(&request.payment_id)) else {
            return Err(PaymentRequestError::PaymentExists { payment_id: request.payment_id });
        };
        let plan = Plan::of(request, assessment, &keyed);
        // What is turned away holds nothing.
        let holding = if plan.is_high_risk() { Span::none() } else { tracing::info_span!("account.hold") };
        let holding = self.store.execute(self.first_unit(&plan, &keyed)).instrument(holding);
        let receipt = match holding.await {
            Err(StoreError::Refused(Refusal::Account(refusal))) => {
                self.record_failure(&plan, &refusal, &keyed).await
            }
            other => other,
        };
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(StoreError::KeyTaken) => return self.answered_meanwhile(&plan, &keyed).await,
            Err(StoreError::Refused(Refusal::Payment(PaymentError::AlreadyExists { payment_id }))) => {
                return Err(PaymentRequestError::PaymentExists { payment_id });
            }
            Err(error) => return Err(PaymentRequestError::Store(error)),
        };
        self.begun(plan, receipt, keyed, in_flight, driven).await
    }

    async fn begun(
        &self,
        plan: Plan,
        receipt: Receipt,
        keyed: KeyedRequest,
        in_flight: InFlightGuard,
        driven: DrivenGuard,
    ) -> Result<Begun, PaymentRequestError> {
        let trace_id = keyed.context.trace.trace_id().to_owned();
        if let Some(answer) = receipt.answer {
            let ended = if plan.is_high_risk() { Ended::Rejected } else { Ended::Failed };
            return Ok(Begun::Answered(Reply { answer, replayed: false, trace_id }, ended));
        }
        let payment = receipt.states.payment(&plan.payment_id).filter(|_| receipt.appended).cloned();
        let Some(payment) = payment.filter(|payment| payment.status == PaymentStatus::Reserved) else {
            // The very same request was carried out before, by a process that is gone or slow.
            return self.answered_meanwhile(&plan, &keyed).await;
        };
        let cause = receipt.last_event_id.unwrap_or_default();
        let context = keyed.context.caused_by(&cause);
        let (payment_id, begun_by) = (plan.payment_id, receipt.recorded_by);
        let resume = Resume { payment_id, payment, context, begun_by, asked_before: false };
        Ok(Begun::Reserved(Box::new(Reserved { resume, _in_flight: in_flight, driven })))
    }

    async fn answered_meanwhile(
        &self,
        plan: &Plan,
        keyed: &KeyedRequest,
    ) -> Result<Begun, PaymentRequestError> {
        let found = self.look_up(keyed, &plan.payment_id).await?;
        match found.key {
            Some(record) => Ok(Begun::Answered(record.reply_to(&keyed.claim)?, Ended::Duplicate)),
            None => Err(PaymentRequestError::PaymentExists { payment_id: plan.payment_id.clone() }),
        }
    }

    async fn recorded(
        &self,
        request: &PaymentRequest,
        keyed: &KeyedRequest,
    ) -> Result<Option<Reply>, PaymentRequestError> {
        let checking = tracing::info_span!("payment.idempotency_check");
        let found = self.look_up(keyed, &request.payment_id).instrument(checking).await?;
        if let Some(record) = found.key {
            record.link_repeat();
            return Ok(Some(record.reply_to(&keyed.claim)?));
        }
        if found.payment_exists {
            return Err(PaymentRequestError::PaymentExists { payment_id: request.payment_id.clone() });
        }
        Ok(None)
    }

    async fn look_up(
        &self,
        keyed: &KeyedRequest,
        payment_id: &PaymentId,
    ) -> Result<crate::ports::LookUp, PaymentRequestError> {
        self.store.look_up(&keyed.claim.key, Some(payment_id)).await.map_err(PaymentRequestError::Store)
    }

    /// The risk step. Without an answer, a small amount goes on, marked as degraded.
    async fn assess_risk(
        &self,
        request: &PaymentRequest,
        keyed: &KeyedRequest,
    ) -> Result<RiskAssessment, PaymentRequestError> {
        let question = RiskRequest {
            payment_id: request.payment_id.clone(),
            user_id: request.user_id.clone(),
            amount: request.amount,
            payment_method: request.route.method().to_owned(),
        };
        let span = spans::call("risk.check");
        let context = keyed.context.within(&span);
        match self.risk.evaluate(&question, &context).instrument(span.clone()).await {
            Ok(verdict) => {
                span.record("risk.level", verdict.level.name());
                span.record("risk.score", verdict.score);
                meters::risk_assessed(verdict.level.name(), false);
                Ok(RiskAssessment::Assessed { level: verdict.level, score: verdict.score })
            }
            Err(unavailable) => {
                meters::failed("risk");
                let limit = self.settings.degraded_limits.get(&request.amount.currency);
                let small = limit.is_some_and(|limit| request.amount.minor <= *limit);
                tracing::warn!(payment.id = %request.payment_id, degraded = small, reason = %unavailable,
                    "risk service not available");
                if small {
                    meters::risk_assessed("unknown", true);
                    Ok(RiskAssessment::Degraded { reason: unavailable.reason })
                } else {
                    Err(PaymentRequestError::RiskUnavailable)
                }
            }
        }
    }

    /// Initiated, assessed and either rejected or reserved: nothing outside happens between these
    /// steps, so they share one append.
    fn first_unit(&self, plan: &Plan, keyed: &KeyedRequest) -> Unit {
        let unit = plan.initiate(keyed);
        if plan.is_high_risk() {
            let requester = &plan.details.requester;
            return self.answering_payment(unit, &plan.details, requester, keyed.context.trace.trace_id());
        }
        let hold = AccountCommand::Hold { payment_id: plan.payment_id.clone(), amount: plan.details.amount };
        unit.then(Step::Payment(plan.payment_id.clone(), PaymentCommand::ReserveFunds))
            .then(Step::Account(plan.details.payer.clone(), hold))
    }

    /// The account refused: the payment is recorded as failed, and nothing is held.
    async fn record_failure(
        &self,
        plan: &Plan,
        refusal: &AccountError,
        keyed: &KeyedRequest,
    ) -> Result<Receipt, StoreError> {
        let reason = failure_of(refusal)?;
        let fail = Step::Payment(plan.payment_id.clone(), PaymentCommand::Fail(reason));
        let unit = plan.initiate(keyed).then(fail);
        let requester = &plan.details.requester;
        let unit = self.answering_payment(unit, &plan.details, requester, keyed.context.trace.trace_id());
        self.store.execute(unit).await
    }

    /// Records the answer for whoever asked for the payment, or for the end of its authorization, in the
    /// append that brings it about.
    pub(super) fn answering_payment(
        &self,
        unit: Unit,
        details: &PaymentDetails,
        requester: &Requester,
        trace_id: &str,
    ) -> Unit {
        let format = Arc::clone(&self.format);
        let (payment_id, payer) = (details.payment_id.clone(), details.payer.clone());
        let asked_for_it = *requester == details.requester;
        let trace_id = trace_id.to_owned();
        unit.answering(requester.into(), move |states| {
            let untouched = domain::Payment::default();
            let payment = states.payment(&payment_id).map_or(&untouched, Arc::as_ref);
            let payer = states.account(&payer).map(Arc::as_ref);
            if asked_for_it {
                format.payment(payment, payer, &trace_id)
            } else {
                format.authorization_ended(payment, payer, &trace_id)
            }
        })
    }

    /// A request from its first step to its answer; what a caller awaits, and what goes on when the
    /// caller has gone away.
    ///
    /// # Errors
    /// [`PaymentRequestError`] from [`PaymentSaga::begin`], [`DriveError`] as its store error.
    pub async fn process(
        &self,
        request: PaymentRequest,
        keyed: KeyedRequest,
    ) -> Result<Reply, PaymentRequestError> {
        let PaymentRequest { payment_id, user_id, amount, route, .. } = &request;
        let span = processing(payment_id, user_id, *amount, route.method(), &keyed.context.trace);
        let began = Instant::now();
        let way = async {
            match self.begin(request, keyed).await? {
                Begun::Answered(reply, ended) => Ok((reply, ended)),
                Begun::Reserved(reserved) => Ok(self.finish(*reserved).await?),
            }
        };
        let processed = way.instrument(span).await;
        let ended = match &processed {
            Ok((_, ended)) => *ended,
            Err(PaymentRequestError::Key(_) | PaymentRequestError::PaymentExists { .. }) => Ended::Duplicate,
            Err(
                PaymentRequestError::RiskUnavailable
                | PaymentRequestError::ChannelUnavailable
                | PaymentRequestError::Store(_),
            ) => Ended::Failed,
        };
        meters::payment_ended(ended, Some(began.elapsed()));
        processed.map(|(reply, _)| reply)
    }
}

/// The span of a payment's way from its request to its end. The request's own span ends with its answer, which may
/// be that the payment goes on.
pub(super) fn processing(
    payment_id: &PaymentId,
    user_id: &UserId,
    amount: Money,
    method: &str,
    trace: &TraceContext,
) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "payment.process",
        payment.id = %payment_id,
        user.id = %user_id,
        payment.amount = %amount,
        payment.currency = amount.currency.code(),
        payment.method = method,
    );
    spans::join_trace(&span, trace);
    span
}

/// A request that has passed the risk step.
struct Plan {
    payment_id: PaymentId,
    details: Arc<PaymentDetails>,
    assessment: RiskAssessment,
}

impl Plan {
    fn of(request: PaymentRequest, assessment: RiskAssessment, keyed: &KeyedRequest) -> Self {
        let details = PaymentDetails {
            payment_id: request.payment_id.clone(),
            payer: AccountId::of_user(&request.user_id, request.amount.currency),
            user_id: request.user_id,
            amount: request.amount,
            route: request.route,
            requester: keyed.claim.key.requester(),
            metadata: request.metadata,
        };
        Self { payment_id: request.payment_id, details: Arc::new(details), assessment }
    }

    fn is_high_risk(&self) -> bool {
        matches!(self.assessment, RiskAssessment::Assessed { level: RiskLevel::High, .. })
    }

    fn initiate(&self, keyed: &KeyedRequest) -> Unit {
        let step = |command| Step::Payment(self.payment_id.clone(), command);
        Unit::led_by(step(PaymentCommand::Initiate(self.details.clone())), keyed.context.clone())
            .then(step(PaymentCommand::AssessRisk(self.assessment.clone())))
            .claiming(keyed.claim.clone())
            .expecting_new()
    }
}

/// Why the payment fails when its payer's account refuses the hold.
pub(super) fn failure_of(refusal: &AccountError) -> Result<FailureReason, StoreError> {
    Ok(match refusal {
        AccountError::InsufficientFunds { available, .. } => {
            FailureReason::InsufficientFunds { available: *available }
        }
        AccountError::NotFound => FailureReason::AccountNotFound,
        AccountError::Frozen => FailureReason::AccountFrozen,
        AccountError::Closed => FailureReason::AccountClosed,
        // The account id is derived from the currency and the hold from the payment: neither a
        // wrong currency nor a foreign hold can be met here.
        other => return Err(StoreError::Damaged(other.to_string())),
    })
}
