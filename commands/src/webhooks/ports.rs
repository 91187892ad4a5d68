//! Where endpoints and deliveries are kept, and who sends.

use std::time::Duration;

use async_trait::async_trait;

use super::delivery::{Delivery, DeliveryFilter, DeliveryId};
use super::endpoint::{Endpoint, EndpointStatus, EventFilter, Secret};
use super::schedule::{Attempted, Outcome};
use crate::context::TraceContext;
use crate::idempotency::{Answer, Claim, KeyConflict, Reply};

/// Why endpoints or deliveries could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The key is in use, or was used for something else.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The caller has no such endpoint.
    #[error("there is no such endpoint")]
    NoEndpoint,
    /// The caller's endpoints have no such delivery.
    #[error("there is no such delivery")]
    NoDelivery,
    /// The caller has as many endpoints as it may.
    #[error("there are {most} endpoints already")]
    TooMany {
        /// So many.
        most: u32,
    },
    /// It is tried anyway.
    #[error("the delivery is pending")]
    Pending,
    /// Nothing is sent to its endpoint.
    #[error("the endpoint is not enabled")]
    NotEnabled,
    /// The database cannot be reached or is too busy.
    #[error("the database is not available")]
    Unavailable,
    /// What is kept is not what this program keeps.
    #[error("the webhooks are damaged: {0}")]
    Damaged(String),
}

/// What a keyed request changes.
#[derive(Debug, Clone)]
pub enum Change {
    /// Register an endpoint.
    Register {
        /// The endpoint's id, made at the edge.
        id: String,
        /// Where events are sent to.
        url: String,
        /// Which events.
        filter: EventFilter,
        /// The client's own words.
        description: String,
        /// What signs.
        secret: Secret,
    },
    /// Sign with another secret; with the old one as well for a while.
    RotateSecret {
        /// The endpoint.
        id: String,
        /// What signs from now on.
        secret: Secret,
        /// How long the old one does as well.
        keep_old: Duration,
    },
    /// Try a delivery that has ended again, from the beginning of the schedule.
    Resend {
        /// The delivery.
        id: DeliveryId,
    },
}

/// What a keyed request has changed.
#[derive(Debug, Clone)]
pub enum Changed {
    /// An endpoint: its answer shows the secret.
    Endpoint(Endpoint, Secret),
    /// A delivery.
    Delivery(Delivery),
}

/// Writes the answer of a change, which is recorded with it.
pub type Render = dyn Fn(&Changed) -> Answer + Send + Sync;

/// What a client changes of an endpoint. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointChanges {
    /// Where events are sent to.
    pub url: Option<String>,
    /// Which events.
    pub filter: Option<EventFilter>,
    /// The client's own words.
    pub description: Option<String>,
    /// Whether events are sent.
    pub status: Option<EndpointStatus>,
}

/// Where endpoints are kept. Each belongs to a caller, and exists for no other.
#[async_trait]
pub trait WebhookEndpoints: Send + Sync {
    /// Carries out a keyed request: key, change and answer become durable together. A repeat gets the
    /// recorded answer. A refusal changes and records nothing.
    async fn change(&self, claim: &Claim, change: &Change, render: &Render) -> Result<Reply, WebhookError>;

    /// A caller's endpoints, the oldest first; with `None` everybody's.
    async fn endpoints(&self, caller: Option<&str>) -> Result<Vec<Endpoint>, WebhookError>;

    /// One endpoint; with `None` whoever's it is.
    async fn endpoint(&self, caller: Option<&str>, id: &str) -> Result<Endpoint, WebhookError>;

    /// Changes an endpoint.
    async fn update(
        &self,
        caller: &str,
        id: &str,
        changes: &EndpointChanges,
    ) -> Result<Endpoint, WebhookError>;

    /// Deletes an endpoint; what is pending for it is dead.
    async fn delete(&self, caller: &str, id: &str) -> Result<(), WebhookError>;
}

/// How many deliveries have not come to their receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// They are tried.
    pub pending: i64,
    /// They are not tried any more.
    pub dead: i64,
}

/// What has become of deliveries, for clients and operators.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Deliveries from before a number, the newest first, at most `limit`.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Delivery>, WebhookError>;

    /// Tries a delivery that has ended again.
    async fn resend(&self, id: DeliveryId) -> Result<Delivery, WebhookError>;

    /// Tries all that are dead of an endpoint again, and says how many.
    async fn resend_dead(&self, endpoint_id: &str) -> Result<u64, WebhookError>;

    /// How many are pending and dead.
    async fn counts(&self) -> Result<DeliveryCounts, WebhookError>;
}

/// A delivery that one process is to attempt now.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub id: DeliveryId,
    /// Its endpoint.
    pub endpoint_id: String,
    /// Which attempt at all it is, from 1.
    pub attempt: u32,
    /// Which attempt of the schedule it is, from 1; another where it was sent again by hand.
    pub scheduled_attempt: u32,
    /// What is sent, and where to.
    pub outgoing: Outgoing,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub url: String,
    /// The message's id: the event's, at each attempt.
    pub message_id: String,
    /// The message.
    pub body: String,
    /// What signs: one secret, or two while a rotation lasts.
    pub secrets: Vec<Secret>,
    /// The trace of the event.
    pub trace: TraceContext,
}

/// An attempt that has been made.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The delivery.
    pub id: DeliveryId,
    /// Which attempt at all it was.
    pub attempt: u32,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// Why it does not count as delivered.
    pub error: Option<String>,
    /// So long nothing is sent to its endpoint.
    pub hold: Option<Duration>,
    /// What becomes of the delivery.
    pub outcome: Outcome,
}

/// How much one claim takes.
#[derive(Debug, Clone, Copy)]
pub struct ClaimLimits {
    /// Most deliveries to one endpoint that are under way, in all processes.
    pub per_endpoint: u32,
    /// Most deliveries of this claim.
    pub most: u32,
    /// After so long others may claim them again: whoever has claimed them is dead by then.
    pub lease: Duration,
}

/// The deliveries that are to be made, for the notifier.
#[async_trait]
pub trait DeliveryQueue: Send + Sync {
    /// Takes deliveries that are due, of each endpoint in turn.
    async fn claim(&self, limits: ClaimLimits) -> Result<Vec<Claimed>, WebhookError>;

    /// Keeps what came of attempts, all or none.
    async fn settle(&self, settled: &[Settled]) -> Result<(), WebhookError>;
}

/// Sends one message once.
#[async_trait]
pub trait WebhookSender: Send + Sync {
    /// Signs and sends a message, within the time that it is set up with. Redirects are not followed.
    async fn send(&self, outgoing: &Outgoing) -> Attempted;
}

/// Why nothing may be sent to a URL; each continues a sentence that begins with the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlRefused(pub String);

/// Keeps clients from having requests sent to where they could not send any themselves.
#[async_trait]
pub trait UrlGuard: Send + Sync {
    /// Whether messages may be sent to a URL, as its host resolves now.
    async fn check(&self, url: &str) -> Result<(), UrlRefused>;
}

/// Is told what attempts come to, for the metrics.
pub trait AttemptMeter: Send + Sync {
    /// An attempt has been made.
    fn attempted(&self, outcome: Outcome);
}
