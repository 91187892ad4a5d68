//! Making a cluster, and the role and database in it. Every step may be repeated.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::account::Account;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::files;
use super::layout::Layout;
use super::secret::{self, Secret};
use super::server::Server;
use super::tool;

/// The role of the engine, and the database that it owns.
pub(super) const ROLE: &str = "payments";
const ADMIN: &str = "postgres_admin";
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);

/// The release that made the cluster, `None` when there is no cluster yet.
pub(super) fn release_of(layout: &Layout, account: &Account) -> Result<Option<u32>, ClusterError> {
    let cluster = layout.cluster();
    let found = match std::fs::symlink_metadata(&cluster) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ClusterError::io("look at", &cluster)(error)),
    };
    let version = match std::fs::read_to_string(cluster.join("PG_VERSION")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        version => Some(version.ok().and_then(|text| text.trim().parse().ok())),
    };
    match version {
        Some(None) => Err(ClusterError::NotACluster { folder: cluster }),
        _ if found.uid() != account.uid => {
            Err(ClusterError::WrongOwner { folder: cluster, owner: found.uid(), user: account.name.clone() })
        }
        Some(release) => Ok(release),
        None => Err(ClusterError::io("read", &cluster)(ErrorKind::PermissionDenied.into())),
    }
}

/// Makes a cluster beside its place and moves it there when whole, so that an engine that dies
/// meanwhile leaves nothing that looks finished.
pub(super) async fn create(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
) -> Result<(), ClusterError> {
    // The initdb of an engine that was killed may still be at work, and it would go on in a
    // folder of the same name.
    let unfinished = layout.workshop().join(secret::unique_name());
    files::private_dir(&layout.workshop(), account)?;
    files::private_dir(&unfinished, account)?;
    tracing::info!(folder = %layout.cluster().display(), "making a PostgreSQL cluster");

    let mut initdb = tool::command(&binaries.program("initdb"), account);
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .arg("--pwfile")
        .arg(layout.admin_password())
        .args(["--username", ADMIN, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C", "--data-checksums", "--no-instructions"])
        .kill_on_drop(true);
    let output = tool::run(initdb, account, "").await?;
    if !output.status.success() {
        return Err(ClusterError::NotCreated { folder: unfinished, output: tool::said(&output) });
    }
    files::rename(&unfinished, &layout.cluster())?;
    clear_workshop(layout).await
}

/// Removes what was never finished, also while the initdb of a dead engine still writes there:
/// it gives up once its folder is gone.
pub(super) async fn clear_workshop(layout: &Layout) -> Result<(), ClusterError> {
    let workshop = layout.workshop();
    let begun = Instant::now();
    loop {
        match tokio::fs::remove_dir_all(&workshop).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if begun.elapsed() > REMOVAL_PATIENCE => {
                return Err(ClusterError::io("remove", &workshop)(error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Makes sure of the role and the database, which also shows that the server answers.
pub(super) async fn ensure_database(
    server: &Server,
    admin: &Secret,
    password: &Secret,
) -> Result<(), ClusterError> {
    // The server would log a statement that fails, and this one holds a password.
    let sql = format!(
        "SET log_min_error_statement = panic;
         SELECT 'CREATE ROLE {ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
         ALTER ROLE {ROLE} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD '{}';
         SELECT 'CREATE DATABASE {ROLE} OWNER {ROLE}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{ROLE}') \\gexec
         ALTER DATABASE {ROLE} OWNER TO {ROLE};\n",
        password.reveal()
    );
    let mut psql = tool::command(&server.binaries.program("psql"), &server.account);
    psql.env("PGPASSWORD", admin.reveal())
        .args(["--no-psqlrc", "--quiet", "--no-password"])
        .args(["--set", "ON_ERROR_STOP=1", "--set", "VERBOSITY=terse"])
        .args(["--username", ADMIN, "--dbname", "postgres", "--port", "5432", "--host"])
        .arg(&server.layout.socket_dir)
        .args(["--file", "-"])
        .kill_on_drop(true);
    let output = tool::run(psql, &server.account, &sql).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::NotPrepared {
        folder: server.layout.cluster(),
        output: admin.scrub(&password.scrub(&tool::said(&output))),
        log_file: server.layout.log(),
    })
}
