//! Producers: how every message of ours is sent.

use std::sync::Arc;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use crate::client::{error_line, log_line};
use crate::settings::KafkaSettings;

/// Bytes that wait for a broker, at most, in KiB.
const MOST_WAITING_KIB: &str = "131072";

/// What every producer is made of. The idempotent producer keeps each partition's messages in order and
/// free of repeats, however often a request is sent again.
pub(crate) fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = settings.config();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight", "5")
        // As Java's clients do it: another producer of the same key finds the same partition.
        .set("partitioner", "murmur2_random")
        // A broker that is away is waited for: the log keeps what cannot be sent.
        .set("message.timeout.ms", "0")
        .set("allow.auto.create.topics", "false")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", MOST_WAITING_KIB);
    for (name, value) in [("linger.ms", "5"), ("batch.size", "524288"), ("compression.type", "lz4")] {
        // How messages are packed is the operator's to choose.
        if !settings.client.contains_key(name) {
            config.set(name, value);
        }
    }
    config
}

/// Told what became of each message.
pub(crate) trait Answered: Send + Sync {
    /// The cluster keeps the event at a position, or never will.
    fn answered(&self, position: i64, result: Result<(), KafkaError>);
}

/// Passes answers on. A message's opaque is its event's position.
pub(crate) struct Answers<T>(pub(crate) Arc<T>);

impl<T: Answered> ClientContext for Answers<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        error_line(&error, reason);
    }
}

impl<T: Answered> ProducerContext for Answers<T> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        self.0.answered(i64::try_from(position).unwrap_or(i64::MAX), result);
    }
}

/// The opaque of an event's message.
pub(crate) fn opaque(position: i64) -> usize {
    usize::try_from(position).unwrap_or(0)
}
