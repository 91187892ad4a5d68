//! Files and folders that are whole after a crash and belong to the right user.
//!
//! **Invariant:** a file in a folder of the service user is replaced, never written through, so
//! a link planted there cannot make root write elsewhere.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::ClusterError;

/// A folder only its owner may use. What stands there already must be a folder of `owner`,
/// or of root when root is about to hand it over.
pub(super) fn private_dir(path: &Path, owner: &Account) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(ClusterError::io("create the folder", path)(error));
        }
        _ => {}
    }
    let found = std::fs::symlink_metadata(path).map_err(ClusterError::io("look at", path))?;
    if !found.is_dir() {
        return Err(ClusterError::io("use as a folder", path)(ErrorKind::NotADirectory.into()));
    }
    if found.uid() != owner.uid && !(owner.switch && found.uid() == 0) {
        return Err(ClusterError::WrongOwner {
            folder: path.to_path_buf(),
            owner: found.uid(),
            user: owner.name.clone(),
        });
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(ClusterError::io("set the mode of", path))?;
    if owner.switch {
        lchown(path, Some(owner.uid), Some(owner.gid)).map_err(ClusterError::io("hand over", path))?;
    }
    Ok(())
}

/// An empty 0600 file of `owner`, unless it exists.
pub(super) fn touch(path: &Path, owner: &Account) -> Result<(), ClusterError> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(ClusterError::io("open", path))?;
    hand_over(&file, path, Some(owner))
}

/// Puts a whole 0600 file in place of whatever is there. Without an owner it stays ours.
pub(super) fn replace(path: &Path, contents: &str, owner: Option<&Account>) -> Result<(), ClusterError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ClusterError::io("remove", &beside)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(ClusterError::io("create", &beside))?;
    file.write_all(contents.as_bytes()).map_err(ClusterError::io("write", &beside))?;
    hand_over(&file, &beside, owner)?;
    file.sync_all().map_err(ClusterError::io("write", &beside))?;
    rename(&beside, path)
}

/// Renames, and returns only when the new name is on disk.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), ClusterError> {
    std::fs::rename(from, to).map_err(ClusterError::io("put in place", to))?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(ClusterError::io("write", parent))
}

fn hand_over(file: &File, path: &Path, owner: Option<&Account>) -> Result<(), ClusterError> {
    match owner {
        Some(owner) if owner.switch => {
            fchown(file, Some(owner.uid), Some(owner.gid)).map_err(ClusterError::io("hand over", path))
        }
        _ => Ok(()),
    }
}
