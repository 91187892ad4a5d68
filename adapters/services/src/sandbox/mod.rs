//! The sandbox: a simulated risk service and payment channel behind real HTTP.
//!
//! `payments sandbox` serves it alone and `payments dev` hosts it, so that the engine meets the
//! same sockets, time-outs and lost answers it meets in production. Start at
//! [`Sandbox::start`]; what a payment meets is decided by its payment method first and by
//! [`Behaviour`] second.
//!
//! | `payment_method` | what happens |
//! | --- | --- |
//! | `card_declined` | 402, reason `card_declined` |
//! | `card_insufficient` | 402, reason `insufficient_card_funds` |
//! | `card_lost_answer` | charged, the answer never comes; a repeat is answered |
//! | `card_timeout` | first request: not charged, never answered; the second is charged |
//! | `card_server_error` | first request: 500, not charged; the second is charged |
//! | `card_charged_then_error` | charged, yet answered 500; inquiry says succeeded |
//! | `card_dropped` | charged, then the connection is dropped without an answer |
//! | `card_never_known` | never charged, never answered, every inquiry answers 503 |
//! | `card_processing` | 202; two inquiries say processing, the third charges: succeeded |
//! | `card_slow` | charged, answered after 1 s |
//! | `card_capture_declined` | the capture is declined |
//! | `card_refund_declined` | each refund is declined |
//! | `card_capture_lost_answer` | the capture is done, the answer never comes; a repeat is answered |
//! | `card_void_lost_answer` | the void is done, the answer never comes; a repeat is answered |
//! | `card_refund_lost_answer` | the refund is done, the answer never comes; a repeat is answered |
//! | `card_capture_done_then_error` | the capture is done, yet answered 500; inquiry says succeeded |
//! | `card_void_done_then_error` | the void is done, yet answered 500; inquiry says succeeded |
//! | `card_refund_done_then_error` | the refund is done, yet answered 500; inquiry says succeeded |
//! | `card_capture_timeout` | first request for the capture not done and never answered, then normal |
//! | `card_void_timeout` | first request for the void not done and never answered, then normal |
//! | `card_refund_timeout` | first request for the refund not done and never answered, then normal |
//! | `card_high_risk` | risk level high, score 95 |
//! | `card_medium_risk` | risk level medium, score 60 |
//! | `card_risk_timeout` | the risk evaluation is never answered |
//! | `card_risk_error` | the risk evaluation answers 500 |
//! | anything else | charged; risk is low, with a score from 0 to 30 drawn from the user id |
//!
//! | `reference` of a payout | what happens |
//! | --- | --- |
//! | `payout_declined` | 402, reason `payout_declined` |
//! | `payout_lost_answer` | paid out, the answer never comes; a repeat is answered |
//! | `payout_done_then_error` | paid out, yet answered 500; inquiry says succeeded |
//! | `payout_timeout` | first request: not paid out, never answered; the second is paid out |
//! | `payout_never_known` | never paid out, never answered, every inquiry answers 503 |
//! | anything else | paid out |
//!
//! | call | answers |
//! | --- | --- |
//! | `POST /v1/risk/evaluations` | 200 `{"level","score"}` |
//! | `POST /v1/charges` | 201, 202, 402; 422 for a key that is used with another body |
//! | `GET /v1/charges/{idempotency_key}` | 200 with the status, 404 `not_found` |
//! | `POST /v1/payouts`, `GET /v1/payouts/{idempotency_key}` | as for a charge |
//! | `POST /v1/charges/{key}/capture`, `/void`, `/refunds` | 201, 402; 404 without such a charge |
//! | `GET /v1/charges/{key}/capture`, `/void`, `/refunds/{refund_id}` | 200 with the status, 404 `not_found` |
//! | `GET /v1/charges` | the entire record as NDJSON |
//! | `GET`, `PUT /v1/behaviour` | shows, replaces the [`Behaviour`] |
//! | `GET /healthz` | 200 |
//!
//! "Never answered" holds the connection until the caller goes away, for at most 60 s, and then
//! drops it.
//!
//! **Invariants.** A key is charged at most once, and the record counts each time money moves, so
//! that a second charge would show. With a record folder, a charge or decline is in the journal
//! before its answer leaves: it survives the death of this process (not that of the machine).

mod behaviour;
mod change;
mod changes;
mod channel;
mod charge;
mod connection;
mod journal;
mod record;
mod reply;
mod risk;
#[cfg(test)]
mod tests;
mod traced;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::behaviour::{Behaviour, BehaviourError};
use self::connection::{CuttableListener, Line, Phase};
use self::record::Record;

/// What each magic payment method does, for `--help`; any other method succeeds.
pub const MAGIC: &[(&str, &str)] = &[
    ("card_declined", "declined: 402 card_declined"),
    ("card_insufficient", "declined: 402 insufficient_card_funds"),
    ("card_lost_answer", "charged, the answer never comes; a repeat is answered"),
    ("card_timeout", "first request not charged and never answered, then normal"),
    ("card_server_error", "first request answers 500 and is not charged, then normal"),
    ("card_charged_then_error", "charged, answers 500; inquiry says succeeded"),
    ("card_dropped", "charged, then the connection is dropped without an answer"),
    ("card_never_known", "never answered, every inquiry answers 503: ends in review"),
    ("card_processing", "202; two inquiries say processing, then succeeded"),
    ("card_slow", "charged, answers after 1 s"),
    ("card_capture_declined", "the capture is declined"),
    ("card_refund_declined", "each refund is declined"),
    ("card_capture_lost_answer", "the capture is done, the answer never comes; a repeat is answered"),
    ("card_void_lost_answer", "the void is done, the answer never comes; a repeat is answered"),
    ("card_refund_lost_answer", "the refund is done, the answer never comes; a repeat is answered"),
    ("card_capture_done_then_error", "the capture is done, yet answered 500; inquiry says succeeded"),
    ("card_void_done_then_error", "the void is done, yet answered 500; inquiry says succeeded"),
    ("card_refund_done_then_error", "the refund is done, yet answered 500; inquiry says succeeded"),
    ("card_capture_timeout", "first request for the capture not done and never answered, then normal"),
    ("card_void_timeout", "first request for the void not done and never answered, then normal"),
    ("card_refund_timeout", "first request for the refund not done and never answered, then normal"),
    ("card_high_risk", "risk level high, score 95"),
    ("card_medium_risk", "risk level medium, score 60"),
    ("card_risk_timeout", "risk never answers"),
    ("card_risk_error", "risk answers 500"),
];

