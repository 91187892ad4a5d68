//! PostgreSQL: where every fact is kept.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`answered_requests`] | forgetting idempotency keys after a while |
//! | [`database`] | connections, migrations |
//! | [`store`] | the event store: slot cache, units of work, group commit |
//! | [`hash_chain`] | proof that the log is as it was written |
//! | [`inbox`] | handling events once: effect and position in one transaction |
//! | [`import`] | an exported log checked and loaded into an empty database |
//! | [`log`] | reading the log by position, by payment, by event |
//! | [`projector`] | the read models kept up with the log, built anew, compared with it |
//! | [`read_models`] | reading them |
//! | [`outbox`] | the log as it is published: who does it, and how far that is |
//! | [`open_payments`] | what the channel was asked for and has not ended yet, found from the log |
//! | [`authorizations`] | authorizations that are too old, found in the read model |
//! | [`webhooks`] | endpoints of webhooks and what is delivered to them |
//! | [`embedded`] | a private PostgreSQL cluster in a data folder |
//!
//! Start at [`store::PostgresEventStore`].

pub mod answered_requests;
pub mod authorizations;
mod copy_rows;
pub mod database;
pub mod embedded;
pub mod hash_chain;
pub mod import;
pub mod inbox;
pub mod log;
pub mod open_payments;
pub mod outbox;
pub mod projector;
pub mod read_models;
pub mod store;
pub mod webhooks;
