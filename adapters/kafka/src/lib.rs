//! Kafka: the log published in order, and events consumed once.
//!
//! | module | is |
//! | --- | --- |
//! | [`settings`] | where the cluster is, how it is spoken to, the topics |
//! | [`topics`] | topics made and checked at start |
//! | [`message`] | an event as a Kafka message, and back: CloudEvents' binary mode |
//! | [`relay`] | publishes the log, one process at a time |
//! | [`consumer`] | a consumer group that hands events to a [`commands::consuming::Handler`] |
//! | [`replay`] | events told again to a topic of their own |
//!
//! Start at [`relay::Relay::run`].
//!
//! **Invariants.** Within a partition positions grow, but for repeats after a crash, and no event comes
//! for the first time behind a later one: whoever drops positions that it has seen has each event once.
//! What the relay marks as published is acknowledged by every replica in sync.

pub mod checkup;
mod client;
pub mod consumer;
pub mod message;
mod producer;
pub mod relay;
pub mod replay;
pub mod settings;
mod told;
pub mod topics;

pub use settings::KafkaSettings;
