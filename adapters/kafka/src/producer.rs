//! Producers: how every message of ours is sent.

use rdkafka::ClientConfig;

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
