//! The loop that claims what is due, sends it, and settles it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::ports::{
    AttemptMeter, ClaimLimits, Claimed, DeliveryQueue, Outgoing, Settled, WebhookError, WebhookSender,
};
use super::schedule::{Attempted, Outcome, RetrySchedule};

/// How the notifier works.
#[derive(Debug, Clone)]
pub struct NotifierSettings {
    /// When what failed is tried again.
    pub schedule: RetrySchedule,
    /// Most attempts under way to one endpoint, in all processes.
    pub per_endpoint: u32,
    /// Most attempts under way in this process.
    pub most: u32,
    /// The sender's time limit: from it follows when a claim may be taken up by another process.
    pub timeout: Duration,
    /// How soon it looks for what has become due.
    pub look_again: Duration,
}

/// How long the notifier leaves a database alone that does not answer.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// How often it tries, when it stops, to keep what came of the last attempts.
const LAST_TRIES: u32 = 3;

/// Sends what is due.
pub struct Notifier {
    queue: Arc<dyn DeliveryQueue>,
    sender: Arc<dyn WebhookSender>,
    meter: Arc<dyn AttemptMeter>,
    settings: NotifierSettings,
    wake: Arc<Notify>,
}

impl Notifier {
    /// A notifier on a queue; `wake` tells it that there may be something to do.
    #[must_use]
    pub fn new(
        queue: Arc<dyn DeliveryQueue>,
        sender: Arc<dyn WebhookSender>,
        meter: Arc<dyn AttemptMeter>,
        settings: NotifierSettings,
        wake: Arc<Notify>,
    ) -> Self {
        Self { queue, sender, meter, settings, wake }
    }

    /// Works until `stop`, then waits for what is under way and keeps what came of it.
    ///
    /// Each attempt is a task of its own, so a receiver that hangs takes up its own slots and nobody's
    /// else. What came of attempts is kept before more is claimed: a claim that the database has lost
    /// sight of would be made by two.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut sending: JoinSet<Settled> = JoinSet::new();
        let mut settled: Vec<Settled> = vec![];
        loop {
            let wait = match self.turn(&mut sending, &mut settled).await {
                Ok(()) => self.settings.look_again,
                Err(error) => {
                    tracing::warn!(%error, "cannot work on webhooks now");
                    DATABASE_PAUSE
                }
            };
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = sending.join_next(), if settled.is_empty() => settled.extend(ended.ok()),
                () = self.wake.notified(), if settled.is_empty() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.drain(sending, settled).await;
    }

    /// Keeps what has come of attempts, and begins as many new ones as there is room for.
    async fn turn(
        &self,
        sending: &mut JoinSet<Settled>,
        settled: &mut Vec<Settled>,
    ) -> Result<(), WebhookError> {
        while let Some(ended) = sending.try_join_next() {
            settled.extend(ended.ok());
        }
        self.settle(settled).await?;
        let under_way = u32::try_from(sending.len()).unwrap_or(u32::MAX);
        let room = self.settings.most.saturating_sub(under_way);
        if room == 0 {
            return Ok(());
        }
        let limits = ClaimLimits {
            per_endpoint: self.settings.per_endpoint,
            most: room,
            // An attempt ends within the time limit; the rest is for a machine that is busy.
            lease: self.settings.timeout * 2 + Duration::from_secs(1),
        };
        for claimed in self.queue.claim(limits).await? {
            let (sender, schedule) = (Arc::clone(&self.sender), self.settings.schedule.clone());
            sending.spawn(async move { attempt(&*sender, &schedule, claimed).await });
        }
        Ok(())
    }

    async fn settle(&self, settled: &mut Vec<Settled>) -> Result<(), WebhookError> {
        if settled.is_empty() {
            return Ok(());
        }
        self.queue.settle(settled).await?;
        for settled in settled.drain(..) {
            self.meter.attempted(settled.outcome);
        }
        Ok(())
    }

    /// Waits for the attempts that are under way; each ends within the sender's time limit.
    async fn drain(&self, mut sending: JoinSet<Settled>, mut settled: Vec<Settled>) {
        while let Some(ended) = sending.join_next().await {
            settled.extend(ended.ok());
        }
        for _ in 0..LAST_TRIES {
            match self.settle(&mut settled).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot keep what came of the last webhooks now"),
            }
            tokio::time::sleep(DATABASE_PAUSE).await;
        }
        // Their claims end, and they are sent once more.
    }
}

/// Sends a delivery and says what becomes of it.
async fn attempt(sender: &dyn WebhookSender, schedule: &RetrySchedule, claimed: Claimed) -> Settled {
    let Claimed { id, endpoint_id, attempt, scheduled_attempt, outgoing } = claimed;
    let attempted = sender.send(&outgoing).await;
    let outcome = schedule.outcome(id, scheduled_attempt, &attempted);
    let Outgoing { message_id: event, .. } = outgoing;
    match outcome {
        Outcome::Delivered => tracing::debug!(%id, endpoint_id, event, attempt, "a webhook was delivered"),
        Outcome::Again { after } => {
            let after_ms = after.as_millis();
            tracing::info!(%id, endpoint_id, event, attempt, ?attempted, after_ms, "a webhook was not taken");
        }
        Outcome::Dead | Outcome::Gone => {
            tracing::warn!(%id, endpoint_id, event, attempt, ?attempted, "a webhook was given up");
        }
    }
    let hold = attempted.hold();
    let (status, error) = match attempted {
        Attempted::Answered { status: status @ 200..=299, .. } => (Some(status), None),
        Attempted::Answered { status, .. } => (Some(status), Some(format!("answered {status}"))),
        Attempted::Failed { reason } => (None, Some(reason)),
    };
    Settled { id, attempt, status, error, hold, outcome }
}
