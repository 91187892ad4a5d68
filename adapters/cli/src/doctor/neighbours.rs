//! Kafka, the collector, risk and channel.

use std::time::Duration;

use adapter_services::reach::reach;
use tokio::net::TcpStream;

use super::database::{clock, now};
use super::report::Report;
use crate::settings::Settings;

/// How long a neighbour may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The signals that are sent to collectors, as the variables of OpenTelemetry have them.
const SIGNALS: [&str; 3] = ["TRACES", "METRICS", "LOGS"];

/// The brokers, and the topics that the log is published to.
pub(super) async fn kafka(settings: &Settings, report: &mut Report) {
    let kafka = match settings.kafka.connection() {
        Ok(Some(kafka)) => kafka,
        Ok(None) => return,
        Err(error) => return report.failed("kafka", error.to_string(), "mend the file"),
    };
    let found = match adapter_kafka::checkup::checkup(&kafka).await {
        Ok(found) => found,
        Err(error) => {
            let next = "start a broker, or mend kafka.brokers and kafka.client (user, secret, certificates)";
            return report.failed("kafka", format!("{} cannot be reached: {error}", kafka.brokers), next);
        }
    };
    report.ok("kafka", format!("{} brokers answer", found.brokers));
    for topic in found.topics {
        let name = &topic.name;
        match topic.partitions {
            None => report.warning(
                "topics",
                format!("{name} is not there"),
                "nothing, where the relay may make topics: it does when it starts; otherwise make it",
            ),
            Some(partitions) if i32::try_from(partitions) != Ok(kafka.partitions) => report.failed(
                "topics",
                format!("{name} has {partitions} partitions, and kafka.partitions is {}", kafka.partitions),
                "set kafka.partitions to what the topic has, or name another topic",
            ),
            Some(_) if topic.ailing > 0 => report.warning(
                "topics",
                format!("{name} has {} partitions without a leader or with copies that lag", topic.ailing),
                "look at the brokers: kafka-topics.sh --describe --under-replicated-partitions",
            ),
            Some(partitions) => report.ok("topics", format!("{name} has {partitions} partitions")),
        }
    }
}

/// The collector, where the environment says that there is one.
pub(super) async fn collector(report: &mut Report) {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return;
    }
    let mut endpoints: Vec<String> = SIGNALS
        .iter()
        .filter_map(|signal| given(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")))
        .chain(given("OTEL_EXPORTER_OTLP_ENDPOINT"))
        .collect();
    endpoints.sort();
    endpoints.dedup();
    for endpoint in endpoints {
        let Some((host, port)) = host_and_port(&endpoint) else {
            let told = "an endpoint is no URL such as http://collector:4317";
            report.failed("collector", told, "mend OTEL_EXPORTER_OTLP_ENDPOINT and its like");
            continue;
        };
        let address = format!("{host}:{port}");
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address.as_str())).await;
        let refused = match connected {
            Ok(Ok(_)) => {
                report.ok("collector", format!("{address} takes connections"));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        let next = "start it, or mend OTEL_EXPORTER_OTLP_ENDPOINT; payments go on without, and what they tell is lost";
        report.warning("collector", format!("{address} cannot be reached: {refused}"), next);
    }
}

/// The host and the port of a URL, without a user that may stand before them.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    // Of a scheme that has none by itself it must be given.
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// A service outside, and its clock where it tells the time.
pub(super) async fn service(name: &'static str, url: &str, report: &mut Report) {
    let before = now();
    let reached = match reach(name, url, PATIENCE).await {
        Ok(reached) => reached,
        Err(error) => {
            let option = if name == "risk" { "PAYMENTS_RISK_URL" } else { "PAYMENTS_CHANNEL_URL" };
            let next = format!("ask who runs it, or mend {option}, or the network between");
            return report.failed(name, error.to_string(), next);
        }
    };
    report.ok(name, format!("it answers (status {} to GET /)", reached.status));
    if let Some(date) = reached.date {
        clock("clock", &format!("that of the {name} service"), before, date.into(), report);
    }
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_collector_is_found_without_its_secrets() {
        let told = |url| host_and_port(url).map(|(host, port)| format!("{host}:{port}"));
        assert_eq!(told("http://collector:4317").as_deref(), Some("collector:4317"));
        assert_eq!(told("https://user:hunter2@otlp.example/v1/traces").as_deref(), Some("otlp.example:443"));
        assert_eq!(told("http://[::1]:4318").as_deref(), Some("[::1]:4318"));
        assert_eq!(told("collector"), None);
    }
}
