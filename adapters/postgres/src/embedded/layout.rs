//! The data folder: its parts, its lock, and whether the service user can reach it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::account::Account;
use super::error::ClusterError;
use super::files;

/// PostgreSQL names its socket after a port even when it listens on none.
pub(super) const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// The kernel allows 107 bytes; the rest is room for clients that count differently.
const LONGEST_SOCKET_PATH: usize = 100;
const SOCKET_DIR_RECORD: &str = "postgres.socket-dir";
/// A log beyond this size is set aside at the next start, so that two of them are all there is.
const LONGEST_LOG: u64 = 16 * 1024 * 1024;

/// Where everything of one cluster is. `folder` is absolute and free of links.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) socket_dir: PathBuf,
}

impl Layout {
    /// Creates the data folder when missing and makes sure that the service user can reach it.
    /// Its parents are looked at but never changed: they are not ours.
    pub(super) fn open(data_dir: &Path, account: &Account) -> Result<Self, ClusterError> {
        let wanted = std::path::absolute(data_dir).map_err(ClusterError::io("find", data_dir))?;
        // The parents that exist are judged first, so that a refusal leaves nothing behind.
        if let Some(existing) = wanted.ancestors().skip(1).find(|parent| parent.exists()) {
            let existing = existing.canonicalize().map_err(ClusterError::io("find", existing))?;
            check_entry(existing.ancestors(), &wanted, account)?;
        }
        if !wanted.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&wanted)
                .map_err(ClusterError::io("create the folder", &wanted))?;
            let mode = if account.switch { 0o711 } else { 0o700 };
            set_mode(&wanted, mode)?;
        }
        let folder = wanted.canonicalize().map_err(ClusterError::io("find", &wanted))?;
        check_name(&folder)?;
        check_entry(folder.ancestors().skip(1), &folder, account)?;
        if account.switch {
            let found = folder.metadata().map_err(ClusterError::io("look at", &folder))?;
            if !account.may_enter(&found) || found.permissions().mode() & 0o001 == 0 {
                set_mode(&folder, found.permissions().mode() & 0o7777 | 0o001)?;
            }
        }
        let socket_dir = socket_dir_of(&folder);
        Ok(Self { folder, socket_dir })
    }

    /// Takes the folder for this process, or tells who has it.
    pub(super) fn lock(&self) -> Result<FolderLock, ClusterError> {
        let path = self.folder.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(ClusterError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The process id is a courtesy to the reader; the lock alone decides.
                let _ = file.read_to_string(&mut owner);
                let owner = match owner.trim() {
                    "" => "process unknown".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(ClusterError::InUse { folder: self.folder.clone(), owner });
            }
            Err(TryLockError::Error(error)) => return Err(ClusterError::io("lock", &path)(error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(ClusterError::io("write", &path))?;
        Ok(FolderLock(file))
    }

    /// Makes the parts that the server needs before it runs. Call with the lock held.
    pub(super) fn prepare(&self, account: &Account) -> Result<(), ClusterError> {
        let run = self.folder.join("run");
        files::private_dir(&run, account)?;
        if self.socket_dir != run {
            files::private_dir(&self.socket_dir, account)?;
        }
        files::touch(&self.log(), account)?;
        let record = self.folder.join(SOCKET_DIR_RECORD);
        let text = format!("{}\n", self.socket_dir.display());
        // Left alone when right, so that a start by root does not take it from the folder's owner.
        if std::fs::read_to_string(&record).is_ok_and(|found| found == text) {
            return Ok(());
        }
        files::replace(&record, &text, None)
    }

    /// Sets an overlong log aside. Only for a server that is down, or it would write on there.
    pub(super) fn rotate_log(&self, account: &Account) -> Result<(), ClusterError> {
        let log = self.log();
        if std::fs::metadata(&log).is_ok_and(|found| found.len() > LONGEST_LOG) {
            files::rename(&log, &self.folder.join("postgres.log.old"))?;
        }
        files::touch(&log, account)
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// Holds clusters that are being made, each under a name of its own.
    pub(super) fn workshop(&self) -> PathBuf {
        self.folder.join("postgres.new")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    pub(super) fn password(&self) -> PathBuf {
        password_in(&self.folder)
    }

    pub(super) fn admin_password(&self) -> PathBuf {
        self.folder.join("admin.password")
    }

    /// A socket folder outside of the data folder would be left for ever otherwise. One that is
    /// not empty stays, and the next start uses it again.
    pub(super) fn remove_short_socket_dir(&self) {
        if !self.socket_dir.starts_with(&self.folder) {
            let _ = std::fs::remove_dir(&self.socket_dir);
        }
    }
}

pub(super) fn password_in(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.password")
}

/// The socket folder of the last start on this data folder.
pub(super) fn recorded_socket_dir(data_dir: &Path) -> Result<PathBuf, ClusterError> {
    let path = data_dir.join(SOCKET_DIR_RECORD);
    match std::fs::read_to_string(&path) {
        Ok(record) => Ok(PathBuf::from(record.trim_end_matches('\n'))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ClusterError::NeverStarted { folder: data_dir.to_path_buf() })
        }
        Err(error) => Err(ClusterError::io("read", &path)(error)),
    }
}

/// A long data folder gets its socket in `/tmp`, under a name that is the same at each start. So
/// does one with a comma, which libpq reads as the start of another host.
fn socket_dir_of(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    let bytes = folder.as_os_str().as_encoded_bytes();
    if run.join(SOCKET_NAME).as_os_str().len() <= LONGEST_SOCKET_PATH && !bytes.contains(&b',') {
        return run;
    }
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, bytes);
    PathBuf::from(format!("/tmp/payments-{}", hash.simple()))
}

/// `pg_ctl` hands paths to a shell between double quotes, and a URL holds only UTF-8.
fn check_name(folder: &Path) -> Result<(), ClusterError> {
    let refuse = |found: &str| {
        Err(ClusterError::UnusableName { folder: folder.to_path_buf(), found: found.to_owned() })
    };
    let Some(name) = folder.to_str() else {
        return refuse("bytes that are not UTF-8");
    };
    match name.chars().find(|c| matches!(c, '"' | '$' | '`' | '\\') || c.is_control()) {
        Some(c) => refuse(&format!("the character {c:?}")),
        None => Ok(()),
    }
}

/// Only root hands the server to somebody else, so only root must ask what that user may enter.
fn check_entry<'a>(
    parents: impl Iterator<Item = &'a Path>,
    folder: &Path,
    account: &Account,
) -> Result<(), ClusterError> {
    if !account.switch {
        return Ok(());
    }
    for parent in parents {
        let found = parent.metadata().map_err(ClusterError::io("look at", parent))?;
        if !account.may_enter(&found) {
            return Err(ClusterError::ParentClosed {
                parent: parent.to_path_buf(),
                folder: folder.to_path_buf(),
                user: account.name.clone(),
            });
        }
    }
    Ok(())
}

fn set_mode(folder: &Path, mode: u32) -> Result<(), ClusterError> {
    std::fs::set_permissions(folder, Permissions::from_mode(mode))
        .map_err(ClusterError::io("set the mode of", folder))
}

/// The folder is this process's for as long as this lives.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // To close the file is not enough: a child process that is being started at this moment has a
        // copy of it until it becomes its own program. An error leaves it to the end of that copy.
        let _ = self.0.unlock();
    }
}
