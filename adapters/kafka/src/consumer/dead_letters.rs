//! Messages that can never be handled, kept with the reason in a topic of their own.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::settings::KafkaSettings;
use crate::{producer, topics};

/// Most characters of a reason.
const MOST_REASON: usize = 500;

/// The dead-letter topics of a consumer group: `TOPIC.GROUP.dead-letters`.
pub(super) struct DeadLetters {
    producer: FutureProducer,
    group: String,
}

impl DeadLetters {
    pub(super) async fn open(
        settings: &KafkaSettings,
        topics: &[String],
        group: &str,
    ) -> Result<Self, super::Broken> {
        let names: Vec<String> = topics.iter().map(|topic| topic_of(topic, group)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        topics::ensure(settings, &names, 1).await?;
        let subscribed: Vec<&str> = topics.iter().map(String::as_str).collect();
        topics::ensure(settings, &subscribed, settings.partitions).await?;
        Ok(Self { producer: producer::config(settings).create()?, group: group.to_owned() })
    }

    /// Puts a message aside as it came, with the reason beside its headers. Returns once it is kept.
    pub(super) async fn send(&self, message: &OwnedMessage, reason: &str) -> Result<(), KafkaError> {
        let topic = topic_of(message.topic(), &self.group);
        let came_with = message.headers().into_iter().flat_map(Headers::iter);
        let mut headers = came_with.fold(OwnedHeaders::new(), OwnedHeaders::insert);
        let reason: String = reason.chars().take(MOST_REASON).collect();
        let (partition, offset) = (message.partition().to_string(), message.offset().to_string());
        for (key, value) in [
            ("dead-letter-reason", reason.as_str()),
            ("dead-letter-group", &self.group),
            ("dead-letter-topic", message.topic()),
            ("dead-letter-partition", &partition),
            ("dead-letter-offset", &offset),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic).headers(headers);
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        if let Some(value) = message.payload() {
            record = record.payload(value);
        }
        let sent = self.producer.send(record, Duration::from_secs(10)).await;
        sent.map(|_| ()).map_err(|(error, _)| error)
    }
}

/// The topic for what a group cannot handle of a topic.
pub(super) fn topic_of(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dead-letters")
}
