//! Taking up payments that nobody drives any more, for instance after a crash.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::payment::RefundStatus;
use domain::{PaymentId, RefundId};
use tracing::Instrument;

use super::{PaymentSaga, Resume, Work};
use crate::context::{CommandContext, TraceContext};
use crate::ports::StoreError;
use crate::spans::{self, LinkKind};

/// A payment, or a refund of it, without news for a while.
#[derive(Debug, Clone)]
pub struct OpenPayment {
    /// The payment.
    pub payment_id: PaymentId,
    /// The refund that is under way; `None` where it is the payment itself.
    pub refund_id: Option<RefundId>,
    /// The trace that began what is under way.
    pub trace: TraceContext,
}

impl OpenPayment {
    fn work(&self) -> Work {
        Work { payment_id: self.payment_id.clone(), refund_id: self.refund_id.clone() }
    }
}

/// Finds payments and refunds of which the channel was, or was to be, asked and that have not ended, from
/// the log alone.
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
        Ok(overdue.into_iter().filter(|open| !self.driven.contains(&open.work())).collect())
    }

    /// Takes a payment or a refund up from its events. Whether the channel was asked before the crash cannot
    /// be known, so it is inquired first.
    pub async fn recover(&self, open: OpenPayment) {
        let OpenPayment { payment_id, refund_id, trace } = open;
        let stored = match self.store.payment(&payment_id).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(payment.id = %payment_id, %error, "cannot recover the payment yet");
                return;
            }
        };
        let is_open = match &refund_id {
            Some(refund_id) => {
                let refund = stored.state.refunds.get(refund_id);
                refund.is_some_and(|refund| refund.status == RefundStatus::Started)
            }
            None => !stored.state.status.is_settled(),
        };
        if !is_open {
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
            begun_by: Arc::clone(&context.trace),
            context,
            asked_before: true,
        };
        let span = tracing::info_span!(parent: None, "payment.recover", payment.id = %payment_id);
        spans::link(&span, &resume.context.trace, LinkKind::CausedBy);
        let driven = async {
            match &refund_id {
                Some(refund_id) => self.drive_refund(&resume, refund_id).await,
                None => self.drive(resume).await,
            }
        };
        if let Err(error) = driven.instrument(span).await {
            tracing::error!(payment.id = %payment_id, %error, "recovery failed, will be tried again");
        }
    }
}
