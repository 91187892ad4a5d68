//! Topics made and checked at start.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer};

use crate::client::Asking;
use crate::settings::KafkaSettings;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited for one answer of those.
const A_TRY: Duration = Duration::from_secs(2);

/// Why topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster does not answer, or refuses.
    #[error("the topic {topic} cannot be made or looked at: {source}{}", because(complaint.as_deref()))]
    Refused {
        /// Its name.
        topic: String,
        /// What went wrong last with a connection.
        complaint: Option<String>,
        /// What the cluster says.
        source: Box<KafkaError>,
    },
    /// Its number of partitions is another: the key of an aggregate would lead to another partition, and
    /// its events would not be in order.
    #[error(
        "the topic {topic} has {found} partitions and kafka.partitions is {expected}: change the setting, or take another topic"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// What it has.
        found: usize,
        /// What was configured.
        expected: i32,
    },
}

fn because(complaint: Option<&str>) -> String {
    complaint.map_or_else(String::new, |complaint| format!("; the last complaint was: {complaint}"))
}

/// Makes the topics that are not there, and makes sure that all have this number of partitions.
///
/// # Errors
/// [`TopicError`] names the topic and what is wrong with it.
pub async fn ensure(settings: &KafkaSettings, topics: &[&str], partitions: i32) -> Result<(), TopicError> {
    let first = topics.first().copied().unwrap_or_default();
    // Whether there is a cluster that talks to us: it is the question that tells why there is none.
    asked(settings, first, |_| true).await?;
    let admin = settings.config().create().map_err(|source| refused(first, source, None))?;
    let admin: AdminClient<DefaultClientContext> = admin;
    // -1 keeps events for good.
    let retention = settings.retention.map_or("-1".to_owned(), |keep| keep.as_millis().to_string());
    let new = topics.iter().map(|topic| {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(settings.replication));
        topic.set("retention.ms", &retention).set("cleanup.policy", "delete")
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let made = admin.create_topics(&new, &options).await;
    for made in made.map_err(|source| refused(first, source, None))? {
        match made {
            Ok(topic) => tracing::info!(topic, partitions, "made a topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(refused(&topic, KafkaError::AdminOp(code), None)),
        }
    }
    for topic in topics {
        // Those of a topic that was just made are known to every broker after a moment.
        let found = asked(settings, topic, |metadata| partitions_in(metadata) > 0).await?;
        if usize::try_from(partitions) != Ok(found) {
            return Err(TopicError::Partitions { topic: (*topic).to_owned(), found, expected: partitions });
        }
    }
    Ok(())
}

fn refused(topic: &str, source: KafkaError, complaint: Option<String>) -> TopicError {
    TopicError::Refused { topic: topic.to_owned(), complaint, source: Box::new(source) }
}

fn partitions_in(metadata: &Metadata) -> usize {
    metadata.topics().first().map_or(0, |topic| topic.partitions().len())
}

/// Asks the cluster for a topic until the answer is enough, or time runs out. Returns its partitions.
async fn asked(
    settings: &KafkaSettings,
    topic: &str,
    enough: fn(&Metadata) -> bool,
) -> Result<usize, TopicError> {
    let client = settings.config().create_with_context(Asking::default());
    let client: BaseProducer<Asking> = client.map_err(|source| refused(topic, source, None))?;
    let name = topic.to_owned();
    let ask = move || {
        let began = std::time::Instant::now();
        loop {
            let answer = client.client().fetch_metadata(Some(&name), A_TRY);
            // What the client has to say comes to its context here.
            client.poll(Duration::ZERO);
            let too_late = began.elapsed() > PATIENCE;
            match answer {
                Ok(metadata) if too_late || enough(&metadata) => return Ok(partitions_in(&metadata)),
                Err(source) if too_late => return Err(refused(&name, source, client.context().complaint())),
                Ok(_) => std::thread::sleep(Duration::from_millis(100)),
                Err(_) => {}
            }
        }
    };
    // librdkafka waits for the answer on the thread that asks.
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or_else(|_| Err(refused(topic, KafkaError::Canceled, None)))
}
