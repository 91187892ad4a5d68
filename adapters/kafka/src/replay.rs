//! Events told again, to a topic of their own.
//!
//! **Invariant:** a replay has a producer for one topic and nothing else: by its types it cannot reach a
//! channel, a webhook, or the log. Each message says that it is a replay, and consumers of ours let it pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commands::cloud_event::{CloudEvent, CloudEventError};
use commands::ports::RecordedEvent;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use crate::producer::{Answered, Answers};
use crate::settings::{KafkaSettings, is_topic};
use crate::{message, producer, topics};

/// How long a cluster may keep a replay waiting without taking a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why events were not told again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The topic is one that the log is published to.
    #[error(
        "{0} is a topic that the log is published to: its consumers would see events twice. Take another topic, or say --force"
    )]
    Live(String),
    /// The topic's name is none.
    #[error("`{0}` is no topic's name: 1 to 249 letters, digits, `.`, `_` or `-`")]
    Name(String),
    /// The topic cannot be made or is another.
    #[error(transparent)]
    Topics(#[from] topics::TopicError),
    /// The cluster refused.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The cluster takes nothing.
    #[error("Kafka takes no message; is the cluster up?")]
    Stuck,
    /// An event is damaged.
    #[error(transparent)]
    Event(#[from] CloudEventError),
}

#[derive(Debug, Default)]
struct Kept {
    messages: AtomicU64,
    failure: Mutex<Option<KafkaError>>,
}

impl Answered for Kept {
    fn answered(&self, _: i64, result: Result<(), KafkaError>) {
        match result {
            Ok(()) => {
                self.messages.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
            }
        }
    }
}

/// Tells events again to one topic.
pub struct Replay {
    producer: ThreadedProducer<Answers<Kept>>,
    kept: Arc<Kept>,
    topic: String,
}

impl Replay {
    /// Makes the topic where it is not there.
    ///
    /// # Errors
    /// [`ReplayError::Live`] for a topic that the log is published to, unless it is forced.
    pub async fn to(settings: &KafkaSettings, topic: &str, force: bool) -> Result<Self, ReplayError> {
        if !is_topic(topic) {
            return Err(ReplayError::Name(topic.to_owned()));
        }
        if settings.live_topics().contains(&topic) && !force {
            return Err(ReplayError::Live(topic.to_owned()));
        }
        topics::ensure(settings, &[topic], settings.partitions).await?;
        let kept = Arc::new(Kept::default());
        let mut config = producer::config(settings);
        // Somebody waits for the end: a cluster that is away is said.
        config.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        let producer = config.create_with_context(Answers(Arc::clone(&kept)))?;
        Ok(Self { producer, kept, topic: topic.to_owned() })
    }

    /// Sends an event, marked as told again.
    ///
    /// # Errors
    /// [`ReplayError`] when it, or one before it, was not taken.
    pub async fn tell(&self, event: &RecordedEvent) -> Result<(), ReplayError> {
        let headers = message::headers(&CloudEvent::of(event)?.replayed());
        let mut record = BaseRecord::with_opaque_to(&self.topic, producer::opaque(event.position))
            .key(&event.aggregate_id)
            .payload(&event.payload)
            .timestamp(event.recorded_at.timestamp_millis())
            .headers(headers);
        let began = std::time::Instant::now();
        loop {
            self.failed()?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    if began.elapsed() > PATIENCE {
                        return Err(ReplayError::Stuck);
                    }
                    record = again;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until the cluster keeps everything. Returns how many events it keeps.
    ///
    /// # Errors
    /// [`ReplayError`] when one was not taken.
    pub async fn finish(self) -> Result<u64, ReplayError> {
        let Self { producer, kept, .. } = self;
        // librdkafka waits on the thread that asks.
        let flushed = tokio::task::spawn_blocking(move || producer.flush(PATIENCE)).await;
        if let Some(error) = kept.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.into());
        }
        flushed.unwrap_or(Err(KafkaError::Canceled))?;
        Ok(kept.messages.load(Ordering::Relaxed))
    }

    fn failed(&self) -> Result<(), KafkaError> {
        let failure = self.kept.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }
}
