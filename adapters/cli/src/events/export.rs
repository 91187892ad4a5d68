//! `payments events export`: the log as lines of JSON.
//!
//! ```text
//! pages read ──► a few wait ──► a thread writes, compresses and digests them ──► last line, fsync, rename
//! ```

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use adapter_postgres::log::EventLog;
use adapter_postgres::projector::rebuild::Watcher;
use commands::cloud_event::CloudEvent;
use commands::ports::{EventReader, RecordedEvent};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::export_end::{ExportEnd, Exported};
use super::output_file::OutputFile;
use crate::Failure;
use crate::arguments::ExportArguments;
use crate::output::nobody_reads;
use crate::progress::Progress;
use crate::signals::Shutdown;
use crate::stretch::Stretch;

/// Pages that wait to be written.
const AHEAD: usize = 2;

/// Lines under way.
struct Lines {
    output: OutputFile,
    digest: Sha256,
    events: i64,
}

pub(super) async fn run(log: &EventLog, options: ExportArguments) -> Result<ExitCode, Failure> {
    options.stretch.check();
    let shutdown = Shutdown::listen()?;
    let written = tokio::select! {
        written = export(log, &options) => written,
        () = shutdown.requested() => return Err("interrupted: the export is not whole".into()),
    };
    match written {
        Ok(exported) => tell(&options, &exported)?,
        Err(failure) if nobody_reads(&failure) => {}
        Err(failure) => return Err(failure),
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(log: &dyn EventReader, options: &ExportArguments) -> Result<Exported, Failure> {
    let stretch = Stretch::of(options.stretch, log).await?;
    let output = OutputFile::create(&options.file, options.gzip)?;
    let progress = Progress::new()?;
    progress.phase("exporting");
    let (pages, writing) = write_pages(Lines { output, digest: Sha256::new(), events: 0 });
    let read = read_pages(log, stretch, &pages, &progress).await;
    drop(pages);
    // What stopped the writer stopped the reader as well: it is told first.
    let lines = writing.await??;
    read?;
    let exported = Exported {
        from: stretch.next(),
        to: stretch.to(),
        events: lines.events,
        sha256: hex::encode(lines.digest.finalize()),
    };
    let mut output = lines.output;
    let last = serde_json::to_string(&ExportEnd::of(exported.clone()))?;
    tokio::task::spawn_blocking(move || {
        writeln!(output, "{last}")?;
        output.finish()
    })
    .await??;
    Ok(exported)
}

/// Writes pages on a thread of its own, until there come no more.
fn write_pages(mut lines: Lines) -> (mpsc::Sender<Vec<RecordedEvent>>, JoinHandle<Result<Lines, Failure>>) {
    let (pages, mut read) = mpsc::channel::<Vec<RecordedEvent>>(AHEAD);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(events) = read.blocking_recv() {
            for event in &events {
                let line = CloudEvent::of(event)?.line()? + "\n";
                lines.digest.update(&line);
                lines.output.write_all(line.as_bytes())?;
                lines.events += 1;
            }
        }
        Ok(lines)
    });
    (pages, writing)
}

async fn read_pages(
    log: &dyn EventReader,
    mut stretch: Stretch,
    pages: &mpsc::Sender<Vec<RecordedEvent>>,
    progress: &Progress,
) -> Result<(), Failure> {
    let before = stretch.next() - 1;
    while let Some(events) = stretch.page(log).await? {
        if pages.send(events).await.is_err() {
            // The writer has ended, and says why.
            return Ok(());
        }
        progress.at(stretch.next() - 1 - before, stretch.to() - before);
    }
    Ok(())
}

fn tell(options: &ExportArguments, exported: &Exported) -> Result<(), Failure> {
    let told = if options.json {
        json!({ "exported": exported }).to_string()
    } else {
        let Exported { from, to, events, .. } = exported;
        format!("exported {events} events, positions {from} to {to}, to {}", options.file.display())
    };
    if options.file == Path::new("-") {
        writeln!(io::stderr(), "{told}")?;
    } else {
        writeln!(io::stdout(), "{told}")?;
    }
    Ok(())
}
