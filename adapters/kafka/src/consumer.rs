//! A consumer group that hands events to a handler, once each in effect.
//!
//! ```text
//! partition ── batch ── read ──► Handler: drops what it has seen, effect and position in one transaction
//!                         │                        │
//!                         ▼ cannot be handled      ▼
//!                   dead-letter topic          commit of the offset
//! ```
//!
//! Start at [`Consumer::run`].
//!
//! **Invariants.** An offset is committed behind the effect, never before it: a crash between the two brings
//! the events again, and the handler drops them. So it does where partitions change hands while a batch is at
//! work. A message that can never be handled is in the dead-letter topic before its offset is committed.
//! While the handler's database is away nothing is taken from the broker, and the place in the group is kept.

mod dead_letters;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use commands::consuming::{HandleError, Handler, Source};
use commands::meters;
use commands::ports::RecordedEvent;
use commands::spans::{self, KeyValue, LinkKind, Origin};
use futures::{FutureExt, StreamExt};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use self::dead_letters::DeadLetters;
use crate::client::{error_line, log_line};
use crate::message::{Told, read};
use crate::settings::KafkaSettings;
use crate::told::{self, Messages};
use crate::topics;

/// Messages that are handled together, at most.
const BATCH: usize = 500;
/// Bytes that wait here to be handled, at most, in KiB; the broker keeps the rest.
const MOST_WAITING_KIB: &str = "16384";
/// Pauses between tries while the handler's database is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two beginnings after the group was lost.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Told of what an operator has to know.
pub trait Watch: Send + Sync {
    /// A message was put aside.
    fn dead_letter(&self, topic: &str);
}

/// One member of a consumer group.
pub struct Consumer {
    settings: KafkaSettings,
    topics: Vec<String>,
    handler: Arc<dyn Handler>,
    watch: Arc<dyn Watch>,
}

/// Why a consumer begins again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Topics(#[from] topics::TopicError),
}

struct Logs;

impl ClientContext for Logs {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        error_line(&error, reason);
    }
}

impl ConsumerContext for Logs {}

/// Messages of one partition, in their order.
type Batch = BTreeMap<(String, i32), Vec<OwnedMessage>>;

impl Consumer {
    /// A member of the group that has the handler's name.
    #[must_use]
    pub fn new(
        settings: KafkaSettings,
        topics: Vec<String>,
        handler: Arc<dyn Handler>,
        watch: Arc<dyn Watch>,
    ) -> Self {
        Self { settings, topics, handler, watch }
    }

