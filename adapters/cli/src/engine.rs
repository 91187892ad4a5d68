//! The engine as one process runs it: adapters connected to handlers.

use std::sync::Arc;
use std::time::Duration;

use adapter_http::{Api, HttpSettings, JsonAnswers, Metrics};
use adapter_kafka::consumer::Watch;
use adapter_kafka::relay::Relay;
use adapter_postgres::answered_requests::AnsweredRequests;
use adapter_postgres::authorizations::PostgresAuthorizations;
use adapter_postgres::database::Database;
use adapter_postgres::log::EventLog;
use adapter_postgres::open_payments::OpenPaymentScan;
use adapter_postgres::outbox::PostgresOutbox;
use adapter_postgres::projector::{Progress, Projector};
use adapter_postgres::read_models::PostgresReadModels;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use adapter_postgres::webhooks::PostgresWebhooks;
use adapter_services::breaker::BreakerSettings;
use adapter_services::channel::{ChannelSettings, HttpChannel};
use adapter_services::risk::{HttpRisk, RiskSettings};
use adapter_telemetry::Meters;
use async_trait::async_trait;
use commands::accounts::AccountCommands;
use commands::idempotency::InFlight;
use commands::ports::{AnswerFormat, EventReader, EventStore};
use commands::publishing::{Outbox, OutboxMonitor};
use commands::saga::{PaymentSaga, SagaParts};
use commands::system_accounts::{SHARDS, SystemAccounts};
use commands::webhooks::ports::{AttemptMeter, Deliveries, DeliveryCounts};
use commands::webhooks::schedule::Outcome;
use projections::ports::ReadModels;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::notifier::{self, NotifierRole, ToldBy};
use crate::settings::{Services, Settings};

/// Payments that recovery drives at once. Most of them only wait for their next inquiry, and those
/// whose outcome stays unknown must not keep the others from being taken up.
const MOST_RECOVERING: usize = 1_024;
/// Longest pause between two looks for authorizations that have expired; the shortest is recovery's.
const LONGEST_EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// How often old answers are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
/// How often what is read of the database is read where nobody asks for it.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a scrape waits for the database.
const METRICS_PATIENCE: Duration = Duration::from_secs(1);

/// Where the engine's neighbours are.
pub(crate) struct Neighbours {
    pub(crate) database_url: String,
    pub(crate) risk_url: String,
    pub(crate) channel_url: String,
}

/// The engine's parts, connected.
pub(crate) struct Engine {
    pub(crate) api: Api,
    saga: Arc<PaymentSaga>,
    open_payments: Arc<OpenPaymentScan>,
    authorizations: PostgresAuthorizations,
    recovery_interval: Duration,
    answered_requests: AnsweredRequests,
    keep_answers: Duration,
    projector: Option<Projector>,
    notifier: Option<NotifierRole>,
    relay: Option<Relay>,
    measured: Arc<Measured>,
}

