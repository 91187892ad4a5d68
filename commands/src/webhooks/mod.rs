//! Webhooks: telling receivers outside of events.
//!
//! ```text
//! event ──Handler──► deliveries (pending) ──claim──► Notifier ──WebhookSender──► receiver
//!                        ▲     2xx: delivered │ 410: endpoint disabled │ else: again, then dead
//!                        └────────────────────┘
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`endpoint`] | where events are sent to, which of them, and the secret that signs |
//! | [`message`] | what is sent of an event |
//! | [`delivery`] | one event for one endpoint, as it is told of |
//! | [`schedule`] | when an attempt that failed is made again, and what an answer means |
//! | [`ports`] | where endpoints and deliveries are kept, and who sends |
//! | [`notifier`] | the loop that claims what is due, sends it, and settles it |
//!
//! Start at [`notifier::Notifier::run`].
//!
//! **Invariants:** an event is sent at least once to each endpoint that asked for it, under one id and
//! with one body however often; a slow receiver takes up only its own share of what is under way.

pub mod delivery;
pub mod endpoint;
pub mod message;
pub mod notifier;
pub mod ports;
pub mod schedule;

pub use delivery::{Delivery, DeliveryFilter, DeliveryId, DeliveryStatus};
pub use endpoint::{Endpoint, EndpointStatus, EventFilter, Secret, known_events};
pub use notifier::{Notifier, NotifierSettings};
pub use schedule::RetrySchedule;
