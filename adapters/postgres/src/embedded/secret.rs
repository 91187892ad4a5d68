//! The two passwords, made once and kept in files that only their owner can read.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use uuid::Uuid;

use super::account::Account;
use super::error::ClusterError;
use super::files;
use super::layout::{self, Layout};

/// A password: 64 hexadecimal digits, so that it needs no quoting in SQL or in a URL.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Removes the password from what a program said, should it ever say it.
    pub(super) fn scrub(&self, text: &str) -> String {
        text.replace(&self.0, "[password]")
    }

    #[expect(clippy::disallowed_methods, reason = "a password has to be random; it never enters a decision")]
    fn generate() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([password])")
    }
}

/// Of the superuser. It is set once, by `initdb`, which reads the file as the service user;
/// that user owns the cluster anyway.
pub(super) fn of_admin(
    layout: &Layout,
    account: &Account,
    cluster_exists: bool,
) -> Result<Secret, ClusterError> {
    let path = layout.admin_password();
    match read(&path)? {
        Some(secret) => {
            // A crash of an engine that ran as another user must not leave it unreadable.
            if !cluster_exists {
                files::replace(&path, &format!("{}\n", secret.0), Some(account))?;
            }
            Ok(secret)
        }
        None if cluster_exists => Err(ClusterError::AdminPasswordLost { file: path }),
        None => create(&path, Some(account)),
    }
}

/// Of the role `payments`. Each start sets it anew, so a lost file is simply made again.
pub(super) fn of_engine(layout: &Layout) -> Result<Secret, ClusterError> {
    let path = layout.password();
    match read(&path)? {
        Some(secret) => Ok(secret),
        None => create(&path, None),
    }
}

/// The same, for a tool that must not make one.
pub(super) fn recorded(data_dir: &Path) -> Result<Secret, ClusterError> {
    read(&layout::password_in(data_dir))?
        .ok_or_else(|| ClusterError::NeverStarted { folder: data_dir.to_path_buf() })
}

/// A name that no earlier engine has used.
#[expect(clippy::disallowed_methods, reason = "the name of a temporary folder never enters a decision")]
pub(super) fn unique_name() -> String {
    Uuid::new_v4().simple().to_string()
}

fn create(path: &Path, owner: Option<&Account>) -> Result<Secret, ClusterError> {
    let secret = Secret::generate();
    files::replace(path, &format!("{}\n", secret.0), owner)?;
    Ok(secret)
}

/// `None` when missing or damaged.
fn read(path: &Path) -> Result<Option<Secret>, ClusterError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Secret::parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClusterError::io("read", path)(error)),
    }
}
