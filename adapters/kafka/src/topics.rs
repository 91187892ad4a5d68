//! Topics made and checked at start.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::settings::KafkaSettings;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster does not answer, or refuses.
    #[error("the topic {topic} cannot be made or looked at: {source}")]
    Refused {
        /// Its name.
        topic: String,
        /// What the cluster says.
        source: KafkaError,
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

/// Makes the topics that are not there, and makes sure that all have this number of partitions.
///
/// # Errors
/// [`TopicError`] names the topic and what is wrong with it.
pub async fn ensure(settings: &KafkaSettings, topics: &[&str], partitions: i32) -> Result<(), TopicError> {
    let refused = |topic: &str| {
        let topic = topic.to_owned();
        move |source| TopicError::Refused { topic, source }
    };
    let first = topics.first().copied().unwrap_or_default();
    let admin: AdminClient<DefaultClientContext> = settings.config().create().map_err(refused(first))?;
    // -1 keeps events for good.
    let retention = settings.retention.map_or("-1".to_owned(), |keep| keep.as_millis().to_string());
    let new = topics.iter().map(|topic| {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(settings.replication));
        topic.set("retention.ms", &retention).set("cleanup.policy", "delete")
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    for made in admin.create_topics(&new, &options).await.map_err(refused(first))? {
        match made {
            Ok(topic) => tracing::info!(topic, partitions, "made a topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(TopicError::Refused { topic, source: KafkaError::AdminOp(code) });
            }
        }
    }
    for topic in topics {
        let found = partitions_of(settings, topic).await?;
        if usize::try_from(partitions) != Ok(found) {
            return Err(TopicError::Partitions { topic: (*topic).to_owned(), found, expected: partitions });
        }
    }
    Ok(())
}

/// Partitions of a topic; those of one that was just made are known to every broker after a moment.
async fn partitions_of(settings: &KafkaSettings, topic: &str) -> Result<usize, TopicError> {
    let (config, name) = (settings.config(), topic.to_owned());
    let ask = move || -> Result<usize, KafkaError> {
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let began = std::time::Instant::now();
        loop {
            let metadata = admin.inner().fetch_metadata(Some(&name), PATIENCE)?;
            let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if found > 0 || began.elapsed() > PATIENCE {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let refused = |source| TopicError::Refused { topic: topic.to_owned(), source };
    // librdkafka waits for the answer on the thread that asks.
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or(Err(KafkaError::Canceled)).map_err(refused)
}
