//! Everything that can keep the private cluster from running.
//!
//! **Invariant:** each message says what happened, where, and what to do next, and none holds a
//! password.

use std::path::PathBuf;

/// Why the private PostgreSQL could not be made, started, found or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Another engine owns the folder.
    #[error(
        "{} is in use by another `payments dev` ({owner}): stop that one, or choose another --data-dir",
        folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds it, as far as known.
        owner: String,
    },
    /// The name of the folder cannot be handed to PostgreSQL's own tools.
    #[error(
        "the data folder {} has {found} in its path, which PostgreSQL's tools cannot handle: choose another --data-dir",
        folder.display()
    )]
    UnusableName {
        /// The data folder.
        folder: PathBuf,
        /// What is in the way.
        found: String,
    },
    /// The service user cannot pass through a folder above the data folder.
    #[error(
        "PostgreSQL runs as the user {user}, who may not enter {}, a parent of the data folder {}: choose another --data-dir, such as one below /var/lib or /tmp",
        parent.display(), folder.display()
    )]
    ParentClosed {
        /// The parent that is closed.
        parent: PathBuf,
        /// The data folder.
        folder: PathBuf,
        /// The service user.
        user: String,
    },
    /// The user to run the server as does not exist, or is root.
    #[error(
        "PostgreSQL cannot run as the user {user}: {reason}; name an ordinary user of this machine, or install PostgreSQL's own with `apt-get install postgresql`"
    )]
    ServiceUser {
        /// The user that was asked for.
        user: String,
        /// Why not.
        reason: &'static str,
    },
    /// No PostgreSQL of release 15 or later is installed.
    #[error(
        "no PostgreSQL of release 15 or later was found in /usr/lib/postgresql or PATH: run `apt-get install postgresql`, or name the folder of its programs"
    )]
    NoBinaries,
    /// The folder that was named lacks a program.
    #[error(
        "{} has no `{missing}`: name the folder that holds initdb, postgres, pg_ctl and psql, such as /usr/lib/postgresql/17/bin, or run `apt-get install postgresql`",
        bin_dir.display()
    )]
    IncompleteBinaries {
        /// The folder that was named.
        bin_dir: PathBuf,
        /// The first program that is missing.
        missing: &'static str,
    },
    /// The folder that was named holds a release before 15.
    #[error(
        "{} holds PostgreSQL {found}, and 15 or later is needed: run `apt-get install postgresql` and name the newer folder",
        bin_dir.display()
    )]
    TooOld {
        /// The folder that was named.
        bin_dir: PathBuf,
        /// The release in it.
        found: u32,
    },
    /// The cluster was made by a release that is not installed.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but the programs in {} are release {installed}: install postgresql-{cluster}, or move the data with pg_upgrade, or choose another --data-dir",
        folder.display(), bin_dir.display()
    )]
    VersionMismatch {
        /// The cluster.
        folder: PathBuf,
        /// The release that made it.
        cluster: u32,
        /// The programs that were found.
        bin_dir: PathBuf,
        /// Their release.
        installed: u32,
    },
    /// Something that we did not make stands where the cluster belongs.
    #[error(
        "{} exists but is not a PostgreSQL cluster (it has no readable PG_VERSION): move it away, or choose another --data-dir",
        folder.display()
    )]
    NotACluster {
        /// The folder that was found.
        folder: PathBuf,
    },
    /// The cluster or the socket folder belongs to somebody else.
    #[error(
        "{} belongs to the user with id {owner}, but PostgreSQL would run as {user}: start as the owner, or hand it over with `chown -R`, or choose another --data-dir",
        folder.display()
    )]
    WrongOwner {
        /// What belongs to somebody else.
        folder: PathBuf,
        /// Whose it is.
        owner: u32,
        /// The user the server would run as.
        user: String,
    },
    /// The superuser's password is not there although the cluster is.
    #[error(
        "{} is missing or damaged, and without it the cluster beside it cannot be administered: put the file back, or choose another --data-dir",
        file.display()
    )]
    AdminPasswordLost {
        /// The file.
        file: PathBuf,
    },
    /// A tool asked for the address of a folder on which no engine ever started.
    #[error(
        "{} holds no database of ours yet: run `payments dev --data-dir {}` first",
        folder.display(), folder.display()
    )]
    NeverStarted {
        /// The folder that was asked about.
        folder: PathBuf,
    },
    /// `initdb` failed.
    #[error(
        "initdb could not make a cluster in {}: {output}\nPut that right and start again; the unfinished folder is removed then",
        folder.display()
    )]
    NotCreated {
        /// The unfinished cluster.
        folder: PathBuf,
        /// What `initdb` said.
        output: String,
    },
    /// The server did not come up.
    #[error(
        "PostgreSQL did not start on {}: {output}\nIts log {} ends with:\n{log}\nPut that right and start again",
        folder.display(), log_file.display()
    )]
    NotStarted {
        /// The cluster.
        folder: PathBuf,
        /// What `pg_ctl` said.
        output: String,
        /// The log of the server.
        log_file: PathBuf,
        /// Its last lines of this start.
        log: String,
    },
    /// Processes of a server that died still hold its shared memory.
    #[error(
        "processes {pids:?} of an earlier PostgreSQL still use {}: wait for them, or end them with `kill -QUIT`, and start again",
        folder.display()
    )]
    StillInUse {
        /// The cluster.
        folder: PathBuf,
        /// The processes.
        pids: Vec<u32>,
    },
    /// The server did not end.
    #[error(
        "PostgreSQL on {} did not stop: {output}\nSee {}; `payments dev` on the same folder adopts the server",
        folder.display(), log_file.display()
    )]
    NotStopped {
        /// The cluster.
        folder: PathBuf,
        /// What `pg_ctl` said.
        output: String,
        /// The log of the server.
        log_file: PathBuf,
    },
    /// The role and the database could not be made sure of.
    #[error(
        "the role and database `payments` could not be prepared on {}: {output}\nSee {} and start again; every step may be repeated",
        folder.display(), log_file.display()
    )]
    NotPrepared {
        /// The cluster.
        folder: PathBuf,
        /// What `psql` said.
        output: String,
        /// The log of the server.
        log_file: PathBuf,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("cannot run {} as {user}: {source}; check that this user may execute it", program.display())]
    Tool {
        /// The program.
        program: PathBuf,
        /// The user it would run as.
        user: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}; check its owner and mode and that the disk is not full, or choose another --data-dir", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ClusterError {
    /// For `map_err`: names the file that an I/O error was about.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
