//! Running PostgreSQL's own programs as the right user, with nothing of our surroundings.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::account::Account;
use super::error::ClusterError;

/// What of our environment a program still needs to run.
const KEPT_ENVIRONMENT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// A program as the service user, in a folder everyone can enter and in a process group of its
/// own, so that Ctrl-C in the terminal reaches the engine alone. The environment is emptied:
/// `PGHOST` and the like would redirect the tools, and the engine's own secrets are not theirs.
pub(super) fn command(program: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").current_dir("/").process_group(0);
    for name in KEPT_ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if account.switch {
        // With a user set, the standard library also drops root's supplementary groups.
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs it to the end, with `input` on its standard input.
pub(super) async fn run(
    mut command: Command,
    account: &Account,
    input: &str,
) -> Result<Output, ClusterError> {
    let program = Path::new(command.as_std().get_program()).to_path_buf();
    let failed = |source| ClusterError::Tool { program, user: account.name.clone(), source };
    let work = async {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()).await {
                // A program that ends before it has read everything tells why in its status.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output().await
    };
    work.await.map_err(failed)
}

/// What a program said, for an error message.
pub(super) fn said(output: &Output) -> String {
    let text = [&output.stderr, &output.stdout]
        .map(|part| String::from_utf8_lossy(part).trim().to_owned())
        .join("\n");
    match text.trim() {
        "" => format!("it ended with {} and no word", output.status),
        text => text.to_owned(),
    }
}
