//! What the engine does when it is asked: command handlers and the payment saga.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`context`] | who asked, for what, in which trace: travels with every command into every event |
//! | [`mod@unit`] | a unit of work: commands that become durable together or not at all |
//! | [`ports`] | what the handlers call: event store, risk service, payment channel, answer format |
//! | [`cloud_event`] | a recorded event as a CloudEvent, for whoever is told of it outside |
//! | [`consuming`] | handling events once, whoever tells of them |
//! | [`shown`] | what an event says, as whoever is outside sees it |
//! | [`traces`] | which traces recorded a story |
//! | [`webhooks`] | telling receivers outside of events: whom, what, when again |
//! | [`pace`] | how often those who follow the log work |
//! | [`publishing`] | the log as an outbox, for whoever publishes it |
//! | [`idempotency`], [`keyed`] | one request under one key is carried out once and answered the same again |
//! | [`spans`], [`meters`] | what is told of all this: traces and measurements |
//! | [`access`] | who may call, and for what |
//! | [`accounts`] | open, deposit, freeze, unfreeze, close |
//! | [`saga`] | a payment from request to settled, whatever fails on the way |
//! | [`system_accounts`] | which shard of the settlement and funding accounts this process books on |
//!
//! Start at [`saga::PaymentSaga::process`].
//!
//! **Invariant:** nothing here knows PostgreSQL, HTTP or Kafka, reads the clock or makes an id; all of
//! that arrives through a port or inside a request.

pub mod access;
pub mod accounts;
pub mod cloud_event;
pub mod consuming;
pub mod context;
pub mod idempotency;
pub mod keyed;
pub mod meters;
pub mod pace;
pub mod ports;
pub mod publishing;
pub mod saga;
pub mod shown;
pub mod spans;
pub mod system_accounts;
pub mod traces;
pub mod unit;
pub mod webhooks;
