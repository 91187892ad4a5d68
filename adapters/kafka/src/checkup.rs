//! What an operator wants to know of a cluster before anything works with it.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use crate::client::Asking;
use crate::settings::KafkaSettings;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long it is waited for one answer of those.
const A_TRY: Duration = Duration::from_secs(2);

/// A cluster as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// How many brokers there are.
    pub brokers: usize,
    /// The topics that the log is published to; those that are missing are made by the relay.
    pub topics: Vec<Topic>,
}

/// A topic as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has; `None` where it is not there.
    pub partitions: Option<usize>,
    /// Partitions whose copies are not all in step, or that nobody leads.
    pub ailing: usize,
}

/// Why the cluster cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", complaint.as_ref().map_or_else(String::new, |said| format!("; the last complaint was: {said}")))]
pub struct CheckupError {
    source: Box<KafkaError>,
    /// What went wrong last with a connection.
    complaint: Option<String>,
}

/// Asks the cluster what there is. Nothing is made.
///
/// # Errors
/// [`CheckupError`] says why there is no answer.
pub async fn checkup(settings: &KafkaSettings) -> Result<Checkup, CheckupError> {
    let client = settings.config().create_with_context(Asking::default());
    let client: BaseProducer<Asking> =
        client.map_err(|source| CheckupError { source: Box::new(source), complaint: None })?;
    let names = settings.live_topics().map(str::to_owned);
    // librdkafka waits for the answer on the thread that asks.
    let asked = tokio::task::spawn_blocking(move || ask(&client, &names)).await;
    asked.unwrap_or_else(|_| Err(CheckupError { source: Box::new(KafkaError::Canceled), complaint: None }))
}

fn ask(client: &BaseProducer<Asking>, names: &[String]) -> Result<Checkup, CheckupError> {
    let began = Instant::now();
    loop {
        // All topics: to ask for one by its name may make it.
        let answer = client.client().fetch_metadata(None, A_TRY);
        // What the client has to say comes to its context here.
        client.poll(Duration::ZERO);
        let metadata = match answer {
            Ok(metadata) => metadata,
            Err(_) if began.elapsed() < PATIENCE => continue,
            Err(source) => {
                let complaint = client.context().complaint();
                return Err(CheckupError { source: Box::new(source), complaint });
            }
        };
        let found = |name: &String| {
            let topic =
                metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
            let partitions = topic.map_or(&[][..], |topic| topic.partitions());
            let ails = |leader: i32, copies: usize, in_step: usize| leader < 0 || in_step < copies;
            let ailing =
                partitions.iter().filter(|it| ails(it.leader(), it.replicas().len(), it.isr().len()));
            Topic { name: name.clone(), partitions: topic.map(|_| partitions.len()), ailing: ailing.count() }
        };
        return Ok(Checkup { brokers: metadata.brokers().len(), topics: names.iter().map(found).collect() });
    }
}
