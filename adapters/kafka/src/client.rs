//! What librdkafka says for itself, told as ours.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// What librdkafka says, by its importance.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "Kafka client");
        }
        // Brokers come and go; whoever works with them says what follows from it.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::info!(facility, message, "Kafka client");
        }
        _ => tracing::debug!(facility, message, "Kafka client"),
    }
}

/// A broker that is away says so once a second and per connection; whoever works with it says what follows.
pub(crate) fn error_line(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "Kafka");
}
