//! The programs under test, as a user starts them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Folder of a test; kept when the test fails, so that its logs can be read.
pub(crate) fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("payments-test-{name}-")).tempdir().unwrap()
}

/// The `payments` program that was built with these tests.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("payments");
    assert!(path.exists(), "{} is missing: run ./dev test, or cargo build --release first", path.display());
    path
}

/// A process that is killed when the test lets go of it.
#[derive(Debug)]
struct Process {
    child: Child,
    url: String,
}

impl Process {
    /// Starts `payments` and waits for its `ready` line. The log goes to a file in the folder.
    fn start(arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Self {
        let log_file = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(program())
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log_file))
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        for line in output.lines() {
            if let Some(url) = line.unwrap().strip_prefix("ready ") {
                return Self { child, url: url.to_owned() };
            }
        }
        let status = child.wait().unwrap();
        panic!("payments {arguments:?} ended with {status}: {}", std::fs::read_to_string(log).unwrap());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(&mut self) {
        signal("TERM", self.child.id());
        assert!(self.child.wait().unwrap().success(), "a process that is asked to stop ends with status 0");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// Patience of a test's engine: short, so that crashes are recovered from within seconds.
pub(crate) const IMPATIENT: &[(&str, &str)] = &[
    ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "3000"),
    ("PAYMENTS_SAGA__TAKEOVER_AFTER_MS", "3500"),
    ("PAYMENTS_SAGA__RECOVERY_INTERVAL_MS", "200"),
    ("PAYMENTS_SAGA__INQUIRY_MAX_DELAY_MS", "500"),
    ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "1000"),
];

/// `payments dev` on a data folder.
#[derive(Debug)]
pub(crate) struct Engine {
    process: Process,
    data: PathBuf,
}

impl Engine {
    /// Starts it with the sandbox of another process, so that the channel outlives the engine.
    pub(crate) fn start(data: &Path, sandbox: &SandboxProcess) -> Self {
        Self::start_with(data, sandbox, IMPATIENT)
    }

    pub(crate) fn start_with(data: &Path, sandbox: &SandboxProcess, environment: &[(&str, &str)]) -> Self {
        let data_dir = data.to_str().unwrap();
        let arguments = ["dev", "--port", "0", "--data-dir", data_dir, "--sandbox-url", sandbox.url()];
        let process = Process::start(&arguments, environment, &data.join("engine.log"));
        Self { process, data: data.to_owned() }
    }

    /// Starts it as a user does, with the sandbox inside.
    pub(crate) fn start_alone(data: &Path) -> Self {
        let arguments = ["dev", "--port", "0", "--data-dir", data.to_str().unwrap()];
        let process = Process::start(&arguments, IMPATIENT, &data.join("engine.log"));
        Self { process, data: data.to_owned() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// `kill -9`. PostgreSQL lives on and is adopted by the next start.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Waits until it has ended by itself, and says how.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.process.child.wait().unwrap()
    }

    /// SIGTERM: drains, stops PostgreSQL, ends with status 0.
    pub(crate) fn stop(mut self) {
        self.process.terminate();
    }

    /// Process id of its PostgreSQL.
    pub(crate) fn postmaster_pid(&self) -> u32 {
        postmaster_pid(&self.data)
    }
}

/// Process id of the PostgreSQL in a data folder.
pub(crate) fn postmaster_pid(data: &Path) -> u32 {
    let file = File::open(data.join("postgres/postmaster.pid")).unwrap();
    BufReader::new(file).lines().next().unwrap().unwrap().trim().parse().unwrap()
}

/// A second engine, `payments serve`, on a database that is there.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
}

impl Server {
    pub(crate) fn start(database_url: &str, sandbox: &SandboxProcess, log: &Path) -> Self {
        Self::start_as("api,saga,projector", database_url, sandbox, log)
    }

    /// Starts one that plays these roles.
    pub(crate) fn start_as(roles: &str, database_url: &str, sandbox: &SandboxProcess, log: &Path) -> Self {
        Self::start_with(roles, database_url, sandbox, log, &[])
    }

    /// The same with settings of a test. Nobody asks who calls, unless they say so.
    pub(crate) fn start_with(
        roles: &str,
        database_url: &str,
        sandbox: &SandboxProcess,
        log: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let open: &[_] = &[("PAYMENTS_HTTP__AUTHENTICATION", "off")];
        Self::start_guarded(roles, database_url, sandbox, log, &[open, settings].concat())
    }

    /// The same, where callers have to say who they are: as it is in production.
    pub(crate) fn start_guarded(
        roles: &str,
        database_url: &str,
        sandbox: &SandboxProcess,
        log: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut environment = [IMPATIENT, settings].concat();
        environment.push(("DATABASE_URL", database_url));
        let arguments = [
            "serve",
            "--roles",
            roles,
            "--listen",
            "127.0.0.1:0",
            "--risk-url",
            sandbox.url(),
            "--channel-url",
            sandbox.url(),
        ];
        Self { process: Process::start(&arguments, &environment, log) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Waits until it has ended by itself, and says how.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.process.child.wait().unwrap()
    }

    pub(crate) fn stop(mut self) {
        self.process.terminate();
    }
}

/// `payments sandbox` with its record in a folder.
#[derive(Debug)]
pub(crate) struct SandboxProcess {
    process: Process,
}

impl SandboxProcess {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let record = folder.join("channel");
        let arguments = ["sandbox", "--listen", "127.0.0.1:0", "--record-dir", record.to_str().unwrap()];
        Self { process: Process::start(&arguments, environment, &folder.join("sandbox.log")) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }
}