/// What each magic reference of a payout does, for `--help`; any other reference succeeds.
pub const MAGIC_REFERENCES: &[(&str, &str)] = &[
    ("payout_declined", "declined: 402 payout_declined"),
    ("payout_lost_answer", "paid out, the answer never comes; a repeat is answered"),
    ("payout_done_then_error", "paid out, answers 500; inquiry says succeeded"),
    ("payout_timeout", "first request not paid out and never answered, then normal"),
    ("payout_never_known", "never answered, every inquiry answers 503: ends in review"),
];

/// The largest request body, in bytes; a charge is some 150.
const BODY_LIMIT: usize = 16 * 1024;

/// How long [`Sandbox::stop`] lets requests in flight finish before it cuts their connections.
const DRAIN: Duration = Duration::from_millis(500);

/// How a sandbox is started.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The folder of the journal `charges.ndjson`, made when missing. Without it the record
    /// lives in memory only.
    pub record_dir: Option<PathBuf>,
    /// The behaviour to begin with; `PUT /v1/behaviour` replaces it.
    pub behaviour: Behaviour,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address cannot be listened on.
    #[error("the sandbox cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The journal cannot be opened, read or locked.
    #[error("the sandbox cannot use its journal {path}: {source}")]
    Journal {
        /// The journal or its folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the journal open.
    #[error("the journal {path} is in use by another sandbox")]
    JournalInUse {
        /// The journal.
        path: PathBuf,
    },
    /// A line of the journal, other than a torn last one, is not a journal line.
    #[error("line {line} of the journal {path} cannot be read: {source}")]
    JournalLine {
        /// The journal.
        path: PathBuf,
        /// Its line, counted from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The behaviour contradicts itself.
    #[error("the sandbox behaviour is refused: {0}")]
    Behaviour(#[from] BehaviourError),
    /// The thread that read the journal panicked.
    #[error("reading the journal failed: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

/// What every request of one sandbox shares.
struct Shared {
    behaviour: watch::Sender<Behaviour>,
    phase: watch::Receiver<Phase>,
    record: Record,
}

/// A running sandbox. Dropping it cuts its connections; [`Sandbox::stop`] lets them finish first.
pub struct Sandbox {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    server: JoinSet<()>,
    shared: Arc<Shared>,
}

impl Sandbox {
    /// Reads the journal back, listens and serves in the background.
    ///
    /// # Errors
    ///
    /// When the behaviour contradicts itself, or the journal or the address cannot be used.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let SandboxSettings { address, record_dir, behaviour } = settings;
        behaviour.check()?;
        let record = tokio::task::spawn_blocking(move || Record::open(record_dir)).await??;
        let listen = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let (phase, phases) = watch::channel(Phase::Serving);
        let (behaviour, _) = watch::channel(behaviour);
        let shared = Arc::new(Shared { behaviour, phase: phases.clone(), record });
        let service = router(Arc::clone(&shared)).into_make_service_with_connect_info::<Line>();
        let serving = axum::serve(CuttableListener::new(listener, phases.clone()), service)
            .with_graceful_shutdown(connection::until(phases, Phase::Draining));
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the sandbox ended");
            }
        });
        tracing::info!(%address, "the sandbox serves");
        Ok(Self { address, phase, server, shared })
    }

    /// The address it listens on, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://HOST:PORT`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops: requests in flight finish, for at most half a second; requests that are held
    /// unanswered are dropped at once. Afterwards the port and the journal are free again.
    pub async fn stop(mut self) {
        self.phase.send_replace(Phase::Draining);
        if timeout(DRAIN, self.server.join_next()).await.is_err() {
            self.phase.send_replace(Phase::Cut);
            if timeout(DRAIN, self.server.join_next()).await.is_err() {
                self.server.shutdown().await;
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Cut);
        // A request that is still being handled finds the journal closed and moves no money, so
        // the next sandbox on this folder has the record to itself.
        self.shared.record.close();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/risk/evaluations", post(risk::evaluate))
        .route("/v1/charges", post(channel::pay).get(channel::list))
        .route("/v1/charges/{idempotency_key}", get(channel::inquire))
        .route("/v1/payouts", post(channel::pay_out))
        .route("/v1/payouts/{idempotency_key}", get(channel::inquire))
        .route("/v1/charges/{idempotency_key}/capture", post(changes::capture).get(changes::inquire_capture))
        .route("/v1/charges/{idempotency_key}/void", post(changes::void).get(changes::inquire_void))
        .route("/v1/charges/{idempotency_key}/refunds", post(changes::refund))
        .route("/v1/charges/{idempotency_key}/refunds/{refund_id}", get(changes::inquire_refund))
        .route("/v1/behaviour", get(behaviour::show).put(behaviour::replace))
        .route("/healthz", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(traced::serve))
        .with_state(shared)
}