impl Engine {
    /// Connects everything; the database is brought up to date first.
    pub(crate) async fn build(
        neighbours: &Neighbours,
        settings: &Settings,
        meters: Arc<Meters>,
    ) -> Result<Self, Failure> {
        let database = Database::open(&neighbours.database_url, settings.store.connections).await?;
        let store_settings = StoreSettings {
            cached_accounts: settings.store.cached_accounts,
            cached_payments: settings.store.cached_payments,
            timeout: Duration::from_millis(settings.store.timeout_ms),
            ..StoreSettings::default()
        };
        let store = PostgresEventStore::start(&database, store_settings);
        let log = EventLog::new(&database).told_of(store.positions());
        let outbox = PostgresOutbox::new(&database).told_of(store.positions());
        let monitor: Arc<dyn OutboxMonitor> = Arc::new(outbox.clone());
        let progress = Progress::default();
        let projector = Projector::new(&database, progress.clone()).told_of(store.positions());
        let read_models: Arc<dyn ReadModels> = Arc::new(PostgresReadModels::new(&database, progress));
        let store: Arc<dyn EventStore> = Arc::new(store);
        let (risk, channel) = services(neighbours, &settings.services)?;
        let format: Arc<dyn AnswerFormat> = Arc::new(JsonAnswers);
        let system = Arc::new(SystemAccounts::starting_at(random_shard()));
        let in_flight = InFlight::default();
        let saga = Arc::new(PaymentSaga::new(SagaParts {
            store: Arc::clone(&store),
            risk: Arc::new(risk),
            channel: Arc::new(channel),
            format: Arc::clone(&format),
            system: Arc::clone(&system),
            settings: settings.saga()?,
            in_flight: in_flight.clone(),
        }));
        let accounts = Arc::new(AccountCommands::new(Arc::clone(&store), format, system, in_flight));
        let measured = Arc::new(Measured {
            meters,
            read_models: Arc::clone(&read_models),
            webhooks: PostgresWebhooks::new(&database),
            outbox: Arc::clone(&monitor),
        });
        let reader: Arc<dyn EventReader> = Arc::new(log);
        let kafka = settings.kafka.connection()?;
        let told_by = match &kafka {
            Some(kafka) => ToldBy::Kafka(kafka.clone(), Arc::clone(&measured) as Arc<dyn Watch>),
            None => ToldBy::Log(Arc::clone(&reader)),
        };
        let meter = Arc::clone(&measured) as Arc<dyn AttemptMeter>;
        let (webhooks, notifier) = notifier::parts(&database, told_by, meter, &settings.webhooks)?;
        let api = Api {
            accounts,
            saga: Arc::clone(&saga),
            store,
            reader,
            webhooks,
            metrics: Arc::clone(&measured) as Arc<dyn Metrics>,
            outbox: monitor,
            read_models,
            settings: http_settings(settings)?,
        };
        let outbox: Arc<dyn Outbox> = Arc::new(outbox);
        Ok(Self {
            relay: kafka.map(|kafka| Relay::new(outbox, kafka)),
            api,
            saga,
            open_payments: Arc::new(OpenPaymentScan::new(&database)),
            authorizations: PostgresAuthorizations::new(&database),
            recovery_interval: Duration::from_millis(settings.saga.recovery_interval_ms),
            answered_requests: AnsweredRequests::new(&database),
            keep_answers: Duration::from_secs(settings.idempotency.keep_hours.saturating_mul(3_600)),
            projector: Some(projector),
            notifier: Some(notifier),
            measured,
        })
    }

    /// What goes on without being asked for, until the task is aborted.
    pub(crate) fn background(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (saga, projecting) = (self.saga_role(), self.projector_role());
        async move {
            tokio::join!(saga, projecting);
        }
    }

    /// Reads again and again what is read when it is asked for: whoever is sent metrics does not ask.
    pub(crate) fn measuring(&self) -> impl Future<Output = ()> + Send + use<> {
        let measured = Arc::clone(&self.measured);
        async move {
            loop {
                tokio::time::sleep(MEASURE_INTERVAL).await;
                measured.read().await;
            }
        }
    }

    /// Takes up payments that nobody drives, ends authorizations that are too old, and forgets old answers.
    pub(crate) fn saga_role(&self) -> impl Future<Output = ()> + Send + use<> {
        let (recovery, expiry, forgetting) = (self.recovery(), self.expiry(), self.forgetting());
        async move {
            tokio::join!(recovery, expiry, forgetting);
        }
    }

