//! How soon an event is in Kafka: from its commit until a consumer has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Failure;

/// Microseconds from an event's record to its being consumed.
pub(crate) struct Lags {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) events: u64,
}

/// A consumer of everything that comes from now on.
pub(crate) struct KafkaLag {
    stop: watch::Sender<bool>,
    watching: JoinHandle<Result<Vec<u64>, String>>,
}

impl KafkaLag {
    pub(crate) fn watch(brokers: &str, topics: &[&str]) -> Result<Self, Failure> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()?;
        let mut partitions = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                let (_, end) = consumer.fetch_watermarks(topic, partition.id(), Duration::from_secs(10))?;
                partitions.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
            }
        }
        consumer.assign(&partitions)?;
        let (stop, stopped) = watch::channel(false);
        let watching = tokio::task::spawn_blocking(move || lags(&consumer, &stopped));
        Ok(Self { stop, watching })
    }

    pub(crate) async fn stop(self) -> Result<Lags, Failure> {
        self.stop.send_replace(true);
        let mut lags = self.watching.await??;
        lags.sort_unstable();
        let at = |part: usize| lags.get(lags.len() * part / 100).copied().unwrap_or(0);
        Ok(Lags { p50_us: at(50), p99_us: at(99), events: u64::try_from(lags.len())? })
    }
}

fn lags(consumer: &BaseConsumer, stopped: &watch::Receiver<bool>) -> Result<Vec<u64>, String> {
    let mut lags = vec![];
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            None if *stopped.borrow() => return Ok(lags),
            None => {}
            Some(message) => {
                let message = message.map_err(|error| error.to_string())?;
                let now = now_us();
                let headers = message.headers().ok_or("a message without headers")?;
                let time = headers.iter().find(|header| header.key == "ce_time");
                let time = time.and_then(|header| std::str::from_utf8(header.value?).ok());
                let time = time.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).ok_or("no time")?;
                lags.push(u64::try_from(now - time.timestamp_micros()).unwrap_or(0));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
