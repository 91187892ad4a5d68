//! The journal: the record on disk, one JSON line for each change, appended and never changed.
//!
//! A line is handed to the operating system with a plain write before its answer leaves, so it
//! survives `kill -9` of this process. There is no fsync: a charge of a simulated channel need
//! not survive the loss of the machine, and 5,000 of them a second must stay cheap.
//!
//! **Invariant:** the file holds whole lines. What a dying process tore is cut off at the next
//! start (its answer never left); what a full disk tore is cut off at once.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::SandboxError;
use super::change::Change;
use super::charge::State;

/// The name of the journal in its folder.
const FILE_NAME: &str = "charges.ndjson";

/// One change of one key. Several lines of a key follow each other; the last one holds.
#[derive(Serialize, Deserialize)]
pub(super) struct JournalLine<'a> {
    #[serde(borrow)]
    pub(super) idempotency_key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payment_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) amount: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payment_method: Cow<'a, str>,
    pub(super) state: State,
    /// What the charge becomes when it is made; journals from before there was a choice do not say.
    #[serde(default = "made_at_once")]
    pub(super) made: State,
    /// Whether this change moved money; the lines of a key that did are counted at the start.
    pub(super) moved: bool,
    /// The requests with this key so far; later repeats change nothing and write no line.
    pub(super) requests: u32,
    /// The capture, void or refund that this is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
}

fn made_at_once() -> State {
    State::Succeeded
}

/// Why a change could not be recorded; it must then not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("the journal is closed")]
    Closed,
    #[error("the journal cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// The open journal, or none where the record lives in memory only.
pub(super) struct Journal {
    /// `None` once it is closed, also by a torn line that could not be cut off again.
    open: Mutex<Option<Open>>,
    in_memory: bool,
}

struct Open {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl Journal {
    pub(super) fn none() -> Self {
        Self { open: Mutex::new(None), in_memory: true }
    }

    /// Opens or makes the journal in `folder` and hands `each` line to the caller, in order.
    pub(super) fn open(folder: &Path, each: impl FnMut(JournalLine<'_>)) -> Result<Self, SandboxError> {
        let path = folder.join(FILE_NAME);
        let refused = |source| SandboxError::Journal { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(refused)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(refused)?;
        // Two sandboxes with one journal would charge one key twice, each in good faith.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SandboxError::JournalInUse { path: path.clone() },
            TryLockError::Error(source) => refused(source),
        })?;
        let length = read_back(&file, &path, each)?;
        if length < file.metadata().map_err(refused)?.len() {
            tracing::warn!(path = %path.display(), length, "a torn last line of the journal is cut off");
            file.set_len(length).map_err(refused)?;
        }
        let open = Open { file, length, buffer: Vec::with_capacity(512) };
        Ok(Self { open: Mutex::new(Some(open)), in_memory: false })
    }

    /// Appends `line`; when this returns, the death of the process no longer loses it.
    pub(super) fn append(&self, line: &JournalLine<'_>) -> Result<(), JournalError> {
        if self.in_memory {
            return Ok(());
        }
        let mut guard = self.lock();
        let Some(open) = guard.as_mut() else {
            return Err(JournalError::Closed);
        };
        let Err(error) = open.append(line) else {
            return Ok(());
        };
        if let Err(error) = open.file.set_len(open.length) {
            tracing::error!(%error, "a torn line stays in the journal: no further charge is taken");
            *guard = None;
        }
        Err(error.into())
    }

    /// Gives the file back; every later change is refused.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A process that this one is just starting has a copy of the file until its program runs,
        // and to close one copy does not give the lock up: the next sandbox would be refused.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the journal's lock goes with its file");
        }
    }
}

impl Open {
    fn append(&mut self, line: &JournalLine<'_>) -> io::Result<()> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        self.file.write_all(&self.buffer)?;
        // A buffer in memory is no longer than a u64 counts.
        self.length += u64::try_from(self.buffer.len()).unwrap_or_default();
        Ok(())
    }
}

/// Reads the whole lines and returns their length in bytes.
fn read_back(file: &File, path: &Path, mut each: impl FnMut(JournalLine<'_>)) -> Result<u64, SandboxError> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut bytes = Vec::new();
    let mut length = 0;
    for line in 1.. {
        bytes.clear();
        let read = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|source| SandboxError::Journal { path: path.to_owned(), source })?;
        if !bytes.ends_with(b"\n") {
            break;
        }
        each(serde_json::from_slice(&bytes).map_err(|source| SandboxError::JournalLine {
            path: path.to_owned(),
            line,
            source,
        })?);
        length += u64::try_from(read).unwrap_or_default();
    }
    Ok(length)
}