    /// Consumes until it is asked to stop; a batch that is at work is finished first. Whatever goes wrong
    /// is logged, and begun again from the last commit.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.work(&stop).await {
                tracing::warn!(group = self.handler.name(), %error, "the consumer begins again");
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(TRY_AGAIN) => {} }
        }
    }

    async fn work(&self, stop: &CancellationToken) -> Result<(), Broken> {
        let group = self.handler.name();
        // A cluster that is away is waited for, but not by one that is to stop.
        let dead_letters = tokio::select! {
            opened = DeadLetters::open(&self.settings, &self.topics, group) => opened?,
            () = stop.cancelled() => return Ok(()),
        };
        let consumer: StreamConsumer<Logs> = self.config(group).create_with_context(Logs)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        tracing::info!(group, ?topics, "consuming");
        while let Some(batch) = self.next(&consumer, stop).await? {
            for ((topic, partition), messages) in batch {
                let Some(last) = messages.last().map(Message::offset) else { continue };
                let source = Source { topic: topic.as_str().into(), partition };
                self.handle(&consumer, &dead_letters, &source, messages).await?;
                let mut done = TopicPartitionList::new();
                done.add_partition_offset(&topic, partition, Offset::Offset(last + 1))?;
                // Refused where the partition has another owner meanwhile, which reads on from what was committed
                // before: the handler drops what it has seen.
                if let Err(error) = consumer.commit(&done, CommitMode::Async) {
                    tracing::debug!(group, %error, "an offset was not committed");
                }
            }
        }
        // Whoever takes over begins where this one ended.
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
            tracing::debug!(group, %error, "offsets were not committed at the end");
        }
        Ok(())
    }

    fn config(&self, group: &str) -> rdkafka::ClientConfig {
        let mut config = self.settings.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // A member that was killed is missed so soon, and its partitions are given to others.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("queued.max.messages.kbytes", MOST_WAITING_KIB)
            .set("fetch.wait.max.ms", "50");
        config
    }

    /// The messages that are there, at least one; `None` when it is time to stop.
    async fn next(
        &self,
        consumer: &StreamConsumer<Logs>,
        stop: &CancellationToken,
    ) -> Result<Option<Batch>, KafkaError> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            first = consumer.recv() => first?.detach(),
        };
        let mut batch = Batch::new();
        let mut add = |message: OwnedMessage| {
            let partition = (message.topic().to_owned(), message.partition());
            batch.entry(partition).or_default().push(message);
        };
        add(first);
        let mut stream = consumer.stream();
        for _ in 1..BATCH {
            match stream.next().now_or_never() {
                Some(Some(message)) => add(message?.detach()),
                _ => break,
            }
        }
        Ok(Some(batch))
    }

    /// Hands a partition's messages over until they are handled or put aside.
    async fn handle(
        &self,
        consumer: &StreamConsumer<Logs>,
        dead_letters: &DeadLetters,
        source: &Source,
        messages: Vec<OwnedMessage>,
    ) -> Result<(), Broken> {
        let mut events: Vec<(RecordedEvent, OwnedMessage)> = Vec::with_capacity(messages.len());
        for message in messages {
            match read(&message) {
                Ok(Told::Event(event)) => events.push((*event, message)),
                // Told again for others: whoever acts on events has acted on it.
                Ok(Told::Replayed) => {}
                Err(error) => self.put_aside(dead_letters, &message, &error.to_string()).await?,
            }
        }
        let mut pause = FIRST_PAUSE;
        while !events.is_empty() {
            let (told, of): (Vec<RecordedEvent>, Vec<OwnedMessage>) = events.into_iter().unzip();
            let began = (Instant::now(), told::now());
            let handled = self.handler.handle(source, &told).await;
            if handled.is_ok() {
                self.tell(source, &told, began);
            }
            events = told.into_iter().zip(of).collect();
            match handled {
                Ok(()) => break,
                Err(HandleError::Poisoned { position, reason }) => {
                    let poisoned = events.iter().position(|(event, _)| event.position == position);
                    let Some(index) = poisoned else {
                        tracing::error!(
                            position,
                            reason,
                            "the handler refused an event that it was not given"
                        );
                        return Err(KafkaError::Canceled.into());
                    };
                    let (_, message) = events.remove(index);
                    self.put_aside(dead_letters, &message, &reason).await?;
                }
                Err(error @ HandleError::Unavailable) => {
                    tracing::warn!(group = self.handler.name(), %error, "the same events come again");
                    rest(consumer, pause).await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// What traces and measurements say of a batch that is handled.
    fn tell(&self, source: &Source, events: &[RecordedEvent], began: (Instant, SystemTime)) {
        meters::messages_processed(&source.topic, events.len(), began.0.elapsed());
        if !spans::are_kept() {
            return;
        }
        let kept = events.iter().filter(|event| spans::is_kept(&event.traceparent));
        let messages = Messages { number: events.len(), origins: kept.map(Origin::of).collect() };
        let attributes = vec![
            KeyValue::new("messaging.consumer.group.name", self.handler.name().to_owned()),
            KeyValue::new("messaging.destination.partition.id", source.partition.to_string()),
        ];
        messages.tell(&source.topic, "process", LinkKind::CausedBy, began.1, attributes);
    }

    async fn put_aside(
        &self,
        dead_letters: &DeadLetters,
        message: &OwnedMessage,
        reason: &str,
    ) -> Result<(), KafkaError> {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        dead_letters.send(message, reason).await?;
        tracing::error!(topic, partition, offset, reason, "a message cannot be handled and was put aside");
        self.watch.dead_letter(topic);
        Ok(())
    }
}

/// Waits without taking messages, and without leaving the group: whoever does not ask for messages is
/// taken for dead, so it asks, with every partition paused.
async fn rest(consumer: &StreamConsumer<Logs>, pause: Duration) -> Result<(), KafkaError> {
    let end = tokio::time::Instant::now() + pause;
    let mut came = Vec::new();
    loop {
        // Again in each round: partitions that were assigned meanwhile are not paused.
        let assigned = consumer.assignment()?;
        consumer.pause(&assigned)?;
        let asked = tokio::time::timeout_at(end, consumer.recv()).await;
        match asked {
            Err(_) => break,
            Ok(message) => came.push(message?.detach()),
        }
    }
    let assigned = consumer.assignment()?;
    consumer.resume(&assigned)?;
    // What slipped through is asked for again.
    let mut again: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for message in came {
        again.entry((message.topic().to_owned(), message.partition())).or_insert(message.offset());
    }
    for ((topic, partition), offset) in again {
        consumer.seek(&topic, partition, Offset::Offset(offset), Duration::from_secs(5))?;
    }
    Ok(())
}
