//! The engine as one process runs it: adapters connected to handlers.

use std::sync::Arc;
use std::time::Duration;

use adapter_http::{Access, Api, HttpSettings, JsonAnswers, Metrics};
use adapter_kafka::consumer::Watch;
use adapter_kafka::relay::Relay;
use adapter_postgres::answered_requests::AnsweredRequests;
use adapter_postgres::api_keys::PostgresApiKeys;
use adapter_postgres::authorizations::PostgresAuthorizations;
use adapter_postgres::database::Database;
use adapter_postgres::log::EventLog;
use adapter_postgres::open_payments::OpenPaymentScan;
use adapter_postgres::outbox::PostgresOutbox;
use adapter_postgres::projector::{Progress, Projector};
use adapter_postgres::read_models::PostgresReadModels;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use adapter_postgres::webhooks::PostgresWebhooks;
use adapter_services::Limits;
use adapter_services::breaker::BreakerSettings;
use adapter_services::channel::{ChannelSettings, HttpChannel};
use adapter_services::risk::{HttpRisk, RiskSettings};
use adapter_telemetry::Meters;
use async_trait::async_trait;
use commands::accounts::AccountCommands;
use commands::idempotency::InFlight;
use commands::ports::{AnswerFormat, EventReader, EventStore, PaymentChannel, RiskService, StoreError};
use commands::publishing::{Outbox, OutboxMonitor};
use commands::saga::{PaymentSaga, SagaParts};
use commands::system_accounts::{SHARDS, SystemAccounts};
use commands::webhooks::ports::{AttemptMeter, Deliveries, DeliveryCounts};
use commands::webhooks::schedule::Outcome;
use projections::ports::ReadModels;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::key_set::key_set;
use crate::notifier::{self, NotifierRole, ToldBy};
use crate::open_files;
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
        let edge = http_settings(settings)?;
        let database = Database::open(&neighbours.database_url, settings.store.connections).await?;
        let store = PostgresEventStore::start(&database, store_settings(settings));
        let log = EventLog::new(&database).told_of(store.positions());
        let outbox = PostgresOutbox::new(&database).told_of(store.positions());
        let monitor: Arc<dyn OutboxMonitor> = Arc::new(outbox.clone());
        let progress = Progress::default();
        let projector = Projector::new(&database, progress.clone()).told_of(store.positions());
        let read_models: Arc<dyn ReadModels> = Arc::new(PostgresReadModels::new(&database, progress));
        let store: Arc<dyn EventStore> = Arc::new(store);
        let (risk, channel) = services(neighbours, &settings.services)?;
        let (risk, channel) = (Arc::new(risk), Arc::new(channel));
        let format: Arc<dyn AnswerFormat> = Arc::new(JsonAnswers);
        let system = Arc::new(SystemAccounts::starting_at(random_shard()));
        let in_flight = InFlight::default();
        let saga = Arc::new(PaymentSaga::new(SagaParts {
            store: Arc::clone(&store),
            risk: Arc::clone(&risk) as Arc<dyn RiskService>,
            channel: Arc::clone(&channel) as Arc<dyn PaymentChannel>,
            format: Arc::clone(&format),
            system: Arc::clone(&system),
            settings: settings.saga.settings()?,
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
            services: Arc::new(Breakers { risk, channel }),
            access: access(&database, settings)?,
            metrics: Arc::clone(&measured) as Arc<dyn Metrics>,
            outbox: monitor,
            read_models,
            settings: edge,
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

    /// Takes up payments that nobody drives, ends authorizations that are too old, and forgets old answers,
    /// until it is told to stop. Ends when what it has taken up has ended.
    pub(crate) fn saga_role(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (recovery, expiry) = (self.recovery(stop.clone()), self.expiry(stop.clone()));
        let forgetting = self.forgetting();
        async move {
            let forgetting = async {
                tokio::select! { () = forgetting => {}, () = stop.cancelled() => {} }
            };
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
    fn expiry(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        // Often enough to be a small part late.
        let age = self.saga.settings().authorization_expires_after;
        let interval = (age / 100).min(LONGEST_EXPIRY_INTERVAL).max(self.recovery_interval);
        let (saga, authorizations) = (Arc::clone(&self.saga), self.authorizations.clone());
        let expiring = Arc::clone(&self.saga);
        let look = move || {
            let (saga, authorizations) = (Arc::clone(&saga), authorizations.clone());
            async move { saga.expired(&authorizations).await }
        };
        in_rounds(stop, interval, look, move |authorization| {
            let saga = Arc::clone(&expiring);
            async move { saga.expire(authorization).await }
        })
    }

    /// Takes up payments that nobody drives.
    fn recovery(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (saga, open_payments) = (Arc::clone(&self.saga), Arc::clone(&self.open_payments));
        let recovering = Arc::clone(&self.saga);
        let look = move || {
            let (saga, open_payments) = (Arc::clone(&saga), Arc::clone(&open_payments));
            async move { saga.overdue(&*open_payments).await }
        };
        in_rounds(stop, self.recovery_interval, look, move |payment| {
            let saga = Arc::clone(&recovering);
            async move { saga.recover(payment).await }
        })
    }
}

/// Looks for payments again and again and takes each up, a bounded number at a time, until it is told to
/// stop; ends when those that were taken up have ended.
async fn in_rounds<T, Look, Looking, Work>(
    stop: CancellationToken,
    interval: Duration,
    look: Look,
    take_up: impl Fn(T) -> Work + Send,
) where
    T: Send,
    Look: Fn() -> Looking + Send,
    Looking: Future<Output = Result<Vec<T>, StoreError>> + Send,
    Work: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    while !stop.is_cancelled() {
        match look().await {
            Ok(found) => {
                for payment in found {
                    while under_way.len() >= MOST_RECOVERING && !stop.is_cancelled() {
                        tokio::select! { _ = under_way.join_next() => {}, () = stop.cancelled() => {} }
                    }
                    if stop.is_cancelled() {
                        break;
                    }
                    under_way.spawn(take_up(payment));
                }
            }
            // Why is logged where it happens; the next round makes up for it.
            Err(error) => tracing::debug!(%error, "cannot look for payments now"),
        }
        while under_way.try_join_next().is_some() {}
        tokio::select! { () = tokio::time::sleep(interval) => {}, () = stop.cancelled() => {} }
    }
    while under_way.join_next().await.is_some() {}
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

fn store_settings(settings: &Settings) -> StoreSettings {
    StoreSettings {
        cached_accounts: settings.store.cached_accounts,
        cached_payments: settings.store.cached_payments,
        timeout: Duration::from_millis(settings.store.timeout_ms),
        ..StoreSettings::default()
    }
}

/// The services outside, each with a breaker of its own.
fn services(neighbours: &Neighbours, settings: &Services) -> Result<(HttpRisk, HttpChannel), Failure> {
    let breaker = BreakerSettings {
        failures_to_open: settings.breaker_failures,
        open_for: Duration::from_millis(settings.breaker_open_ms),
    };
    let limits = |timeout_ms, max_in_flight| Limits {
        timeout: Duration::from_millis(timeout_ms),
        breaker,
        max_in_flight,
    };
    let risk = HttpRisk::new(&RiskSettings {
        base_url: neighbours.risk_url.clone(),
        limits: limits(settings.risk_timeout_ms, settings.risk_max_in_flight),
    })?;
    let channel = HttpChannel::new(&ChannelSettings {
        base_url: neighbours.channel_url.clone(),
        limits: limits(settings.channel_timeout_ms, settings.channel_max_in_flight),
        max_inquiries: settings.channel_max_inquiries,
    })?;
    Ok((risk, channel))
}

/// Where the breakers of the services outside are.
struct Breakers {
    risk: Arc<HttpRisk>,
    channel: Arc<HttpChannel>,
}

impl adapter_http::Services for Breakers {
    fn breakers(&self) -> Vec<(&'static str, &'static str)> {
        let (risk, channel) = (self.risk.breaker(), self.channel.breaker());
        vec![("risk", risk.state().name()), ("channel", channel.state().name())]
    }
}

/// What callers are known by.
fn access(database: &Database, settings: &Settings) -> Result<Access, Failure> {
    Ok(Access { keys: Arc::new(PostgresApiKeys::new(database)), key_set: key_set(&settings.http.jwt)? })
}

fn http_settings(settings: &Settings) -> Result<HttpSettings, Failure> {
    let edge = settings.http.edge()?;
    let max_connections = open_files::room_for(edge.max_connections);
    Ok(HttpSettings { jaeger: settings.telemetry.jaeger_ui()?, max_connections, ..edge })
}

/// Processes start on different shards of the system accounts, so that they seldom meet.
#[expect(clippy::disallowed_methods, reason = "the composition root may draw its own number")]
pub(crate) fn random_shard() -> u32 {
    u32::from(uuid::Uuid::new_v4().as_bytes()[0]) % SHARDS
}
