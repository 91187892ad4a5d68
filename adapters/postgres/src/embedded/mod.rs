//! A private PostgreSQL cluster in one folder, for `payments dev`.
//!
//! ```text
//! D/lock                 held while an engine owns the folder
//! D/postgres/            the cluster, 0700, of the service user
//! D/postgres.new/        a cluster being made in there; renamed to `postgres` when whole
//! D/postgres.log         what the server writes to stderr
//! D/run/                 the Unix socket, 0700, of the service user
//! D/postgres.socket-dir  where the socket really is (a long path moves it to /tmp)
//! D/postgres.password    of the role `payments`, 0600
//! D/admin.password       of the superuser `postgres_admin`, 0600
//! ```
//!
//! Start at [`EmbeddedPostgres::start`]. Beside it: `account` (whom the server runs as),
//! `binaries` (which PostgreSQL), `layout` (folders and the lock), `files` (writes that survive
//! a crash), `secret`, `config` (server settings), `cluster` (initdb, role and database),
//! `process` (who is alive), `server` (start and stop), `tool` (running a program).
//!
//! **Invariants.** There is no TCP listener, only a Unix socket in a 0700 folder. Whoever holds
//! `D/lock` is the only one to start or mend the cluster. `D/postgres` is either absent or whole.
//! A server that outlives its engine is adopted by the next one, never fought. A password is
//! in no argument list, error, log line or `Debug` output. Processes are recognised through
//! `/proc`, so this module needs Linux.

mod account;
mod binaries;
mod cluster;
mod config;
mod error;
mod files;
mod layout;
mod process;
mod secret;
mod server;
mod tool;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use account::Account;
use binaries::Binaries;
pub use error::ClusterError;
use layout::{FolderLock, Layout};
use secret::Secret;
use server::{Launch, Server};

/// How often a supervised postmaster is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// The longest pause between two tries to start a postmaster that died.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a start may take. Replaying a full `max_wal_size` on a slow disk takes minutes.
const START_PATIENCE: Duration = Duration::from_secs(600);
/// How long one supervised try may take, which also bounds how late `stop` is heard.
const REVIVE_PATIENCE: Duration = Duration::from_secs(60);

/// Where a cluster lives and what runs it.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The folder that holds everything of this cluster; it is created when missing.
    pub data_dir: PathBuf,
    /// The folder of `initdb`, `postgres`, `pg_ctl` and `psql`. Without it, the newest of
    /// `/usr/lib/postgresql/*/bin` is taken, then the folders of `PATH`; a cluster that exists
    /// takes the installed release that made it.
    pub bin_dir: Option<PathBuf>,
    /// The user who runs the server, heeded only when the engine is root, which PostgreSQL
    /// refuses to be. Default: the owner of a cluster that exists, else `postgres`, else `nobody`.
    pub run_as: Option<String>,
}

/// A running PostgreSQL of our own.
///
/// Dropping it lets go of the folder but leaves the server running, so that the next engine on
/// the folder adopts it, just as after a crash. Call [`EmbeddedPostgres::stop`] to end it.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    password: Secret,
    /// Starting and stopping exclude each other.
    operating: Mutex<()>,
    /// Once stopped on purpose, supervision must not start the server again.
    stopped: AtomicBool,
    /// The operating system lets go of it when the process dies, however it dies.
    _lock: FolderLock,
}

