//! Transfers: from one user to another, in one append.
//!
//! A transfer is a payment without a channel: it is initiated and completed, with both legs of its
//! posting, or it is initiated and failed. Nothing can be left open in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::{Account, AccountCommand, AccountError};
use domain::payment::{FailureReason, PaymentCommand, PaymentDetails, PaymentError, Route};
use domain::{AccountId, Money, PaymentId, PostingId, UserId};
use tokio::time::Instant;
use tracing::Instrument;

use super::request::{failure_of, processing};
use super::{PaymentRequestError, PaymentSaga};
use crate::idempotency::{Answer, KeyedRequest, Reply};
use crate::meters::{self, Ended};
use crate::ports::StoreError;
use crate::unit::{Receipt, Refusal, Step, Unit};

/// How often accounts that refuse and then do not are tried: they change under the transfer's hands.
const ATTEMPTS: u32 = 5;

/// What a client asks for, valid in itself: the users differ.
#[derive(Debug, Clone)]
pub struct TransferRequest {
    /// The payment, named by the client or by the edge.
    pub payment_id: PaymentId,
    /// Who pays.
    pub from_user_id: UserId,
    /// Who receives.
    pub to_user_id: UserId,
    /// How much.
    pub amount: Money,
    /// The client's own notes.
    pub metadata: BTreeMap<String, String>,
}

impl PaymentSaga {
    /// Carries a transfer out, or records why it failed.
    ///
    /// # Errors
    /// [`PaymentRequestError`]: nothing was changed, or (for an unknown outcome) a repeat under the same key
    /// finds out.
    pub async fn transfer(
        &self,
        request: TransferRequest,
        keyed: KeyedRequest,
    ) -> Result<Reply, PaymentRequestError> {
        let TransferRequest { payment_id, from_user_id, amount, .. } = &request;
        let span = processing(payment_id, from_user_id, *amount, "transfer", &keyed.context.trace);
        let began = Instant::now();
        let mut ended = Ended::Duplicate;
        let transferring = self.keyed.once(&keyed, self.carry_out(request, &keyed, &mut ended));
        let transferred = transferring.instrument(span).await;
        if matches!(transferred, Err(PaymentRequestError::Store(_))) {
            ended = Ended::Failed;
        }
        meters::payment_ended(ended, Some(began.elapsed()));
        transferred
    }

    async fn carry_out(
        &self,
        request: TransferRequest,
        keyed: &KeyedRequest,
        ended: &mut Ended,
    ) -> Result<Option<Answer>, PaymentRequestError> {
        let transfer = Transfer::of(request, keyed);
        for _ in 0..ATTEMPTS {
            let unit = self.answering_transfer(transfer.complete(keyed), &transfer, keyed);
            let refused = match self.store.execute(unit).await {
                Err(StoreError::Refused(Refusal::Account(refused))) => refused,
                other => return answered(other, ended, Ended::Success),
            };
            tracing::debug!(payment.id = %transfer.details.payment_id, %refused, "a transfer is refused");
            if let Some(reason) = self.why_refused(&transfer).await? {
                let unit = self.answering_transfer(transfer.fail(reason, keyed), &transfer, keyed);
                return answered(self.store.execute(unit).await, ended, Ended::Failed);
            }
        }
        Err(PaymentRequestError::Store(StoreError::Contended))
    }

    fn answering_transfer(&self, unit: Unit, transfer: &Transfer, keyed: &KeyedRequest) -> Unit {
        let details = &transfer.details;
        self.answering_payment(unit, details, &details.requester, keyed.context.trace.trace_id())
    }

    /// Which of the two accounts cannot, and why; `None` when neither refuses any more.
    async fn why_refused(&self, transfer: &Transfer) -> Result<Option<FailureReason>, PaymentRequestError> {
        let state = |account_id| async move {
            let stored = self.store.account(account_id).await.map_err(PaymentRequestError::Store)?;
            Ok::<Arc<Account>, PaymentRequestError>(stored.state)
        };
        let payer = state(&transfer.details.payer).await?;
        if let Err(refused) = payer.decide(transfer.debit()) {
            return failure_of(&refused).map(Some).map_err(PaymentRequestError::Store);
        }
        let payee = state(&transfer.payee).await?;
        Ok(match payee.decide(transfer.credit()) {
            Ok(_) => None,
            Err(AccountError::NotFound) => Some(FailureReason::PayeeNotFound),
            Err(AccountError::Closed) => Some(FailureReason::PayeeClosed),
            Err(AccountError::BalanceOverflow) => Some(FailureReason::PayeeCannotReceive),
            // The account is found by its currency, and the amount is above zero.
            Err(other) => return Err(PaymentRequestError::Store(StoreError::Damaged(other.to_string()))),
        })
    }
}

fn answered(
    executed: Result<Receipt, StoreError>,
    ended: &mut Ended,
    end: Ended,
) -> Result<Option<Answer>, PaymentRequestError> {
    match executed {
        Ok(receipt) if receipt.appended => {
            *ended = end;
            Ok(receipt.answer)
        }
        // The very same request was carried out before, by a process that is gone or slow.
        Ok(_) | Err(StoreError::KeyTaken) => Ok(None),
        Err(StoreError::Refused(Refusal::Payment(PaymentError::AlreadyExists { payment_id }))) => {
            Err(PaymentRequestError::PaymentExists { payment_id })
        }
        Err(error) => Err(PaymentRequestError::Store(error)),
    }
}

/// A transfer and its two accounts.
struct Transfer {
    details: Arc<PaymentDetails>,
    payee: AccountId,
}

impl Transfer {
    fn of(request: TransferRequest, keyed: &KeyedRequest) -> Self {
        let payee = AccountId::of_user(&request.to_user_id, request.amount.currency);
        let details = PaymentDetails {
            payment_id: request.payment_id,
            payer: AccountId::of_user(&request.from_user_id, request.amount.currency),
            user_id: request.from_user_id,
            amount: request.amount,
            route: Route::Transfer { payee: payee.clone() },
            requester: keyed.claim.key.requester(),
            metadata: request.metadata,
        };
        Self { details: Arc::new(details), payee }
    }

    fn debit(&self) -> AccountCommand {
        let posting_id = PostingId::of_payment(&self.details.payment_id);
        AccountCommand::Debit { posting_id, amount: self.details.amount, payment_id: None }
    }

    fn credit(&self) -> AccountCommand {
        let posting_id = PostingId::of_payment(&self.details.payment_id);
        AccountCommand::Credit { posting_id, amount: self.details.amount, payment_id: None }
    }

    fn complete(&self, keyed: &KeyedRequest) -> Unit {
        self.initiate(keyed)
            .then(self.step(PaymentCommand::CompleteTransfer))
            .then(Step::Account(self.details.payer.clone(), self.debit()))
            .then(Step::Account(self.payee.clone(), self.credit()))
    }

    fn fail(&self, reason: FailureReason, keyed: &KeyedRequest) -> Unit {
        self.initiate(keyed).then(self.step(PaymentCommand::Fail(reason)))
    }

    fn initiate(&self, keyed: &KeyedRequest) -> Unit {
        let initiate = self.step(PaymentCommand::Initiate(Arc::clone(&self.details)));
        Unit::led_by(initiate, keyed.context.clone()).claiming(keyed.claim.clone()).expecting_new()
    }

    fn step(&self, command: PaymentCommand) -> Step {
        Step::Payment(self.details.payment_id.clone(), command)
    }
}
