//! Apache Kafka for a test, and a reader of topics that is not ours.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::authority::Authority;
use super::folder::Folder;

/// How long a broker may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One node in a folder of its own. It ends with the value, whatever becomes of the test.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    ports: (u16, u16),
    folder: Folder,
}

impl Broker {
    pub(crate) fn start(name: &str) -> Self {
        let folder = Folder::new(&format!("{name}-kafka"));
        let ports = (free_port(), free_port());
        Self { child: spawn(folder.path(), ports, None), ports, folder }
    }

    /// One with a second address, which it gives as well, that speaks TLS with a certificate of this
    /// authority and wants a password by SCRAM.
    pub(crate) fn start_secured(name: &str, authority: &Authority) -> (Self, String) {
        let folder = Folder::new(&format!("{name}-kafka"));
        let ports = (free_port(), free_port());
        let secured = format!("127.0.0.1:{}", free_port());
        let store = folder.path().join("key-store.pem");
        std::fs::write(&store, authority.key_store()).unwrap();
        let open = format!("PLAINTEXT://127.0.0.1:{},SECURED://{secured}", ports.0);
        let properties = format!(
            "listeners={open},CONTROLLER://127.0.0.1:{}
advertised.listeners={open}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location={}
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
",
            ports.1,
            store.display(),
        );
        let file = folder.path().join("further.properties");
        std::fs::write(&file, properties).unwrap();
        (Self { child: spawn(folder.path(), ports, Some(&file)), ports, folder }, secured)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.0)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after a kill.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.ports, None);
    }

    /// What a client that is not ours finds in topics.
    pub(crate) fn read(&self, topics: &[&str]) -> Value {
        peer("read_topics.py", &[&[self.address().as_str()], topics].concat())
    }

    /// One of Kafka's own tools.
    pub(crate) fn tool(&self, class: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        let class_path = root().join(".dev/kafka/libs/*");
        let logs = format!("-Dlog4j2.configurationFile={}/deploy/kafka/log4j2.xml", root().display());
        command.arg(logs).arg("-cp").arg(class_path).arg(class).args(["--bootstrap-server", &self.address()]);
        command.args(arguments).stderr(Stdio::inherit());
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, and that nobody gets by chance: connections take theirs from 32,768 on, also those
/// of other tests, and one of them could have it before the broker does, or while it is killed.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 12_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(folder: &Path, (port, controller): (u16, u16), further: Option<&Path>) -> Child {
    let program = root().join("deploy/kafka/broker");
    let log = folder.join("broker.log");
    let said = || OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let before = std::fs::metadata(&log).map_or(0, |log| log.len());
    let mut child = Command::new(program)
        .arg(folder.join("data"))
        .args([port.to_string(), controller.to_string()])
        .envs(further.map(|file| ("PAYMENTS_KAFKA_PROPERTIES", file)))
        .stdout(said())
        .stderr(said())
        .spawn()
        .unwrap();
    let began = Instant::now();
    loop {
        let text = read_from(&log, before);
        if text.contains("Kafka Server started") {
            return child;
        }
        if let Some(status) = child.try_wait().unwrap() {
            panic!("the broker ended with {status} (./dev test gets what it needs): {text}");
        }
        assert!(began.elapsed() < PATIENCE, "the broker does not start: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn read_from(file: &Path, start: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(file).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Runs a program of `tests/peers`, which is built on libraries that are not ours, and reads its answer.
pub(crate) fn peer(script: &str, arguments: &[&str]) -> Value {
    let python = root().join(".dev/python/bin/python");
    assert!(python.exists(), "{} is missing: run ./dev test", python.display());
    let script = root().join("tests/peers").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}
