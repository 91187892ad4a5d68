//! Taking up payments that nobody drives any more, for instance after a crash.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::PaymentId;
use domain::payment::PaymentStatus;
use tracing::Instrument;

use super::{PaymentSaga, Resume};
use crate::context::{CommandContext, TraceContext};
use crate::ports::StoreError;
use crate::spans::{self, LinkKind};

/// A payment without news for a while.
#[derive(Debug, Clone)]
pub struct OpenPayment {
    /// The payment.
    pub payment_id: PaymentId,
    /// The trace that initiated it.
    pub trace: TraceContext,
}

/// Finds payments that hold funds and are not settled, from the log alone.
#[async_trait]
pub trait OpenPayments: Send + Sync {
    /// Payments whose last event is older than `age`, oldest first.
    async fn overdue(&self, age: Duration) -> Result<Vec<OpenPayment>, StoreError>;
}

impl PaymentSaga {
    /// The payments that this process should take up now.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read.
    pub async fn overdue(&self, open: &dyn OpenPayments) -> Result<Vec<OpenPayment>, StoreError> {
        let overdue = open.overdue(self.settings.takeover_after).await?;
        Ok(overdue.into_iter().filter(|payment| !self.driven.contains(&payment.payment_id)).collect())
    }

    /// Takes a payment up from its events. Whether the channel was asked before the crash cannot
    /// be known, so it is inquired first.
    pub async fn recover(&self, open: OpenPayment) {
        let OpenPayment { payment_id, trace } = open;
        let stored = match self.store.payment(&payment_id).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(payment.id = %payment_id, %error, "cannot recover the payment yet");
                return;
            }
        };
        if !matches!(stored.state.status, PaymentStatus::Reserved | PaymentStatus::OutcomeUnknown) {
            return;
        }
        let context = CommandContext {
            correlation_id: Arc::from(payment_id.as_str()),
            causation_id: Arc::from(stored.last_event_id.unwrap_or_default()),
            actor: Arc::from("saga:recovery"),
            trace: Arc::new(trace),
        };
        tracing::info!(payment.id = %payment_id, status = stored.state.status.name(), "recovering payment");
        let resume = Resume {
            payment_id: payment_id.clone(),
            payment: stored.state,
            held_by: Arc::clone(&context.trace),
            context,
            channel_asked: true,
        };
        let span = tracing::info_span!(parent: None, "payment.recover", payment.id = %payment_id);
        spans::link(&span, &resume.context.trace, LinkKind::CausedBy);
        if let Err(error) = self.drive(resume).instrument(span).await {
            tracing::error!(payment.id = %payment_id, %error, "recovery failed, will be tried again");
        }
    }
}
