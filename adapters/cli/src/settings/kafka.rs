//! Where Kafka is, if there is one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use adapter_kafka::KafkaSettings;
use serde::{Deserialize, Serialize};

use super::secret;
use super::wrong::{LONGEST_KEEP_HOURS, Wrong};

/// How a setting of the client says that its value is in a file.
const IN_A_FILE: &str = ".file";

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

/// A value in the text that librdkafka reads. Files know numbers and truths as well.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be a text, a whole number, true or false")]
pub(crate) enum Value {
    Truth(bool),
    Number(i64),
    Text(String),
}

/// A secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("kafka.client.{name} names a file that cannot be used: {source}")]
pub(crate) struct SecretFile {
    name: String,
    source: std::io::Error,
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
    pub(super) fn check(&self, wrong: &mut Wrong) {
        wrong.unless_in("kafka.partitions", self.partitions, 1..=100_000);
        wrong.unless_in("kafka.replication", self.replication, 1..=1_000);
        wrong.unless_in("kafka.retention_hours", self.retention_hours, 0..=LONGEST_KEEP_HOURS);
        let mut client = BTreeMap::new();
        for (name, value) in &self.client {
            match client_setting(name, value) {
                Ok((theirs, value)) => {
                    if client.insert(theirs.clone(), value).is_some() {
                        let reason = format!("is one of two that say what {theirs} is");
                        wrong.add(format!("kafka.client.{name}"), reason);
                    }
                }
                Err(SecretFile { source, .. }) => {
                    let reason = format!("names a file that cannot be used: {source}");
                    wrong.add(format!("kafka.client.{name}"), reason);
                }
            }
        }
        for fault in self.connected_with(client).check() {
            // No brokers are no Kafka.
            if fault.name == "brokers" && self.brokers.is_empty() {
                continue;
            }
            wrong.add(format!("kafka.{}", self.as_given(&fault.name)), fault.reason);
        }
    }

    /// How the cluster is spoken to; `None` where there is none.
    ///
    /// # Errors
    /// A secret's file cannot be read any more.
    pub(crate) fn connection(&self) -> Result<Option<KafkaSettings>, SecretFile> {
        if self.brokers.is_empty() {
            return Ok(None);
        }
        let client = self.client.iter().map(|(name, value)| client_setting(name, value));
        Ok(Some(self.connected_with(client.collect::<Result<_, _>>()?)))
    }

    fn connected_with(&self, client: BTreeMap<String, String>) -> KafkaSettings {
        let retention = Duration::from_secs(self.retention_hours.saturating_mul(3_600));
        KafkaSettings {
            brokers: self.brokers.clone(),
            payments_topic: self.payments_topic.clone(),
            accounts_topic: self.accounts_topic.clone(),
            partitions: self.partitions,
            replication: self.replication,
            retention: (!retention.is_zero()).then_some(retention),
            client,
        }
    }

    /// The name under which a setting of librdkafka was given: `client.sasl_password_file` for `client.sasl.password`.
    fn as_given(&self, name: &str) -> String {
        let Some(theirs) = name.strip_prefix("client.") else { return name.to_owned() };
        let given = self.client.keys().find(|given| {
            let given = given.replace('_', ".");
            given == theirs || given.strip_suffix(IN_A_FILE) == Some(theirs)
        });
        format!("client.{}", given.map_or(theirs, String::as_str))
    }
}

fn client_setting(name: &str, value: &Value) -> Result<(String, String), SecretFile> {
    let theirs = name.replace('_', ".");
    let value = match value {
        Value::Truth(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    };
    match theirs.strip_suffix(IN_A_FILE) {
        None => Ok((theirs, value)),
        Some(secret) => match secret::read(Path::new(&value)) {
            Ok(text) => Ok((secret.to_owned(), text)),
            Err(source) => Err(SecretFile { name: name.to_owned(), source }),
        },
    }
}

impl fmt::Debug for Value {
    /// That there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
