//! Whom the server runs as. PostgreSQL refuses to be root, so root picks a service user.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::ClusterError;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether we are root and every program and file must be handed to this user.
    pub(super) switch: bool,
}

impl Account {
    /// The service user when we are root, else the user we are.
    pub(super) fn choose(run_as: Option<&str>, data_dir: &Path) -> Result<Self, ClusterError> {
        let (uid, gid) = effective_ids()?;
        let users = passwd();
        if uid != 0 {
            return Ok(Self { name: name_of(&users, uid), uid, gid, switch: false });
        }
        // A cluster that exists keeps its owner, so that `sudo` does not lock its maker out.
        let owner = std::fs::metadata(data_dir.join("postgres")).ok().filter(|found| found.uid() != 0);
        if let (None, Some(found)) = (run_as, owner) {
            let name = name_of(&users, found.uid());
            return Ok(Self { name, uid: found.uid(), gid: found.gid(), switch: true });
        }
        let wanted = match run_as {
            Some(name) => users.into_iter().find(|user| user.name == name),
            None => ["postgres", "nobody"]
                .iter()
                .find_map(|name| users.iter().find(|user| user.name == *name).cloned()),
        };
        let refused = |reason| ClusterError::ServiceUser {
            user: run_as.unwrap_or("postgres or nobody").to_owned(),
            reason,
        };
        match wanted {
            None => Err(refused("it is not in /etc/passwd")),
            Some(user) if user.uid == 0 => Err(refused("it is root, which PostgreSQL refuses")),
            Some(user) => Ok(user),
        }
    }

    /// Whether this user may pass through a folder, by its mode. The server runs without
    /// supplementary groups, so the primary group is the only one that counts.
    pub(super) fn may_enter(&self, folder: &Metadata) -> bool {
        let bit = if folder.uid() == self.uid {
            0o100
        } else if folder.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        folder.mode() & bit != 0
    }
}

/// The kernel's word on who we are; the standard library has no call for it.
fn effective_ids() -> Result<(u32, u32), ClusterError> {
    let path = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).map_err(ClusterError::io("read", path))?;
    // Each line reads: real, effective, saved, file system.
    let effective = |label: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(label))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    match (effective("Uid:"), effective("Gid:")) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(ClusterError::io("understand", path)(std::io::ErrorKind::InvalidData.into())),
    }
}

/// The local users. A machine without the file simply has no user to choose from.
fn passwd() -> Vec<Account> {
    let file = std::fs::read("/etc/passwd").unwrap_or_default();
    String::from_utf8_lossy(&file)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Account { name, uid, gid, switch: true })
        })
        .collect()
}

fn name_of(users: &[Account], uid: u32) -> String {
    users
        .iter()
        .find(|user| user.uid == uid)
        .map_or_else(|| format!("with id {uid}"), |user| user.name.clone())
}
