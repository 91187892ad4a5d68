//! Which processes of a cluster are alive, told from `/proc`.
//!
//! A process id in a file proves nothing: the process may be dead, or another may have its
//! number. What counts is that it is a `postgres` whose working folder is the cluster, since
//! every process of a server works there. A zombie has no working folder, so it counts as dead.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a postmaster writes into its pid file as its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Ready,
    Stopping,
}

/// The process that started the others and accepts connections.
#[derive(Debug)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) state: State,
    pub(super) socket_dir: Option<PathBuf>,
}

/// The live postmaster that the pid file names.
pub(super) fn postmaster(cluster: &Path) -> Option<Postmaster> {
    let file = std::fs::read_to_string(pid_file(cluster)).ok()?;
    let mut lines = file.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    let home = cluster.metadata().ok()?;
    if role_of(pid, &home)? != Role::Main {
        return None;
    }
    // In between: the folder, the time of the start, the port.
    let socket_dir = lines.nth(3).filter(|line| !line.is_empty()).map(PathBuf::from);
    // In between: the TCP address and the key of the shared memory.
    let state = match lines.nth(2) {
        Some("ready" | "standby") => State::Ready,
        Some("stopping") => State::Stopping,
        _ => State::Starting,
    };
    Some(Postmaster { pid, state, socket_dir })
}

/// Every process that works in the cluster; the second list holds those that served a postmaster.
pub(super) fn all(cluster: &Path) -> (Vec<u32>, Vec<u32>) {
    let (mut everyone, mut children) = (Vec::new(), Vec::new());
    let Ok(home) = cluster.metadata() else {
        return (everyone, children);
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(role) = role_of(pid, &home) {
            everyone.push(pid);
            if role == Role::Child {
                children.push(pid);
            }
        }
    }
    (everyone, children)
}

pub(super) fn pid_file(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Child,
}

fn role_of(pid: u32, home: &Metadata) -> Option<Role> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    // Compared as a file, not by name, because the data folder may have been moved meanwhile.
    let works_in = process.join("cwd").metadata().ok()?;
    if (works_in.dev(), works_in.ino()) != (home.dev(), home.ino()) {
        return None;
    }
    let line = std::fs::read(process.join("cmdline")).ok()?;
    let name = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
    // Children overwrite their arguments with a title such as `postgres: checkpointer`.
    if name.starts_with("postgres: ") {
        return Some(Role::Child);
    }
    let program = Path::new(&name).file_name()?;
    (program == "postgres" || program == "postmaster").then_some(Role::Main)
}
