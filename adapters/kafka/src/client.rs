//! What librdkafka says for itself, told as ours.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};

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

/// A client that asks the cluster something, and remembers why it gets no answer: the error of a question
/// says only that time ran out, where a password or a certificate is wrong.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    complaint: Mutex<Option<String>>,
}

impl Asking {
    /// What went wrong last, in librdkafka's words.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.complaint.lock().ok()?.clone()
    }
}

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if matches!(level, RDKafkaLogLevel::Error)
            && let Ok(mut complaint) = self.complaint.lock()
        {
            // In front of it is the thread that says so.
            let said = message.split_once("]: ").map_or(message, |(_, said)| said);
            *complaint = Some(said.to_owned());
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        error_line(&error, reason);
    }
}

impl ProducerContext for Asking {
    type DeliveryOpaque = ();

    /// It sends nothing.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
