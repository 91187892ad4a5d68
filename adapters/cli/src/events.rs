//! `payments events`: the log for an operator.

mod export;
mod export_end;
mod import;
mod output_file;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use adapter_postgres::log::EventLog;
use commands::ports::{EventReader, RecordedEvent};

use crate::Failure;
use crate::arguments::{EventsArguments, EventsTool};
use crate::connect::{connect, open};
use crate::event_line::event_line;
use crate::signals::Shutdown;

/// Events that one query reads.
const PAGE: u32 = 5_000;
/// What a script is told when the log is not in order.
pub(crate) const FOUND_WRONG: u8 = 3;

pub(crate) async fn run(options: EventsArguments) -> Result<ExitCode, Failure> {
    let database = match options.tool {
        // The only one that writes: it fills a new database.
        EventsTool::Import(_) => open(&options.database).await?,
        _ => connect(&options.database).await?,
    };
    let log = EventLog::new(&database);
    match options.tool {
        EventsTool::List { after, limit, json } => list(&log, after, limit, json).await?,
        EventsTool::Show { event_id } => show(&log, &event_id).await?,
        EventsTool::Tail { after, json } => {
            let shutdown = Shutdown::listen()?;
            tokio::select! {
                ended = tail(&log, after, json) => ended?,
                () = shutdown.requested() => {}
            }
        }
        EventsTool::Verify { json } => return verify::run(&log, json).await,
        EventsTool::Export(options) => return export::run(&log, options).await,
        EventsTool::Import(options) => return import::run(&database, options).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(log: &EventLog, after: i64, limit: u32, json: bool) -> Result<(), Failure> {
    let (mut position, mut left) = (after, limit);
    while left > 0 {
        let events = log.behind(position, left.min(PAGE)).await?;
        let Some(last) = events.last() else { break };
        position = last.position;
        left -= u32::try_from(events.len())?;
        if !print(&events, json)? {
            break;
        }
    }
    Ok(())
}

async fn show(log: &EventLog, event_id: &str) -> Result<(), Failure> {
    let event = log.event(event_id).await?.ok_or_else(|| format!("there is no event {event_id}"))?;
    let shown: serde_json::Value = serde_json::from_str(&adapter_http::event_json(&event)?)?;
    writeln!(io::stdout(), "{shown:#}")?;
    Ok(())
}

async fn tail(log: &EventLog, after: Option<i64>, json: bool) -> Result<(), Failure> {
    let mut position = match after {
        Some(after) => after,
        None => log.head().await?,
    };
    loop {
        let events = log.behind(position, PAGE).await?;
        match events.last() {
            Some(last) => position = last.position,
            None => log.grown_beyond(position).await,
        }
        if !print(&events, json)? {
            return Ok(());
        }
    }
}

/// Prints events, a line each; `false` when nobody reads on, `head` for instance.
fn print(events: &[RecordedEvent], json: bool) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    for event in events {
        let shown = adapter_http::event_json(event)?;
        let written = if json {
            writeln!(output, "{shown}")
        } else {
            let line = event_line(&serde_json::from_str(&shown)?);
            writeln!(output, "{}  {}  {line}", event.recorded_at.format("%F %T%.3f"), event.event_id)
        };
        match written.and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            written => written?,
        }
    }
    Ok(true)
}
