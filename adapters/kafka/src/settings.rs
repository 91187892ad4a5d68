//! How the cluster is spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

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

/// A setting that cannot be used. The value is not repeated: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kafka.{name} {reason}")]
pub struct SettingsError {
    /// Its name below `kafka`, for instance `client.sasl.password`.
    pub name: String,
    /// What it must be, or why it cannot be set.
    pub reason: String,
}

impl KafkaSettings {
    /// What keeps clients from being made of these settings, found without asking the cluster.
    #[must_use]
    pub fn check(&self) -> Vec<SettingsError> {
        let mut wrong = Vec::new();
        let mut add = |name: &str, reason: &str| {
            wrong.push(SettingsError { name: name.to_owned(), reason: reason.to_owned() });
        };
        let is_broker = |broker: &str| {
            broker
                .trim()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !self.brokers.split(',').all(is_broker) {
            add("brokers", "must be `host:port`, several with commas between them");
        }
        for (name, topic) in
            [("payments_topic", &self.payments_topic), ("accounts_topic", &self.accounts_topic)]
        {
            if !is_topic(topic) {
                add(name, "must be 1 to 249 letters, digits, `.`, `_` or `-`");
            }
        }
        if self.payments_topic == self.accounts_topic {
            add("accounts_topic", "must be another topic than kafka.payments_topic");
        }
        for (name, value) in &self.client {
            if let Err(reason) = check_client(name, value) {
                add(&format!("client.{name}"), &reason);
            }
        }
        wrong
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

/// Whether librdkafka takes a setting. The reason says what it must be, in its words.
fn check_client(name: &str, value: &str) -> Result<(), String> {
    if OURS.contains(&name) {
        return Err("cannot be set: what the relay promises depends on it".to_owned());
    }
    let native = ClientConfig::new().set(name, value).create_native_config();
    native.map(|_| ()).map_err(|error| match error {
        KafkaError::ClientConfig(_, reason, ..) => format!("is refused: {}", without_value(&reason)),
        other => format!("is refused: {other}"),
    })
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
        let told = |settings: KafkaSettings| {
            settings.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(told(settings()), "");
        assert_eq!(told(with("security.protocol", "sasl_ssl")), "");
        let refused = told(with("acks", "1"));
        assert!(refused.starts_with("kafka.client.acks cannot be set"), "{refused}");
        for wrong in [with("sasl.pasword", "hunter2"), with("security.protocol", "hunter2")] {
            let name = wrong.client.keys().next().unwrap().clone();
            let refused = told(wrong);
            assert!(refused.starts_with(&format!("kafka.client.{name} is refused: ")), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        for brokers in ["", "host", "host:", ":9092", "a:1,b"] {
            let wrong = KafkaSettings { brokers: brokers.to_owned(), ..settings() };
            assert!(told(wrong).starts_with("kafka.brokers must be `host:port`"), "{brokers:?}");
        }
        let same = KafkaSettings { accounts_topic: "payments.events".to_owned(), ..settings() };
        assert_eq!(told(same), "kafka.accounts_topic must be another topic than kafka.payments_topic");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
