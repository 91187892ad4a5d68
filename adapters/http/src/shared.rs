//! What the handlers work with.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use commands::accounts::AccountCommands;
use commands::ports::{EventReader, EventStore};
use commands::publishing::OutboxMonitor;
use commands::saga::PaymentSaga;
use commands::webhooks::ports::{Deliveries, UrlGuard, WebhookEndpoints};
use projections::ports::ReadModels;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::admission::Admission;
use crate::gate::{Access, Gate};
use crate::jaeger::JaegerUi;
use crate::problem::{self, Problem};
use crate::settings::HttpSettings;

/// What the API is made of.
pub struct Api {
    /// Carries out commands to accounts.
    pub accounts: Arc<AccountCommands>,
    /// Drives payments.
    pub saga: Arc<PaymentSaga>,
    /// The durable state of accounts and payments.
    pub store: Arc<dyn EventStore>,
    /// The log, for people.
    pub reader: Arc<dyn EventReader>,
    /// Balances, statements, payments.
    pub read_models: Arc<dyn ReadModels>,
    /// Receivers of events.
    pub webhooks: Webhooks,
    /// How far the log is published.
    pub outbox: Arc<dyn OutboxMonitor>,
    /// Whether the services outside are asked.
    pub services: Arc<dyn Services>,
    /// What callers are known by.
    pub access: Access,
    /// What is measured.
    pub metrics: Arc<dyn Metrics>,
    /// Limits.
    pub settings: HttpSettings,
}

/// What the API of webhooks works with.
pub struct Webhooks {
    /// Where events are sent to.
    pub endpoints: Arc<dyn WebhookEndpoints>,
    /// What became of sending them.
    pub deliveries: Arc<dyn Deliveries>,
    /// Where they may be sent to.
    pub guard: Arc<dyn UrlGuard>,
    /// How long an old secret signs after a rotation.
    pub keep_old_secret: Duration,
}

/// The services outside, for whoever looks whether this process is well.
pub trait Services: Send + Sync {
    /// The name of each, and where its breaker is: `closed`, `half_open` or `open`.
    fn breakers(&self) -> Vec<(&'static str, &'static str)>;
}

/// What is measured, for whoever scrapes it.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// All of it in Prometheus' text format.
    async fn render(&self) -> String;
}

/// The API while it is served.
pub(crate) struct Shared {
    pub(crate) api: Api,
    /// Knows who calls.
    pub(crate) gate: Gate,
    /// Lets requests in.
    pub(crate) admission: Admission,
    /// One permit for each client that follows the log.
    pub(crate) followers: Arc<Semaphore>,
    /// Commands that run, whether or not their callers still wait.
    pub(crate) running: TaskTracker,
    draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(api: Api) -> Self {
        let admission = Admission::new(api.settings.max_in_flight, api.settings.overload_target);
        let followers = Arc::new(Semaphore::new(api.settings.max_followers.min(Semaphore::MAX_PERMITS)));
        let gate = Gate::new(&api.access, &api.settings);
        Self {
            api,
            gate,
            admission,
            followers,
            running: TaskTracker::new(),
            draining: AtomicBool::new(false),
        }
    }

    /// Where traces are shown to people, if anywhere.
    pub(crate) fn jaeger(&self) -> Option<&JaegerUi> {
        self.api.settings.jaeger.as_ref()
    }

    /// Runs a command in a task of its own: it goes on when the caller goes away, and the drain
    /// waits for it.
    pub(crate) fn run<F>(&self, command: F) -> Result<JoinHandle<F::Output>, Problem>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.run_apart(command.in_current_span())
    }

    /// The same for a command that has a span of its own: the request's span need not wait for its end.
    pub(crate) fn run_apart<F>(&self, command: F) -> Result<JoinHandle<F::Output>, Problem>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.running.len() >= self.api.settings.max_running {
            return Err(overloaded());
        }
        Ok(self.running.spawn(command))
    }

    /// From here on `/readyz` says no.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Refused at once: a queue would only make everybody wait until they give up.
pub(crate) fn overloaded() -> Problem {
    Problem::unavailable("overloaded", "Too many requests at a time; nothing was changed.", 1)
}

/// A command's task ended without a result.
pub(crate) fn lost(error: JoinError) -> Problem {
    match error.try_into_panic() {
        Ok(panic) => panicked(&*panic),
        // The runtime is being shut down; recovery takes up what has begun.
        Err(_) => problem::outcome_unknown(),
    }
}

/// A panic, whose message is for the log.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind");
    Problem::internal(format!("panic: {message}"))
}
