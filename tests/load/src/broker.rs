//! The broker that the relay is measured against, and its own producer tool.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// How long a broker may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How both sides pack their messages: the relay's own settings.
const PACKING: [&str; 3] = ["linger.ms=5", "batch.size=524288", "compression.type=lz4"];

/// One node of Apache Kafka for the run.
pub(crate) struct Broker {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).to_owned()
}

impl Broker {
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("payments-bench-kafka-").tempdir()?;
        let log = folder.path().join("broker.log");
        let (port, controller) = (free_port(20_000)?, free_port(21_000)?);
        let mut child = Command::new(root().join("deploy/kafka/broker"))
            .arg(folder.path().join("data"))
            .args([port.to_string(), controller.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()?;
        let began = Instant::now();
        while !std::fs::read_to_string(&log)?.contains("Kafka Server started") {
            if child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let _ = child.kill();
                return Err(format!("the broker does not start: {}", std::fs::read_to_string(&log)?).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { child, port, _folder: folder })
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Records a second that `kafka-producer-perf-test` sends, acknowledged by all, of these payloads.
    pub(crate) fn perf_test(&self, topic: &str, records: u64, payloads: &Path) -> Result<u64, Failure> {
        let create =
            ["--create", "--topic", topic, "--partitions", "6", "--bootstrap-server", &self.address()];
        self.run("org.apache.kafka.tools.TopicCommand", &create)?;
        let (records, bootstrap) = (records.to_string(), format!("bootstrap.servers={}", self.address()));
        let payloads = payloads.to_str().ok_or("a path that is no text")?;
        let mut arguments = vec!["--topic", topic, "--num-records", &records, "--throughput", "-1"];
        arguments.extend(["--payload-file", payloads, "--producer-props", &bootstrap, "acks=all"]);
        arguments.extend(PACKING);
        let said = self.run("org.apache.kafka.tools.ProducerPerformance", &arguments)?;
        // "1000000 records sent, 154321.0 records/sec (...), ..."
        let last = said.lines().rev().find(|line| line.contains("records/sec")).ok_or("no result")?;
        let rate = last.split("records sent, ").nth(1).and_then(|rest| rest.split('.').next());
        Ok(rate.ok_or_else(|| format!("the tool said: {last}"))?.trim().parse()?)
    }

    fn run(&self, class: &str, arguments: &[&str]) -> Result<String, Failure> {
        let root = root();
        let output = Command::new("java")
            .arg(format!("-Dlog4j2.configurationFile={}/deploy/kafka/log4j2.xml", root.display()))
            .arg("-Xmx512m")
            .arg("-cp")
            .arg(root.join(".dev/kafka/libs/*"))
            .arg(class)
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{class}: {said}{}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(said)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has; below those that the load's connections take theirs from.
fn free_port(from: u16) -> Result<u16, Failure> {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    Ok((from..from + 1_000).find(free).ok_or("no port is free")?)
}
