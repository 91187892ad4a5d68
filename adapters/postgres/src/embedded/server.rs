//! Starting, adopting and stopping the server of one cluster.
//!
//! Start at [`Server::ensure_running`]: every way to find a cluster, from a server in full
//! health to the remains of a power cut, is a branch there.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::account::Account;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::layout::{Layout, SOCKET_NAME};
use super::process::{self, State};
use super::tool;

/// How often a server that is coming or going is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long children of a dead postmaster may take to notice; an idle one does so at once.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);
/// How long they may take after they were told to quit.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(6);
const START_SECONDS: &str = "60";
/// A fast stop writes everything that is not yet on disk.
const STOP_SECONDS: &str = "300";
const LOG_TAIL_BYTES: u64 = 4096;
const LOG_TAIL_LINES: usize = 12;

/// How a running server came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    Started,
    Adopted,
}

/// One cluster with the programs and the user that run it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) layout: Layout,
    pub(super) binaries: Binaries,
    pub(super) account: Account,
}

impl Server {
    pub(super) fn new(layout: Layout, binaries: Binaries, account: Account) -> Self {
        Self { layout, binaries, account }
    }

    /// Returns when the server accepts connections on our socket.
    pub(super) async fn ensure_running(&self, patience: Duration) -> Result<Launch, ClusterError> {
        let cluster = self.layout.cluster();
        let begun = Instant::now();
        let log_begin = std::fs::metadata(self.layout.log()).map_or(0, |found| found.len());
        let mut launch = Launch::Adopted;
        let mut orphans_since = None;
        let mut told_to_quit = false;
        loop {
            match process::postmaster(&cluster) {
                Some(found) if found.state == State::Ready => {
                    if found.socket_dir.as_deref() == Some(&*self.layout.socket_dir) {
                        return Ok(launch);
                    }
                    // The data folder was moved under a running server, so nobody can reach it.
                    tracing::info!(pid = found.pid, "PostgreSQL listens at a former place, restarting it");
                    self.stop().await?;
                }
                Some(_) if begun.elapsed() > patience => {
                    return Err(self.not_started("it is still starting or stopping", log_begin));
                }
                Some(_) => {}
                None => {
                    let (everyone, children) = process::all(&cluster);
                    let waited = orphans_since.get_or_insert_with(Instant::now).elapsed();
                    if everyone.is_empty() {
                        if launch == Launch::Started {
                            return Err(self.not_started("it ended as soon as it had started", log_begin));
                        }
                        orphans_since = None;
                        self.clear_stale_files()?;
                        launch = Launch::Started;
                        self.start_once(log_begin).await?;
                        continue;
                    } else if waited > ORPHAN_PATIENCE {
                        return Err(ClusterError::StillInUse { folder: cluster, pids: everyone });
                    } else if waited > ORPHAN_GRACE && !told_to_quit {
                        told_to_quit = true;
                        self.tell_to_quit(&children).await?;
                    }
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// `pg_ctl stop`; a server that is down already is fine.
    pub(super) async fn stop(&self) -> Result<(), ClusterError> {
        let cluster = self.layout.cluster();
        if process::postmaster(&cluster).is_none() {
            return Ok(());
        }
        let output = self.pg_ctl(&["stop", "--mode=fast", "--wait", "--timeout", STOP_SECONDS]).await?;
        if output.status.success() || process::postmaster(&cluster).is_none() {
            return Ok(());
        }
        Err(ClusterError::NotStopped {
            folder: cluster,
            output: tool::said(&output),
            log_file: self.layout.log(),
        })
    }

    /// Has an adopted server read the settings that were just written.
    pub(super) async fn reload(&self) -> Result<(), ClusterError> {
        let output = self.pg_ctl(&["reload"]).await?;
        if !output.status.success() {
            tracing::warn!(output = %tool::said(&output), "PostgreSQL keeps its former settings");
        }
        Ok(())
    }

    /// `pg_ctl` puts the server into a session of its own, where no terminal reaches it.
    async fn start_once(&self, log_begin: u64) -> Result<(), ClusterError> {
        self.layout.rotate_log(&self.account)?;
        let log = self.layout.log();
        let log = log.to_string_lossy();
        let output = self.pg_ctl(&["start", "--wait", "--timeout", START_SECONDS, "--log", &log]).await?;
        // A long recovery outlasts pg_ctl; the server is then there and merely not ready.
        if output.status.success() || process::postmaster(&self.layout.cluster()).is_some() {
            return Ok(());
        }
        Err(self.not_started(&tool::said(&output), log_begin))
    }

    /// Not ended with us when the caller loses interest: half a start would be worse.
    async fn pg_ctl(&self, arguments: &[&str]) -> Result<Output, ClusterError> {
        let mut pg_ctl = tool::command(&self.binaries.program("pg_ctl"), &self.account);
        pg_ctl.args(arguments).arg("--silent").arg("--pgdata").arg(self.layout.cluster());
        tool::run(pg_ctl, &self.account, "").await
    }

    /// An orphan in the middle of a long statement does not look up, and holds the shared memory
    /// meanwhile. Its work is lost with its postmaster, and recovery follows in any case.
    async fn tell_to_quit(&self, orphans: &[u32]) -> Result<(), ClusterError> {
        for pid in orphans {
            tracing::warn!(pid, "a process of the former PostgreSQL lingers, telling it to quit");
            let mut kill = tool::command(&self.binaries.program("pg_ctl"), &self.account);
            kill.args(["kill", "QUIT", &pid.to_string()]);
            // It may have gone by itself just now; whether anyone is left is seen next.
            tool::run(kill, &self.account, "").await?;
        }
        Ok(())
    }

    /// PostgreSQL trusts the number in these files when any process of the same user has it now,
    /// and then refuses to start. We know better: nobody works in the cluster.
    fn clear_stale_files(&self) -> Result<(), ClusterError> {
        let socket = self.layout.socket_dir.join(SOCKET_NAME);
        let lock = self.layout.socket_dir.join(format!("{SOCKET_NAME}.lock"));
        for path in [process::pid_file(&self.layout.cluster()), socket, lock] {
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed what a dead PostgreSQL left")
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(ClusterError::io("remove", &path)(error)),
            }
        }
        Ok(())
    }

    fn not_started(&self, output: &str, log_begin: u64) -> ClusterError {
        let log_file = self.layout.log();
        ClusterError::NotStarted {
            folder: self.layout.cluster(),
            output: output.to_owned(),
            log: log_tail(&log_file, log_begin).unwrap_or_else(|error| format!("(cannot be read: {error})")),
            log_file,
        }
    }
}

/// The last lines that were written since `begin`, which tells this start from earlier ones.
fn log_tail(path: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    // A log that is shorter than it was has been set aside meanwhile, so all of it is new.
    let begin = if begin > length { 0 } else { begin };
    file.seek(SeekFrom::Start(begin.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
}
