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
//! The human ends it at the [`ReviewDesk`]. Each `[n]` is one unit of work. The Payment aggregate is the only memory: [`PaymentSaga::drive`]
//! takes a payment from wherever its events say it is, for the request and for recovery alike.
//!
//! **Invariants:** the channel is asked to pay under one key per payment, and after anything but a
//! clear answer only inquiry decides; a hold is never released while the outcome is unknown; the
//! answer is recorded in the append that settles the payment.

mod drive;
mod ending;
mod recovery;
mod request;
mod review;
mod settings;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::PaymentId;

pub use drive::{DriveError, Resume};
pub use recovery::{OpenPayment, OpenPayments};
pub use request::{Begun, PaymentRequest, PaymentRequestError};
pub use review::{Resolution, Resolved, ReviewDesk, ReviewError};
pub use settings::SagaSettings;

use crate::idempotency::InFlight;
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
        self.driven.payments.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Payments that this process is driving, so that recovery leaves them alone.
#[derive(Debug, Default, Clone)]
struct Driven {
    payments: Arc<Mutex<HashSet<PaymentId>>>,
}

struct DrivenGuard {
    driven: Driven,
    payment_id: PaymentId,
}

impl Driven {
    fn contains(&self, payment_id: &PaymentId) -> bool {
        self.payments.lock().unwrap_or_else(PoisonError::into_inner).contains(payment_id)
    }

    fn enter(&self, payment_id: &PaymentId) -> Option<DrivenGuard> {
        let mut payments = self.payments.lock().unwrap_or_else(PoisonError::into_inner);
        payments
            .insert(payment_id.clone())
            .then(|| DrivenGuard { driven: self.clone(), payment_id: payment_id.clone() })
    }
}

impl Drop for DrivenGuard {
    fn drop(&mut self) {
        let mut payments = self.driven.payments.lock().unwrap_or_else(PoisonError::into_inner);
        payments.remove(&self.payment_id);
    }
}