impl EmbeddedPostgres {
    /// Makes the cluster when there is none, mends what a crash left, starts the server or adopts
    /// the one that runs, and makes sure of the role and the database `payments`.
    ///
    /// # Errors
    ///
    /// Any [`ClusterError`]; each says what to do next. A server that this call started is
    /// stopped again when a later step fails.
    pub async fn start(settings: ClusterSettings) -> Result<Self, ClusterError> {
        let account = Account::choose(settings.run_as.as_deref(), &settings.data_dir)?;
        let layout = Layout::open(&settings.data_dir, &account)?;
        let lock = layout.lock()?;
        let made_by = cluster::release_of(&layout, &account)?;
        let binaries = Binaries::find(settings.bin_dir.as_deref(), made_by, &layout, &account).await?;
        layout.prepare(&account)?;

        let admin = secret::of_admin(&layout, &account, made_by.is_some())?;
        let password = secret::of_engine(&layout)?;
        cluster::clear_workshop(&layout).await?;
        if made_by.is_none() {
            cluster::create(&layout, &binaries, &account).await?;
        }
        config::write(&layout, &account)?;

        let server = Server::new(layout, binaries, account);
        let launch = server.ensure_running(START_PATIENCE).await?;
        if launch == Launch::Adopted {
            tracing::info!(data_dir = %server.layout.folder.display(), "adopted the PostgreSQL that an earlier engine left running");
            server.reload().await?;
        }
        if let Err(error) = cluster::ensure_database(&server, &admin, &password).await {
            if launch == Launch::Started
                && let Err(also) = server.stop().await
            {
                tracing::warn!(error = %also, "PostgreSQL stays up after a failed start");
            }
            return Err(error);
        }
        Ok(Self { server, password, operating: Mutex::new(()), stopped: AtomicBool::new(false), _lock: lock })
    }

    /// The address of the database `payments` for the role `payments`. It holds the password.
    #[must_use]
    pub fn database_url(&self) -> String {
        url(&self.password, &self.server.layout.socket_dir)
    }

    /// The same address for a tool, read back from a folder that an engine has started on before.
    /// Nothing is started: the server may be down.
    ///
    /// # Errors
    ///
    /// [`ClusterError::NeverStarted`] when the folder holds no cluster, and
    /// [`ClusterError::Io`] when its files may not be read by this user.
    pub fn database_url_for(data_dir: &Path) -> Result<String, ClusterError> {
        let socket_dir = layout::recorded_socket_dir(data_dir)?;
        let password = secret::recorded(data_dir)?;
        Ok(url(&password, &socket_dir))
    }

    /// The process that accepts connections, `None` while it is down.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        process::postmaster(&self.server.layout.cluster()).map(|found| found.pid)
    }

    /// Watches the postmaster until `stop` is done or [`EmbeddedPostgres::stop`] was called, and
    /// starts it again when it died. Each try is logged. A try that is under way when `stop` is
    /// done is finished first, at most a minute, so that no half-started server is left behind.
    pub async fn supervise(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut pause = WATCH_INTERVAL;
        let mut attempt = 0_u32;
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
            let _operating = self.operating.lock().await;
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            if self.postmaster_pid().is_some() {
                (pause, attempt) = (WATCH_INTERVAL, 0);
                continue;
            }
            attempt = attempt.saturating_add(1);
            tracing::warn!(attempt, "PostgreSQL is down, starting it again");
            match self.server.ensure_running(REVIVE_PATIENCE).await {
                Ok(_) => {
                    tracing::info!(attempt, pid = self.postmaster_pid(), "PostgreSQL is up again");
                    (pause, attempt) = (WATCH_INTERVAL, 0);
                }
                Err(error) => {
                    tracing::warn!(attempt, %error, "PostgreSQL did not start, will try again");
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Ends the server: open transactions are rolled back, connections closed, and everything
    /// written to disk. The folder stays ours until the value is dropped.
    ///
    /// # Errors
    ///
    /// [`ClusterError::NotStopped`] when it is still running after five minutes.
    pub async fn stop(&self) -> Result<(), ClusterError> {
        self.stopped.store(true, Ordering::Release);
        let _operating = self.operating.lock().await;
        self.server.stop().await?;
        self.server.layout.remove_short_socket_dir();
        Ok(())
    }
}

/// The socket folder goes into the query, because the host part of a URL cannot hold a path.
fn url(password: &Secret, socket_dir: &Path) -> String {
    let mut host = String::new();
    for byte in socket_dir.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                host.push(char::from(*byte));
            }
            _ => host.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("postgres://{role}:{}@localhost/{role}?host={host}", password.reveal(), role = cluster::ROLE)
}
