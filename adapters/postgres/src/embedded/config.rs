//! The server's settings, written anew at each start so that a newer engine changes them.

use std::path::Path;

use super::account::Account;
use super::error::ClusterError;
use super::files;
use super::layout::Layout;

const FILE: &str = "payments.conf";
const INCLUDE: &str = "include = 'payments.conf'";

/// Commits are durable: a payment that was acknowledged must survive a power cut, here too.
/// Nothing listens on TCP. The rest suits one engine that writes small rows all the time.
const SETTINGS: &str = "\
# Written by `payments dev` at each start; changes made here are lost.
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 200

fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
wal_buffers = 16MB
min_wal_size = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9

shared_buffers = 256MB
autovacuum = on
jit = off

log_destination = 'stderr'
logging_collector = off
log_min_messages = warning
log_timezone = 'UTC'
timezone = 'UTC'
";

/// Writes our settings and sees to it that the server reads them.
pub(super) fn write(layout: &Layout, account: &Account) -> Result<(), ClusterError> {
    let cluster = layout.cluster();
    let text = format!("{SETTINGS}unix_socket_directories = {}\n", quoted_dir(&layout.socket_dir));
    files::replace(&cluster.join(FILE), &text, Some(account))?;

    let main = cluster.join("postgresql.conf");
    // A link could point at a file that only root may read, and we would copy it.
    let is_file = std::fs::symlink_metadata(&main).is_ok_and(|found| found.is_file());
    if !is_file {
        return Err(ClusterError::NotACluster { folder: cluster });
    }
    let mut settings = std::fs::read_to_string(&main).map_err(ClusterError::io("read", &main))?;
    if settings.lines().any(|line| line.trim() == INCLUDE) {
        return Ok(());
    }
    // Last, because the last word on a setting counts.
    settings.push_str(&format!("\n# The settings of `payments dev`.\n{INCLUDE}\n"));
    files::replace(&main, &settings, Some(account))
}

/// The setting is a list, where double quotes keep a comma or a space inside one name.
fn quoted_dir(dir: &Path) -> String {
    format!("'\"{}\"'", dir.display().to_string().replace('\'', "''"))
}
