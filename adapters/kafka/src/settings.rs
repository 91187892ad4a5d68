//! How the cluster is spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Where the cluster is and what it keeps.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// The topic of payments' events.
    pub payments_topic: String,
    /// The topic of accounts' events.
    pub accounts_topic: String,
    /// Partitions of a topic that is made here.
    pub partitions: i32,
    /// Copies of each partition of a topic that is made here.
    pub replication: i32,
    /// How long a topic that is made here keeps events; `None` keeps them for good.
    pub retention: Option<Duration>,
    /// Further settings of librdkafka, by its names: `security.protocol`, `sasl.password`, `ssl.ca.location`.
    pub client: BTreeMap<String, String>,
}

/// Settings of librdkafka that this crate decides: what it promises depends on them.
const OURS: &[&str] = &[
    "bootstrap.servers",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "retries",
    "message.send.max.retries",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "partitioner",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "transactional.id",
    "allow.auto.create.topics",
];

/// Why these settings cannot be used. The values are not repeated: they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The setting is decided here.
    #[error("kafka.client.{0} cannot be set: what the relay promises depends on it")]
    Ours(String),
    /// librdkafka has no such setting, or it does not take this value.
    #[error("kafka.client: {0}")]
    Refused(String),
    /// No broker.
    #[error("kafka.brokers must be `host:port`, several with commas between them")]
    Brokers,
    /// Two topics are one, or a topic's name is none.
    #[error("kafka.{0} must be 1 to 249 letters, digits, `.`, `_` or `-`, and no other topic of ours")]
    Topic(&'static str),
}

impl KafkaSettings {
    /// Makes sure that clients can be made of these settings, without asking the cluster.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_broker = |broker: &str| {
            broker
                .trim()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !self.brokers.split(',').all(is_broker) {
            return Err(SettingsError::Brokers);
        }
        let names = [("payments_topic", &self.payments_topic), ("accounts_topic", &self.accounts_topic)];
        if let Some((name, _)) = names.into_iter().find(|(_, topic)| !is_topic(topic)) {
            return Err(SettingsError::Topic(name));
        }
        if self.payments_topic == self.accounts_topic {
            return Err(SettingsError::Topic("accounts_topic"));
        }
        if let Some(name) = self.client.keys().find(|name| OURS.contains(&name.as_str())) {
            return Err(SettingsError::Ours(name.clone()));
        }
        // librdkafka's own words name the setting; of the value they say only what it must be.
        let native = self.config().create_native_config();
        native.map(|_| ()).map_err(|error| match error {
            rdkafka::error::KafkaError::ClientConfig(_, reason, name, _) => {
                SettingsError::Refused(format!("{name}: {}", without_value(&reason)))
            }
            other => SettingsError::Refused(other.to_string()),
        })
    }

    /// The topic of an aggregate's events; `None` for a type that has none.
    #[must_use]
    pub fn topic_of(&self, aggregate_type: &str) -> Option<&str> {
        match aggregate_type {
            "payment" => Some(&self.payments_topic),
            "account" => Some(&self.accounts_topic),
            _ => None,
        }
    }

    /// The topics that the log is published to.
    #[must_use]
    pub fn live_topics(&self) -> [&str; 2] {
        [&self.payments_topic, &self.accounts_topic]
    }

    /// What every client of the cluster is made of.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "payments");
        // Otherwise the level is that of a logger that this program does not use, and nothing is said.
        config.set_log_level(RDKafkaLogLevel::Warning);
        // A broker that went away is asked for again soon, and a silent connection is noticed.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        config.set("socket.keepalive.enable", "true").set("socket.timeout.ms", "10000");
        for (name, value) in &self.client {
            config.set(name, value);
        }
        config
    }
}

/// Kafka's rule for names.
pub(crate) fn is_topic(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(fits) && name != "." && name != ".."
}

/// What librdkafka says of a setting, without the value that it repeats in quotes.
fn without_value(reason: &str) -> String {
    let mut parts = reason.split('"');
    let mut said = parts.next().unwrap_or_default().to_owned();
    while let (Some(_quoted), Some(rest)) = (parts.next(), parts.next()) {
        said.push('…');
        said.push_str(rest);
    }
    said
}

impl fmt::Debug for KafkaSettings {
    /// The names of the client's settings, not their values: a password is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("topics", &self.live_topics())
            .field("client", &self.client.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn settings() -> KafkaSettings {
        KafkaSettings {
            brokers: "127.0.0.1:9092".to_owned(),
            payments_topic: "payments.events".to_owned(),
            accounts_topic: "accounts.events".to_owned(),
            partitions: 6,
            replication: 1,
            retention: None,
            client: BTreeMap::new(),
        }
    }

    fn with(name: &str, value: &str) -> KafkaSettings {
        KafkaSettings { client: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..settings() }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_and_its_value_is_not() {
        assert_eq!(settings().check(), Ok(()));
        assert_eq!(with("security.protocol", "sasl_ssl").check(), Ok(()));
        assert_eq!(with("acks", "1").check(), Err(SettingsError::Ours("acks".to_owned())));
        for wrong in [with("sasl.pasword", "hunter2"), with("security.protocol", "hunter2")] {
            let refused = wrong.check().unwrap_err().to_string();
            let name = wrong.client.keys().next().unwrap();
            assert!(refused.contains(name) && !refused.contains("hunter2"), "{refused}");
        }
        for brokers in ["", "host", "host:", ":9092", "a:1,b"] {
            let wrong = KafkaSettings { brokers: brokers.to_owned(), ..settings() };
            assert_eq!(wrong.check(), Err(SettingsError::Brokers), "{brokers:?}");
        }
        let same = KafkaSettings { accounts_topic: "payments.events".to_owned(), ..settings() };
        assert_eq!(same.check(), Err(SettingsError::Topic("accounts_topic")));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
