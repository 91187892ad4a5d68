//! The lines of an export, read, parsed and checked.

use std::io::{self, BufRead, Read};
use std::mem;
use std::thread;

use adapter_postgres::import::{CheckedEvent, CheckedLog, LogCheck};
use commands::cloud_event::CloudEvent;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::input_file::InputFile;
use crate::Failure;
use crate::events::export_end::{ExportEnd, Exported};

/// Events of one batch.
const BATCH: usize = 5_000;
/// Batches that wait to be loaded.
const AHEAD: usize = 2;
/// Bytes of the longest line that is read; a payload has a few hundred.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// A part of a log.
pub(super) enum Part {
    /// The next events.
    Events(Vec<CheckedEvent>),
    /// There are no more, and all of them are there.
    End(CheckedLog),
}

/// Reads on a thread that ends with the program: one that waits for its standard input cannot be told
/// to stop. What is wrong is said with its line, and is the last that is said.
pub(super) fn read_on_a_thread(input: InputFile) -> Result<mpsc::Receiver<Result<Part, String>>, Failure> {
    let (parts, read) = mpsc::channel(AHEAD);
    thread::Builder::new().name("import lines".to_owned()).spawn(move || {
        let mut lines = Lines::new(input.into_reader());
        loop {
            let part = lines.part();
            let goes_on = matches!(part, Ok(Part::Events(_)));
            if parts.blocking_send(part).is_err() || !goes_on {
                return;
            }
        }
    })?;
    Ok(read)
}

struct Lines {
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: i64,
    digest: Sha256,
    check: LogCheck,
    end: Option<Exported>,
    /// What is wrong behind the events that were given out last.
    wrong: Option<String>,
}

impl Lines {
    fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self {
            reader,
            line: vec![],
            number: 0,
            digest: Sha256::new(),
            check: LogCheck::default(),
            end: None,
            wrong: None,
        }
    }

    /// The next part. Batches come full, but for the last; what is wrong comes behind the events in
    /// front of it, because the database may find something wrong among those.
    fn part(&mut self) -> Result<Part, String> {
        let mut events = Vec::with_capacity(BATCH);
        while self.end.is_none() && self.wrong.is_none() && events.len() < BATCH {
            match self.event() {
                Ok(event) => events.extend(event),
                Err(reason) => self.wrong = Some(format!("line {}: {reason}", self.number)),
            }
        }
        if !events.is_empty() {
            return Ok(Part::Events(events));
        }
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let log = mem::take(&mut self.check).finish();
        log.map(Part::End).map_err(|error| format!("line {}: {error}", error.ordinal()))
    }

    /// The event of the next line, `None` for the last line.
    fn event(&mut self) -> Result<Option<CheckedEvent>, String> {
        if !self.read_line()? {
            return Err(
                "the file ends here without its last line, of the type payments.LogExported: it was cut"
                    .to_owned(),
            );
        }
        let event = match CloudEvent::parse(&self.line).and_then(CloudEvent::recorded) {
            Ok(event) => event,
            Err(error) => {
                let end = ExportEnd::parse(&self.line).ok_or_else(|| error.to_string())?;
                self.check_end(&end.data)?;
                self.end = Some(end.data);
                return Ok(None);
            }
        };
        self.digest.update(&self.line);
        self.check.take(event).map(Some).map_err(|error| error.to_string())
    }

    /// Whether there is another line. One without its line break was cut.
    fn read_line(&mut self) -> Result<bool, String> {
        self.line.clear();
        self.number += 1;
        let mut bounded = (&mut self.reader).take(LONGEST_LINE);
        bounded.read_until(b'\n', &mut self.line).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the compressed file ends here: it was cut".to_owned(),
            _ => format!("cannot read on: {error}"),
        })?;
        match self.line.last() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) if u64::try_from(self.line.len()).unwrap_or(LONGEST_LINE) < LONGEST_LINE => {
                Err("the file ends within this line: it was cut".to_owned())
            }
            Some(_) => Err(format!("it is longer than {LONGEST_LINE} bytes")),
        }
    }

    /// Checks the last line against what came before it, and that nothing follows.
    fn check_end(&mut self, end: &Exported) -> Result<(), String> {
        let events = self.number - 1;
        if end.from != 1 {
            let from = end.from;
            return Err(format!("the export begins at position {from}; only one from position 1 is a log"));
        }
        if (end.events, end.to) != (events, events) {
            return Err(format!(
                "{} events were exported, and there are {events} before this line",
                end.events
            ));
        }
        if end.sha256 != hex::encode(self.digest.finalize_reset()) {
            return Err("the lines before this one are not those that were exported: their SHA-256 differs"
                .to_owned());
        }
        if self.read_line()? {
            return Err("something follows the last line of the export".to_owned());
        }
        self.number -= 1;
        Ok(())
    }
}
