//! A folder for data folders, which the user that PostgreSQL runs as may enter.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Ends with the test, and with it every PostgreSQL that works in it. Kept when the test fails.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = super::process::folder(name);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A data folder that does not exist yet.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The same, made: an engine's log can be written there before it starts.
    pub(crate) fn made(&self) -> PathBuf {
        fs::create_dir(self.data()).unwrap();
        self.data()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        let mut left = working_in(self.path());
        while !left.is_empty() && Instant::now() < end {
            // One that has just ended by itself cannot be told.
            let _ = Command::new("kill").arg("-QUIT").args(&left).stderr(Stdio::null()).status();
            std::thread::sleep(Duration::from_millis(20));
            left = working_in(self.path());
        }
        // The logs in it say why the test failed.
        self.0.disable_cleanup(std::thread::panicking());
    }
}

/// Recognised by where they work: a process id in a file may be another's by now.
fn working_in(folder: &Path) -> Vec<OsString> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let works_here = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|works_in| works_in.starts_with(folder))
    };
    processes.filter(works_here).map(|process| process.file_name()).collect()
}

/// Whether a process runs; one that has ended and is not yet waited for does not.
pub(crate) fn alive(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// PostgreSQL refuses to run as root, so root's runs as another user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
