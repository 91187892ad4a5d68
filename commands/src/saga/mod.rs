//! The payment saga: from a request to a settled payment, whatever fails on the way.
//!
//! ```text
//! process ── look up key ── risk ── [1] initiate + assess + reserve + hold ── pay ──┐
//!                                   [1'] initiate + assess + reject, or fail        │
//!    ┌──────────────────────────────────────────────────────────────────────────────┘
//!    ├─ paid      [2] complete + capture hold + credit settlement + answer
//!    ├─ declined  [2'] fail + release hold + answer
//!    └─ unknown   [u] record it, then inquire until it is known, or a human has to look
//! ```
//!
//! What is captured by hand goes on in `authorization`, what goes back in `refund`; a `transfer` has no
//! channel. The human ends a review at the [`ReviewDesk`]. Each `[n]` is one unit of work. The Payment aggregate is the only memory: [`PaymentSaga::drive`]
//! takes a payment from wherever its events say it is, for the request and for recovery alike.
//!
//! **Invariants:** the channel is asked to pay under one key per payment, and after anything but a
//! clear answer only inquiry decides; a hold is never released while the outcome is unknown; the
//! answer is recorded in the append that settles the payment.

mod asking;
mod authorization;
mod drive;
mod ending;
mod recovery;
mod refund;
mod request;
mod review;
mod settings;
mod transfer;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{PaymentId, RefundId};

pub use authorization::{Authorizations, EndOfAuthorization, ExpiredAuthorization};
pub use drive::{DriveError, Resume};
pub use recovery::{OpenPayment, OpenPayments};
pub use refund::{RefundRequest, UNCLAIMED};
pub use request::{Begun, PaymentRequest, PaymentRequestError};
pub use review::{Resolution, Resolved, ReviewDesk, ReviewError, ReviewRequestError};
pub use settings::SagaSettings;
pub use transfer::TransferRequest;

use crate::idempotency::InFlight;
use crate::keyed::KeyedRequests;
use crate::ports::{AnswerFormat, EventStore, PaymentChannel, RiskService};
use crate::system_accounts::SystemAccounts;

/// Drives payments.
pub struct PaymentSaga {
    store: Arc<dyn EventStore>,
    risk: Arc<dyn RiskService>,
    channel: Arc<dyn PaymentChannel>,
    format: Arc<dyn AnswerFormat>,
    system: Arc<SystemAccounts>,
    settings: SagaSettings,
    in_flight: InFlight,
    keyed: KeyedRequests,
    driven: Driven,
}

/// What a saga is made of.
pub struct SagaParts {
    /// Where facts are kept.
    pub store: Arc<dyn EventStore>,
    /// Judges payments.
    pub risk: Arc<dyn RiskService>,
    /// Collects money.
    pub channel: Arc<dyn PaymentChannel>,
    /// Writes answers.
    pub format: Arc<dyn AnswerFormat>,
    /// Where settlement is booked.
    pub system: Arc<SystemAccounts>,
    /// Limits and delays.
    pub settings: SagaSettings,
    /// Keys whose requests run in this process.
    pub in_flight: InFlight,
}

impl PaymentSaga {
    /// A saga of these parts.
    #[must_use]
    pub fn new(parts: SagaParts) -> Self {
        Self {
            keyed: KeyedRequests::new(Arc::clone(&parts.store), parts.in_flight.clone()),
            store: parts.store,
            risk: parts.risk,
            channel: parts.channel,
            format: parts.format,
            system: parts.system,
            settings: parts.settings,
            in_flight: parts.in_flight,
            driven: Driven::default(),
        }
    }

    /// The saga's limits and delays.
    #[must_use]
    pub fn settings(&self) -> &SagaSettings {
        &self.settings
    }

    /// How many payments this process is driving now.
    #[must_use]
    pub fn driving(&self) -> usize {
        self.driven.works.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What is driven to its end: a payment, or one refund of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Work {
    payment_id: PaymentId,
    refund_id: Option<RefundId>,
}

impl Work {
    fn of_payment(payment_id: &PaymentId) -> Self {
        Self { payment_id: payment_id.clone(), refund_id: None }
    }

    fn of_refund(payment_id: &PaymentId, refund_id: &RefundId) -> Self {
        Self { payment_id: payment_id.clone(), refund_id: Some(refund_id.clone()) }
    }
}

/// What this process is driving, so that recovery leaves it alone.
#[derive(Debug, Default, Clone)]
struct Driven {
    works: Arc<Mutex<HashSet<Work>>>,
}

struct DrivenGuard {
    driven: Driven,
    work: Work,
}

impl Driven {
    fn contains(&self, work: &Work) -> bool {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).contains(work)
    }

    fn enter(&self, work: &Work) -> Option<DrivenGuard> {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        works.insert(work.clone()).then(|| DrivenGuard { driven: self.clone(), work: work.clone() })
    }
}

impl Drop for DrivenGuard {
    fn drop(&mut self) {
        self.driven.works.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.work);
    }
}
