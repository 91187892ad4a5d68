//! `payments events import`: an exported log into a new database.
//!
//! ```text
//! a thread reads lines, parses and checks them ──► a few batches wait ──► loaded in one transaction
//! ```

mod input_file;
mod lines;

use std::io::{self, Write};
use std::process::ExitCode;

use adapter_postgres::database::Database;
use adapter_postgres::hash_chain::BEGINNING;
use adapter_postgres::import::{CheckedLog, Import, ImportError};
use adapter_postgres::projector::rebuild::Watcher;
use serde_json::json;

use self::input_file::InputFile;
use self::lines::{Part, read_on_a_thread};
use crate::Failure;
use crate::arguments::ImportArguments;
use crate::progress::Progress;

pub(super) async fn run(database: &Database, options: ImportArguments) -> Result<ExitCode, Failure> {
    let shown = options.file.display().to_string();
    let input = InputFile::open(&options.file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let import = Import::begin(database).await?;
    let log = load(import, input, &shown).await?;
    tell(&log, options.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Loads what is read and makes it durable. What is wrong is named by its line.
async fn load(mut import: Import, input: InputFile, shown: &str) -> Result<CheckedLog, Failure> {
    let nothing = |reason: String| Failure::from(format!("{shown}: {reason}; nothing was imported"));
    let refused = |error: ImportError| match error {
        // Line n is the event at position n: the export begins at 1, and there is no gap.
        ImportError::Log(error) => nothing(format!("line {}: {error}", error.ordinal())),
        other => other.into(),
    };
    let progress = Progress::new()?;
    progress.phase("importing");
    let share = input.share_read();
    let (mut parts, mut position) = (read_on_a_thread(input)?, 0);
    loop {
        match parts.recv().await {
            Some(Ok(Part::Events(events))) => {
                import.add(&events).await.map_err(refused)?;
                position += i64::try_from(events.len())?;
                progress.at(position, share.whole(position));
            }
            Some(Ok(Part::End(log))) => {
                progress.phase("checking event ids");
                import.commit(&log).await.map_err(refused)?;
                return Ok(log);
            }
            Some(Err(reason)) => return Err(nothing(reason)),
            None => return Err(nothing("the thread that reads it has ended".to_owned())),
        }
    }
}

fn tell(log: &CheckedLog, json: bool) -> Result<(), Failure> {
    let (position, hash) = (log.position(), hex::encode(log.chain()));
    let mut output = io::stdout();
    if json {
        writeln!(output, "{}", json!({ "imported": { "events": position, "hash": hash } }))?;
        return Ok(());
    }
    writeln!(output, "imported {position} events")?;
    if *log.chain() == BEGINNING {
        writeln!(output, "there is no hash chain over them: they are older than it")?;
    } else {
        writeln!(output, "the hash chain over them ends as it did where they come from:\n  hash {hash}")?;
    }
    writeln!(output, "the projector of `payments serve` or `payments dev` builds the read models")?;
    Ok(())
}
