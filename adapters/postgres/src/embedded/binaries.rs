//! Which installed PostgreSQL to use.

use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::ClusterError;
use super::layout::Layout;
use super::tool;

/// The first release whose `public` schema belongs to the owner of the database.
const OLDEST_RELEASE: u32 = 15;
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_ctl", "psql"];
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";

/// One folder with all four programs of one release.
#[derive(Debug)]
pub(super) struct Binaries {
    dir: PathBuf,
    release: u32,
}

impl Binaries {
    /// The folder that was named, or the newest installed one. A cluster that exists can be run
    /// only by the release that made it, so that one goes before a newer one.
    pub(super) async fn find(
        named: Option<&Path>,
        made_by: Option<u32>,
        layout: &Layout,
        account: &Account,
    ) -> Result<Self, ClusterError> {
        let found = match named {
            Some(dir) => vec![Self::named(dir, account).await?],
            None => Self::installed(account).await,
        };
        let Some(wanted) = made_by else {
            return found.into_iter().next().ok_or(ClusterError::NoBinaries);
        };
        let mut other = None;
        for binaries in found {
            if binaries.release == wanted {
                return Ok(binaries);
            }
            other.get_or_insert(binaries);
        }
        let other = other.ok_or(ClusterError::NoBinaries)?;
        Err(ClusterError::VersionMismatch {
            folder: layout.cluster(),
            cluster: wanted,
            bin_dir: other.dir,
            installed: other.release,
        })
    }

    /// The path of one of the four programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn named(dir: &Path, account: &Account) -> Result<Self, ClusterError> {
        let dir = std::path::absolute(dir).map_err(ClusterError::io("find", dir))?;
        if let Some(missing) = missing_program(&dir) {
            return Err(ClusterError::IncompleteBinaries { bin_dir: dir, missing });
        }
        let found = Self::ask(dir, account).await?;
        if found.release < OLDEST_RELEASE {
            return Err(ClusterError::TooOld { bin_dir: found.dir, found: found.release });
        }
        Ok(found)
    }

    /// Everything usable on this machine, the best first. Debian's wrapper scripts in `/usr/bin`
    /// drop out by themselves, because `initdb` and `postgres` are not beside them.
    async fn installed(account: &Account) -> Vec<Self> {
        let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN_FOLDER)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let release = entry.file_name().to_str()?.parse().ok()?;
                Some((release, entry.path().join("bin")))
            })
            .collect();
        debian.sort_unstable_by(|a, b| b.cmp(a));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = debian.into_iter().map(|(_, dir)| dir).chain(std::env::split_paths(&path));

        let mut found = Vec::new();
        for dir in dirs.filter(|dir| dir.is_absolute() && missing_program(dir).is_none()) {
            match Self::ask(dir, account).await {
                Ok(binaries) if binaries.release >= OLDEST_RELEASE => found.push(binaries),
                Ok(binaries) => {
                    tracing::debug!(dir = %binaries.dir.display(), release = binaries.release, "PostgreSQL too old")
                }
                Err(error) => tracing::debug!(%error, "PostgreSQL not usable"),
            }
        }
        found
    }

    /// `postgres (PostgreSQL) 17.5 (Debian ...)`, or `18beta1` in place of the number.
    async fn ask(dir: PathBuf, account: &Account) -> Result<Self, ClusterError> {
        let program = dir.join("postgres");
        let mut command = tool::command(&program, account);
        command.arg("--version").kill_on_drop(true);
        let output = tool::run(command, account, "").await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.split_once("(PostgreSQL)").map_or("", |(_, rest)| rest.trim_start());
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        match digits.parse() {
            Ok(release) => Ok(Self { dir, release }),
            Err(_) => Err(ClusterError::Tool {
                program,
                user: account.name.clone(),
                source: std::io::Error::other(format!("it tells no release: {}", tool::said(&output))),
            }),
        }
    }
}

fn missing_program(dir: &Path) -> Option<&'static str> {
    PROGRAMS.into_iter().find(|name| !dir.join(name).is_file())
}