    /// Keeps the read models up with the log; once.
    pub(crate) fn projector_role(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let projector = self.projector.take();
        async move {
            match projector {
                Some(projector) => projector.run().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Sends webhooks until it is told to stop, and ends when what is under way has ended; once.
    pub(crate) fn notifier_role(
        &mut self,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let notifier = self.notifier.take();
        async move {
            if let Some(notifier) = notifier {
                notifier.run(stop).await;
            }
        }
    }

    /// Publishes the log until it is told to stop, where there is a Kafka to publish it to; once.
    pub(crate) fn relay_role(
        &mut self,
        stop: CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.relay.take().map(|relay| relay.run(stop))
    }

    /// Forgets requests that were answered long ago.
    fn forgetting(&self) -> impl Future<Output = ()> + Send + use<> {
        let (answered_requests, keep) = (self.answered_requests.clone(), self.keep_answers);
        async move {
            loop {
                // A failure is logged where it happens, and the next round makes up for it.
                if let Ok(forgotten @ 1..) = answered_requests.forget(keep).await {
                    tracing::info!(forgotten, "forgot idempotency keys that were answered long ago");
                }
                tokio::time::sleep(FORGET_INTERVAL).await;
            }
        }
    }

    /// Gives authorizations up that nobody has captured in time.
    fn expiry(&self) -> impl Future<Output = ()> + Send + use<> {
        let (saga, authorizations) = (Arc::clone(&self.saga), self.authorizations.clone());
        // Often enough to be a small part late.
        let age = saga.settings().authorization_expires_after;
        let interval = (age / 100).min(LONGEST_EXPIRY_INTERVAL).max(self.recovery_interval);
        async move {
            let mut expiring = JoinSet::new();
            loop {
                match saga.expired(&authorizations).await {
                    Ok(expired) => {
                        for authorization in expired {
                            while expiring.len() >= MOST_RECOVERING {
                                expiring.join_next().await;
                            }
                            let saga = Arc::clone(&saga);
                            expiring.spawn(async move { saga.expire(authorization).await });
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look for expired authorizations now"),
                }
                while expiring.try_join_next().is_some() {}
                tokio::time::sleep(interval).await;
            }
        }
    }

    /// Takes up payments that nobody drives.
    fn recovery(&self) -> impl Future<Output = ()> + Send + use<> {
        let (saga, open_payments) = (Arc::clone(&self.saga), Arc::clone(&self.open_payments));
        let interval = self.recovery_interval;
        async move {
            let mut recovering = JoinSet::new();
            loop {
                match saga.overdue(&*open_payments).await {
                    Ok(overdue) => {
                        for payment in overdue {
                            while recovering.len() >= MOST_RECOVERING {
                                recovering.join_next().await;
                            }
                            let saga = Arc::clone(&saga);
                            recovering.spawn(async move { saga.recover(payment).await });
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look for open payments now"),
                }
                while recovering.try_join_next().is_some() {}
                tokio::time::sleep(interval).await;
            }
        }
    }
}

/// What is measured, read when it is asked for.
struct Measured {
    meters: Arc<Meters>,
    read_models: Arc<dyn ReadModels>,
    webhooks: PostgresWebhooks,
    outbox: Arc<dyn OutboxMonitor>,
}

impl Watch for Measured {
    fn dead_letter(&self, topic: &str) {
        self.meters.dead_letter(topic);
    }
}

impl AttemptMeter for Measured {
    fn attempted(&self, outcome: Outcome) {
        self.meters.webhook_attempted(outcome.name());
    }
}

impl Measured {
    /// Without the database there is no news; the last values stay.
    async fn read(&self) {
        let status = tokio::time::timeout(METRICS_PATIENCE, self.read_models.status()).await;
        let outbox = tokio::time::timeout(METRICS_PATIENCE, self.outbox.status()).await;
        if let Ok(Ok(Some(outbox))) = outbox {
            let waiting = Duration::from_millis(outbox.lag_ms);
            self.meters.relay(outbox.position, outbox.lag(), waiting, outbox.working);
        }
        for status in status.into_iter().flatten().flatten() {
            let stopped = status.failure.is_some();
            let waiting = Duration::from_millis(status.lag_ms);
            self.meters.projection(&status.name, status.position, status.lag, waiting, stopped);
        }
        let counts = tokio::time::timeout(METRICS_PATIENCE, self.webhooks.counts()).await;
        if let Ok(Ok(DeliveryCounts { pending, dead })) = counts {
            self.meters.webhooks(pending, dead);
        }
        let waiting = tokio::time::timeout(METRICS_PATIENCE, self.read_models.waiting_for_review()).await;
        if let Ok(Ok(waiting)) = waiting {
            self.meters.needs_review(waiting);
        }
    }
}

#[async_trait]
impl Metrics for Measured {
    async fn render(&self) -> String {
        self.read().await;
        self.meters.render().unwrap_or_else(|error| {
            tracing::error!(error, "cannot render the metrics");
            String::new()
        })
    }
}

/// The services outside, each with a breaker of its own.
fn services(neighbours: &Neighbours, settings: &Services) -> Result<(HttpRisk, HttpChannel), Failure> {
    let breaker = BreakerSettings {
        failures_to_open: settings.breaker_failures,
        open_for: Duration::from_millis(settings.breaker_open_ms),
    };
    let risk = HttpRisk::new(&RiskSettings {
        base_url: neighbours.risk_url.clone(),
        timeout: Duration::from_millis(settings.risk_timeout_ms),
        breaker,
    })?;
    let channel = HttpChannel::new(&ChannelSettings {
        base_url: neighbours.channel_url.clone(),
        timeout: Duration::from_millis(settings.channel_timeout_ms),
        breaker,
    })?;
    Ok((risk, channel))
}

fn http_settings(settings: &Settings) -> Result<HttpSettings, Failure> {
    Ok(HttpSettings {
        request_timeout: Duration::from_millis(settings.http.request_timeout_ms),
        body_limit: settings.http.body_limit_bytes,
        max_in_flight: settings.http.max_in_flight,
        drain_timeout: Duration::from_millis(settings.http.drain_timeout_ms),
        jaeger: settings.telemetry.jaeger_ui()?,
        ..HttpSettings::default()
    })
}

/// Processes start on different shards of the system accounts, so that they seldom meet.
#[expect(clippy::disallowed_methods, reason = "the composition root may draw its own number")]
pub(crate) fn random_shard() -> u32 {
    u32::from(uuid::Uuid::new_v4().as_bytes()[0]) % SHARDS
}
