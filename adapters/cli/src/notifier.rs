//! The role `notifier`: events become deliveries, and deliveries are sent.
//!
//! ```text
//! log (or a broker) ──► Told: Handler ──► deliveries ──► Notifier ──► receivers
//! ```
//!
//! Whoever tells of events gives them to [`Told`]: a consumer of Kafka's topics, or without Kafka the log
//! itself, by [`feed_from_log`]. Changing from one to the other sends nothing twice.

use std::sync::Arc;
use std::time::Duration;

use adapter_http::Webhooks as WebhooksApi;
use adapter_kafka::KafkaSettings;
use adapter_kafka::consumer::{Consumer, Watch};
use adapter_postgres::database::Database;
use adapter_postgres::inbox::Inbox;
use adapter_postgres::webhooks::{PostgresWebhooks, WebhookEffect};
use adapter_services::webhook::HttpWebhooks;
use async_trait::async_trait;
use commands::consuming::{HandleError, Handler, Source};
use commands::ports::{EventReader, RecordedEvent};
use commands::webhooks::ports::AttemptMeter;
use commands::webhooks::{Notifier, NotifierSettings, RetrySchedule};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::settings::Webhooks;

/// Most events that are handled in one transaction.
const MOST_EVENTS: u32 = 1_000;
/// Least time between two of them: under load the events of a moment share one.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// How soon it is looked whether anybody is registered, while nobody is.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// How long a database that does not answer is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often what ended long ago is looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);

/// The parts of the role.
pub(crate) struct NotifierRole {
    told: Arc<Told>,
    told_by: ToldBy,
    notifier: Notifier,
    webhooks: PostgresWebhooks,
    keep: Duration,
}

/// Who tells of events.
pub(crate) enum ToldBy {
    /// The topics that the log is published to.
    Kafka(KafkaSettings, Arc<dyn Watch>),
    /// The log itself.
    Log(Arc<dyn EventReader>),
}

/// Makes deliveries of the events that it is told of, and wakes the notifier.
pub(crate) struct Told {
    inbox: Inbox<WebhookEffect>,
    wake: Arc<Notify>,
}

/// What the API of webhooks works with, and the role.
pub(crate) fn parts(
    database: &Database,
    told_by: ToldBy,
    meter: Arc<dyn AttemptMeter>,
    settings: &Webhooks,
) -> Result<(WebhooksApi, NotifierRole), Failure> {
    let guard = settings.guard()?;
    let webhooks = Arc::new(PostgresWebhooks::new(database));
    let wake = Arc::new(Notify::new());
    let timeout = Duration::from_millis(settings.timeout_ms);
    let pauses = settings.retry_pauses_ms.iter().map(|pause| Duration::from_millis(*pause));
    let notifier = Notifier::new(
        Arc::clone(&webhooks) as Arc<_>,
        Arc::new(HttpWebhooks::new(guard.clone(), timeout)?),
        meter,
        NotifierSettings {
            schedule: RetrySchedule::new(pauses.collect()),
            per_endpoint: settings.max_per_endpoint,
            most: settings.max_in_flight,
            timeout,
            look_again: Duration::from_millis(settings.poll_ms),
        },
        Arc::clone(&wake),
    );
    let role = NotifierRole {
        told: Arc::new(Told { inbox: Inbox::new(database, WebhookEffect), wake }),
        told_by,
        notifier,
        webhooks: PostgresWebhooks::clone(&webhooks),
        keep: hours(settings.keep_days.saturating_mul(24)),
    };
    let api = WebhooksApi {
        endpoints: Arc::clone(&webhooks) as Arc<_>,
        deliveries: webhooks,
        guard: Arc::new(guard),
        keep_old_secret: hours(settings.old_secret_hours),
    };
    Ok((api, role))
}

impl NotifierRole {
    /// Works until it is told to stop, and ends when what is under way has ended.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { told, told_by, notifier, webhooks, keep } = self;
        let feeding = async {
            match told_by {
                ToldBy::Kafka(settings, watch) => {
                    let topics = settings.live_topics().map(str::to_owned).to_vec();
                    Consumer::new(settings, topics, told, watch).run(stop.clone()).await;
                }
                ToldBy::Log(log) => tokio::select! {
                    () = feed_from_log(&told, &*log) => {}
                    () = stop.cancelled() => {}
                },
            }
        };
        let forgetting = async {
            tokio::select! { () = forgetting(&webhooks, keep) => {}, () = stop.cancelled() => {} }
        };
        tokio::join!(feeding, forgetting, notifier.run(stop.cancelled()));
    }
}

#[async_trait]
impl Handler for Told {
    fn name(&self) -> &'static str {
        self.inbox.name()
    }

    async fn handle(&self, source: &Source, events: &[RecordedEvent]) -> Result<(), HandleError> {
        let handled = self.inbox.handle(source, events).await;
        self.wake.notify_one();
        handled
    }

    async fn position(&self, source: &Source) -> Result<i64, HandleError> {
        self.inbox.position(source).await
    }
}

/// Tells a handler of the log, from where it is, until it is dropped.
pub(crate) async fn feed_from_log(told: &Told, log: &dyn EventReader) {
    loop {
        match feed(told, log).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(LEAST_PAUSE).await,
            // Logged where it happened.
            Err(HandleError::Unavailable | HandleError::Poisoned { .. }) => {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

/// Tells of what is behind the handler's position, once there is anything. Returns whether there may be
/// more right now.
async fn feed(told: &Told, log: &dyn EventReader) -> Result<bool, HandleError> {
    // While nobody is registered the log need not be read: it costs payments time.
    if told.inbox.pass_over_log().await? {
        tokio::time::sleep(IDLE_PAUSE).await;
        return Ok(false);
    }
    let source = Source::log();
    let position = told.position(&source).await?;
    let read = log.behind(position, MOST_EVENTS).await;
    let mut events = read.map_err(|_| HandleError::Unavailable)?;
    if events.is_empty() {
        log.grown_beyond(position).await;
        return Ok(true);
    }
    let is_full = events.len() == usize::try_from(MOST_EVENTS).unwrap_or(usize::MAX);
    while !events.is_empty() {
        match told.handle(&source, &events).await {
            Ok(()) => break,
            Err(HandleError::Poisoned { position, reason }) => {
                // It is in the log for whoever asks; the others must not wait for it.
                tracing::error!(position, reason, "an event cannot be sent by webhooks and is left out");
                events.retain(|event| event.position > position);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(is_full)
}

/// Forgets deliveries that ended long ago.
async fn forgetting(webhooks: &PostgresWebhooks, keep: Duration) {
    loop {
        // A failure is logged where it happens, and the next round makes up for it.
        if let Ok(forgotten @ 1..) = webhooks.forget_ended(keep).await {
            tracing::info!(forgotten, "forgot webhooks that ended long ago");
        }
        tokio::time::sleep(FORGET_INTERVAL).await;
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3_600))
}
