//! Publishes the log: the log is the outbox.
//!
//! ```text
//! log ── pages, in order ── producer (idempotent, acks=all, several batches under way) ── topics
//!   ▲                                      │ acknowledgements, in any order
//!   └──── mark ◄── without a gap ◄─────────┘
//! ```
//!
//! Start at [`Relay::run`].
//!
//! **Invariants.** Events are sent in the order of their positions, from behind the mark, which moves only
//! over events that are acknowledged. So a relay that dies, or two that work for a moment, tell a stretch
//! again, and in each partition no event comes for the first time behind a later one: in both relays'
//! sequences whatever is before an event was sent before it, or is acknowledged since long.

mod acks;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::cloud_event::{CloudEvent, CloudEventError};
use commands::pace::{LEAST_PAUSE, Pace};
use commands::ports::{RecordedEvent, StoreError};
use commands::publishing::{Lead, Outbox};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use self::acks::Acks;
use self::told::Told;
use crate::producer::{Answered, Answers};
use crate::settings::KafkaSettings;
use crate::{message, producer, topics};

/// Events that are read at a time.
const PAGE: u32 = 5_000;
/// Events that are sent and not acknowledged, at most.
const MOST_UNDER_WAY: usize = 20_000;
/// How often the mark is moved while there is much to do.
const MARK_EVERY: Duration = Duration::from_millis(100);
/// How often a stand-by asks for the lead, and one that failed begins again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long what is under way may take when the relay is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Publishes the log to Kafka.
pub struct Relay {
    outbox: Arc<dyn Outbox>,
    settings: KafkaSettings,
}

/// Why a relay begins again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Log(#[from] StoreError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Topics(#[from] topics::TopicError),
    #[error(transparent)]
    Event(#[from] CloudEventError),
    #[error("position {position} happened to a `{aggregate_type}`, for which there is no topic")]
    NoTopic { position: i64, aggregate_type: String },
}

impl Answered for Acks {
    fn answered(&self, position: i64, result: Result<(), KafkaError>) {
        Self::answered(self, position, result);
    }
}

impl Relay {
    /// A relay of a log to a cluster.
    #[must_use]
    pub fn new(outbox: Arc<dyn Outbox>, settings: KafkaSettings) -> Self {
        Self { outbox, settings }
    }

    /// Publishes until it is asked to stop; then what is under way is waited for, for a moment. Whatever
    /// goes wrong is logged, and tried again from the mark.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.work(&stop).await {
                tracing::warn!(%error, "the relay begins again from its mark");
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(TRY_AGAIN) => {} }
        }
    }

    async fn work(&self, stop: &CancellationToken) -> Result<(), Broken> {
        let Some(mut lead) = self.outbox.lead().await? else { return Ok(()) };
        let topics = self.settings.live_topics();
        // A cluster that is away is waited for, but not by one that is to stop.
        tokio::select! {
            ensured = topics::ensure(&self.settings, &topics, self.settings.partitions) => ensured?,
            () = stop.cancelled() => return Ok(()),
        }
        tracing::info!(position = lead.marked(), "relaying the log");
        let acks = Arc::new(Acks::behind(lead.marked()));
        let producer: ThreadedProducer<Answers<Acks>> =
            producer::config(&self.settings).create_with_context(Answers(Arc::clone(&acks)))?;
        let published = self.publish(&mut *lead, &producer, &acks, stop).await;
        // Whatever ended it: what is acknowledged need not be told again.
        if let Ok((through, _)) = acks.through()
            && through > lead.marked()
        {
            lead.mark(through).await?;
        }
        published
    }

    async fn publish(
        &self,
        lead: &mut dyn Lead,
        producer: &ThreadedProducer<Answers<Acks>>,
        acks: &Acks,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        let mut sent = lead.marked();
        let mut marked_at = Instant::now();
        let (mut pace, mut last_began) = (Pace::default(), Instant::now());
        let mut told = Told::default();
        while !stop.is_cancelled() {
            let began = Instant::now();
            let (through, under_way) = acks.through()?;
            told.acknowledged(through);
            if through > lead.marked() && (marked_at.elapsed() >= MARK_EVERY || under_way == 0) {
                lead.mark(through).await?;
                marked_at = Instant::now();
            }
            if under_way >= MOST_UNDER_WAY {
                let _ = tokio::time::timeout(MARK_EVERY, acks.news()).await;
                continue;
            }
            let events = lead.behind(sent, PAGE).await?;
            told.sending(&events, |aggregate_type| self.settings.topic_of(aggregate_type));
            for event in &events {
                self.send(producer, acks, event).await?;
                sent = event.position;
            }
            match events.len() {
                0 if under_way == 0 => {
                    tokio::select! { () = lead.grown_beyond(sent) => {}, () = stop.cancelled() => {} }
                }
                // Nothing new yet, and answers on their way: whichever comes first.
                0 => {
                    let wait = async { tokio::join!(acks.news(), tokio::time::sleep(LEAST_PAUSE)) };
                    tokio::select! { () = lead.grown_beyond(sent) => {}, _ = wait => {} }
                }
                read if read == PAGE as usize => {}
                read => {
                    let pause = pace.after(read, began - last_began);
                    tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
                }
            }
            last_began = began;
        }
        let deadline = Instant::now() + DRAIN;
        while acks.through()?.1 > 0 && Instant::now() < deadline {
            let _ = tokio::time::timeout(LEAST_PAUSE, acks.news()).await;
        }
        told.acknowledged(acks.through()?.0);
        Ok(())
    }

    async fn send(
        &self,
        producer: &ThreadedProducer<Answers<Acks>>,
        acks: &Acks,
        event: &RecordedEvent,
    ) -> Result<(), Broken> {
        let topic = self.settings.topic_of(&event.aggregate_type).ok_or_else(|| Broken::NoTopic {
            position: event.position,
            aggregate_type: event.aggregate_type.clone(),
        })?;
        let headers = message::headers(&CloudEvent::of(event)?);
        let mut record = BaseRecord::with_opaque_to(topic, producer::opaque(event.position))
            .key(&event.aggregate_id)
            .payload(&event.payload)
            .timestamp(event.recorded_at.timestamp_millis())
            .headers(headers);
        acks.sending();
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    // Nothing is lost by waiting: the log keeps it. A failure ends the wait.
                    acks.through()?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
