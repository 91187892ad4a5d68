//! `payments events`: the log for an operator.

mod export;
mod export_end;
mod import;
mod output_file;

use std::io::{self, Write};
use std::process::ExitCode;

use ::projections::{Audit, Happened};
use adapter_postgres::log::EventLog;
use adapter_postgres::store::decode;
use commands::ports::{EventReader, RecordedEvent};
use domain::{Account, AccountId, Payment, PaymentId};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::Failure;
use crate::arguments::{EventsArguments, EventsTool};
use crate::connect::connect;
use crate::event_line::event_line;
use crate::signals::Shutdown;

/// Events that one query reads.
const PAGE: u32 = 5_000;
/// What a script is told when the log is not in order.
pub(crate) const FOUND_WRONG: u8 = 3;

pub(crate) async fn run(options: EventsArguments) -> Result<ExitCode, Failure> {
    // The only one that writes: it brings the schema up to date.
    if let EventsTool::Import(import) = options.tool {
        return import::run(&options.database, import).await;
    }
    let log = EventLog::new(&connect(&options.database).await?);
    match options.tool {
        EventsTool::Export(options) => return export::run(&log, options).await,
        EventsTool::List { after, limit, json } => list(&log, after, limit, json).await?,
        EventsTool::Show { event_id } => show(&log, &event_id).await?,
        EventsTool::Tail { after, json } => {
            let shutdown = Shutdown::listen()?;
            tokio::select! {
                ended = tail(&log, after, json) => ended?,
                () = shutdown.requested() => {}
            }
        }
        EventsTool::Verify { json } => return verify(&log, json).await,
        EventsTool::Import(_) => {}
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

async fn verify(log: &EventLog, json: bool) -> Result<ExitCode, Failure> {
    // Appends go on meanwhile: the audit ends where the log ended when it began.
    let head = log.head().await?;
    let progress = progress(head)?;
    let mut audit = Audit::default();
    let found = audit_to(log, head, &mut audit, &progress).await?;
    progress.finish_and_clear();
    let mut output = io::stdout();
    match &found {
        None => writeln!(
            output,
            "{head} events: no gap, every stream dense, every posting in balance, no user below zero"
        )?,
        Some((position, reason)) => {
            writeln!(output, "wrong at position {position}: {reason}")?;
            writeln!(output, "look at it: payments events list --after {} --limit 5", (position - 2).max(0))?;
        }
    }
    if json {
        let wrong =
            found.as_ref().map(|(position, reason)| json!({ "position": position, "reason": reason }));
        writeln!(output, "{}", json!({ "head": head, "verified": audit.as_of(), "wrong": wrong }))?;
    }
    Ok(if found.is_some() { ExitCode::from(FOUND_WRONG) } else { ExitCode::SUCCESS })
}

/// Reads the log up to a position; the first thing that is wrong, with its position.
async fn audit_to(
    log: &EventLog,
    head: i64,
    audit: &mut Audit,
    progress: &ProgressBar,
) -> Result<Option<(i64, String)>, Failure> {
    while audit.as_of() < head {
        let events = log.behind(audit.as_of(), PAGE).await?;
        if events.is_empty() {
            break;
        }
        for event in events.iter().filter(|event| event.position <= head) {
            if let Err(wrong) = audit_one(audit, event) {
                return Ok(Some(wrong));
            }
        }
        progress.set_position(u64::try_from(audit.as_of())?);
    }
    Ok(audit.finish(head).err().map(|error| (error.position(), error.to_string())))
}

fn audit_one(audit: &mut Audit, event: &RecordedEvent) -> Result<(), (i64, String)> {
    let wrong = |reason: String| (event.position, reason);
    let (kind, version, payload) = (&event.event_type, &event.event_version, &event.payload);
    let audited = match event.aggregate_type.as_str() {
        "account" => {
            let id = AccountId::parse(&event.aggregate_id).map_err(|error| wrong(error.to_string()))?;
            let happened =
                decode::<Account>(kind, version, payload).map_err(|error| wrong(error.to_string()))?;
            audit.apply(event.position, event.sequence, Happened::ToAccount(&id, &happened))
        }
        "payment" => {
            let id = PaymentId::parse(&event.aggregate_id).map_err(|error| wrong(error.to_string()))?;
            decode::<Payment>(kind, version, payload).map_err(|error| wrong(error.to_string()))?;
            audit.apply(event.position, event.sequence, Happened::ToPayment(&id))
        }
        other => return Err(wrong(format!("there is no aggregate of the type {other}"))),
    };
    audited.map_err(|error| (error.position(), error.to_string()))
}

/// A bar with rate and time left on a terminal, nothing elsewhere.
fn progress(events: i64) -> Result<ProgressBar, Failure> {
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(u64::try_from(events)?).with_style(style))
}
