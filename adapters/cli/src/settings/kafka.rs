//! Where Kafka is, if there is one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use adapter_kafka::KafkaSettings;
use serde::{Deserialize, Serialize};

/// How a setting of the client says that its value is in a file.
const IN_A_FILE: &str = ".file";
/// Largest secret, in bytes.
const MOST_SECRET: u64 = 64 * 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kafka {
    /// `host:port`, several with commas between them; empty where there is no Kafka.
    pub(crate) brokers: String,
    pub(crate) payments_topic: String,
    pub(crate) accounts_topic: String,
    /// Of a topic that is made; of one that is there it must be what it has.
    pub(crate) partitions: i32,
    /// Of a topic that is made.
    pub(crate) replication: i32,
    /// Of a topic that is made; 0 keeps events for good.
    pub(crate) retention_hours: u64,
    /// Settings of librdkafka by its names, with `_` for `.` where the environment needs it:
    /// `security_protocol`, `sasl_username`. `sasl_password_file` reads `sasl.password` from a file.
    pub(crate) client: BTreeMap<String, Value>,
}

/// A value in the text that librdkafka reads. Files and the environment know numbers and truths as well.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Truth(bool),
    Number(i64),
    Text(String),
}

/// What is wrong. Values are not repeated: a password may be among them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KafkaError {
    #[error(transparent)]
    Client(#[from] adapter_kafka::settings::SettingsError),
    #[error("kafka.{name} must be at least {least}")]
    TooSmall { name: &'static str, least: i32 },
    #[error("kafka.client.{name} names a file that cannot be read: {source}")]
    File { name: String, source: std::io::Error },
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            payments_topic: "payments.events".to_owned(),
            accounts_topic: "accounts.events".to_owned(),
            partitions: 6,
            replication: 1,
            retention_hours: 0,
            client: BTreeMap::new(),
        }
    }
}

impl Kafka {
    /// How the cluster is spoken to; `None` where there is none.
    pub(crate) fn connection(&self) -> Result<Option<KafkaSettings>, KafkaError> {
        for (name, value) in [("partitions", self.partitions), ("replication", self.replication)] {
            if value < 1 {
                return Err(KafkaError::TooSmall { name, least: 1 });
            }
        }
        if self.brokers.is_empty() {
            return Ok(None);
        }
        let retention = Duration::from_secs(self.retention_hours.saturating_mul(3_600));
        let settings = KafkaSettings {
            brokers: self.brokers.clone(),
            payments_topic: self.payments_topic.clone(),
            accounts_topic: self.accounts_topic.clone(),
            partitions: self.partitions,
            replication: self.replication,
            retention: (!retention.is_zero()).then_some(retention),
            client: self.client.iter().map(client_setting).collect::<Result<_, _>>()?,
        };
        settings.check()?;
        Ok(Some(settings))
    }
}

fn client_setting((name, value): (&String, &Value)) -> Result<(String, String), KafkaError> {
    let name = name.replace('_', ".");
    let value = match value {
        Value::Truth(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    };
    match name.strip_suffix(IN_A_FILE) {
        None => Ok((name, value)),
        Some(secret) => match read_secret(Path::new(&value)) {
            Ok(text) => Ok((secret.to_owned(), text)),
            Err(source) => Err(KafkaError::File { name, source }),
        },
    }
}

fn read_secret(file: &Path) -> Result<String, std::io::Error> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(file)?.take(MOST_SECRET).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

impl fmt::Debug for Value {
    /// That there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
