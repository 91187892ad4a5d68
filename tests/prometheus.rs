//! Prometheus itself asks the engine, answers the contract's questions, and raises an alert.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::files::{root, text};
use crate::support::kafka::free_port;
use crate::support::{Payment, Scene, eventually};

/// The contract's questions. An operator of PromQL stands before what it works on.
const QUESTIONS: [&str; 4] = [
    r#"rate(payment_requests_total{status="success"}[5m]) / rate(payment_requests_total[5m])"#,
    "histogram_quantile(0.99, rate(payment_duration_bucket[5m]))",
    "sum by (service) (rate(payment_errors_total[5m]))",
    "rate(account_concurrent_modification_total[5m])",
];

/// A server that asks one engine, with our alerts. It ends with the value.
struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    /// Its alerts are raised after seconds, not minutes: nothing else about them is changed.
    fn start(folder: &Path, engine: &str) -> Self {
        let program = root().join(".dev/prometheus/prometheus");
        assert!(program.exists(), "{} is missing: run ./dev test", program.display());
        let alerts = text("deploy/prometheus/alerts.yml").replace("for: 1m", "for: 2s");
        std::fs::write(folder.join("alerts.yml"), alerts).unwrap();
        let target = engine.trim_start_matches("http://");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [alerts.yml]\nscrape_configs:\n\
             - job_name: payments-dev\n  static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}") }
    }

    /// The values of a query's answer; none while it does not answer.
    async fn ask(&self, query: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query", self.url);
        let url = reqwest::Url::parse_with_params(&url, [("query", query)]).unwrap();
        let Ok(answer) = reqwest::get(url).await else { return vec![] };
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers_the_contracts_questions_and_raises_an_alert() {
    let scene = Scene::start("prometheus");
    scene.account("alice", "USD", "100.00").await;
    let prometheus = Prometheus::start(scene.path(), scene.url());
    let (mut paid, mut unanswered) = (0, QUESTIONS.to_vec());
    eventually("every question has an answer", async || {
        // A rate is of what grows while it is watched.
        for method in ["card", "card_declined", "card_charged_then_error"] {
            scene.client.pay(&Payment::of("alice", &format!("p{paid}"), "0.01").by(method)).await;
            paid += 1;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let mut left = vec![];
        for question in &unanswered {
            let values = prometheus.ask(question).await;
            let is_number = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
            if !values.iter().any(is_number) {
                left.push(*question);
            }
        }
        unanswered = left;
        unanswered.is_empty()
    })
    .await;
    assert_eq!(prometheus.ask("ALERTS{alertname=\"EngineDown\"}").await.len(), 0);
    scene.stopped();
    eventually("somebody is told that the engine is down", async || {
        !prometheus.ask("ALERTS{alertname=\"EngineDown\",alertstate=\"firing\"}").await.is_empty()
    })
    .await;
}
