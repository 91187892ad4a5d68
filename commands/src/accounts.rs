//! Commands to accounts: open, deposit, freeze, unfreeze, close. A withdrawal is a payment: see
//! [`crate::saga`].
//!
//! Each is one unit of work: the account's events, the other leg of the posting, the request's key
//! and its answer become durable together. A refusal is recorded under the key too, so that a repeat
//! gets the first answer even when the account would no longer refuse.

use std::sync::Arc;

use domain::account::{AccountCommand, AccountError, FUNDING, Opening, Owner};
use domain::{AccountId, Currency, Money, PostingId, UserId};

use crate::idempotency::{Answer, InFlight, KeyedRequest, Reply};
use crate::keyed::{KeyedError, KeyedRequests};
use crate::ports::{AnswerFormat, EventStore, StoreError};
use crate::system_accounts::{SHARDS, SystemAccounts};
use crate::unit::{Receipt, Refusal, Step, Unit};

/// What may be asked of an account from outside.
#[derive(Debug, Clone)]
pub enum AccountRequest {
    /// Open a user's account in a currency.
    Open {
        /// The user.
        user_id: UserId,
        /// The currency.
        currency: Currency,
    },
    /// Money comes in.
    Deposit(Deposit),
    /// Let nothing leave.
    Freeze {
        /// The account.
        account_id: AccountId,
        /// Why.
        reason: String,
    },
    /// Let money leave again.
    Unfreeze {
        /// The account.
        account_id: AccountId,
    },
    /// Close it for good; it must be empty.
    Close {
        /// The account.
        account_id: AccountId,
    },
}

/// A deposit.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// The account.
    pub account_id: AccountId,
    /// The posting, named by the edge.
    pub posting_id: PostingId,
    /// How much.
    pub amount: Money,
    /// The client's own name for it.
    pub reference: String,
}

/// Carries out commands to accounts.
pub struct AccountCommands {
    store: Arc<dyn EventStore>,
    format: Arc<dyn AnswerFormat>,
    system: Arc<SystemAccounts>,
    keyed: KeyedRequests,
}

impl AccountCommands {
    /// A handler on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        format: Arc<dyn AnswerFormat>,
        system: Arc<SystemAccounts>,
        in_flight: InFlight,
    ) -> Self {
        Self { keyed: KeyedRequests::new(Arc::clone(&store), in_flight), store, format, system }
    }

    /// Carries out a request once and answers it; a repeat gets the recorded answer.
    ///
    /// # Errors
    /// [`KeyedError`]: nothing was changed, or (for an unknown outcome) a repeat under the same key
    /// finds out.
    pub async fn execute(&self, request: AccountRequest, keyed: KeyedRequest) -> Result<Reply, KeyedError> {
        self.keyed.once(&keyed, self.answered(&request, &keyed)).await
    }

    async fn answered(
        &self,
        request: &AccountRequest,
        keyed: &KeyedRequest,
    ) -> Result<Option<Answer>, KeyedError> {
        let (account_id, system_account, executed) = self.carry_out(request, keyed).await?;
        match executed {
            Ok(receipt) => {
                if let Some(system_account) = system_account {
                    self.system.learn_from(&receipt, &system_account);
                }
                match (receipt.appended, receipt.states.account(&account_id)) {
                    // It had already happened, frozen twice for instance: that is an answer too.
                    (false, Some(account)) => {
                        self.keyed.record(self.format.account(account, false), keyed).await
                    }
                    _ => Ok(receipt.answer),
                }
            }
            Err(StoreError::Refused(Refusal::Account(refusal))) => {
                let trace_id = keyed.context.trace.trace_id();
                let refused = self.format.account_refused(&account_id, &refusal, trace_id);
                self.keyed.record(refused, keyed).await
            }
            Err(StoreError::KeyTaken) => Ok(None),
            Err(error) => Err(KeyedError::Store(error)),
        }
    }

    /// Executes the request's unit. A shard of the system account that can book no more is left for
    /// the next one; only when all refuse is it the user's own balance that would overflow.
    async fn carry_out(
        &self,
        request: &AccountRequest,
        keyed: &KeyedRequest,
    ) -> Result<(AccountId, Option<AccountId>, Result<Receipt, StoreError>), KeyedError> {
        let mut shards_left = SHARDS;
        loop {
            let PreparedUnit { account_id, unit, system_account } = self.unit(request.clone(), keyed).await?;
            let executed = self.store.execute(unit).await;
            let overflow =
                matches!(executed, Err(StoreError::Refused(Refusal::Account(AccountError::BalanceOverflow))));
            if !overflow || system_account.is_none() || shards_left == 0 {
                return Ok((account_id, system_account, executed));
            }
            self.system.leave();
            shards_left -= 1;
        }
    }

    async fn unit(&self, request: AccountRequest, keyed: &KeyedRequest) -> Result<PreparedUnit, KeyedError> {
        let opens = matches!(request, AccountRequest::Open { .. });
        let creates = opens || matches!(request, AccountRequest::Deposit(_));
        let (account_id, command, other_leg) = plan(request);
        let step = Step::Account(account_id.clone(), command);
        let mut unit = Unit::led_by(step, keyed.context.clone()).claiming(keyed.claim.clone());
        unit.expect_new = opens;
        let mut system_account = None;
        if let Some((command, currency)) = other_leg {
            let system = self
                .system
                .account(&*self.store, FUNDING, currency, &keyed.context)
                .await
                .map_err(KeyedError::Store)?;
            unit = unit.then(Step::Account(system.clone(), command));
            system_account = Some(system);
        }
        let format = Arc::clone(&self.format);
        let subject = account_id.clone();
        let unit = unit.answering(keyed.claim.key.clone(), move |states| {
            let untouched = domain::Account::default();
            format.account(states.account(&subject).map_or(&untouched, Arc::as_ref), creates)
        });
        Ok(PreparedUnit { account_id, unit, system_account })
    }
}

struct PreparedUnit {
    account_id: AccountId,
    unit: Unit,
    system_account: Option<AccountId>,
}

type OtherLeg = Option<(AccountCommand, Currency)>;

/// The command to the user's account, and the other leg of the posting where money moves.
fn plan(request: AccountRequest) -> (AccountId, AccountCommand, OtherLeg) {
    match request {
        AccountRequest::Open { user_id, currency } => {
            let account_id = AccountId::of_user(&user_id, currency);
            let opening =
                Opening { account_id: account_id.clone(), owner: Owner::User { user_id }, currency };
            (account_id, AccountCommand::Open(opening), None)
        }
        AccountRequest::Deposit(Deposit { account_id, posting_id, amount, reference }) => {
            let debit = AccountCommand::Debit { posting_id: posting_id.clone(), amount, payment_id: None };
            let deposit = AccountCommand::Deposit { posting_id, amount, reference };
            (account_id, deposit, Some((debit, amount.currency)))
        }
        AccountRequest::Freeze { account_id, reason } => {
            (account_id, AccountCommand::Freeze { reason }, None)
        }
        AccountRequest::Unfreeze { account_id } => (account_id, AccountCommand::Unfreeze, None),
        AccountRequest::Close { account_id } => (account_id, AccountCommand::Close, None),
    }
}
