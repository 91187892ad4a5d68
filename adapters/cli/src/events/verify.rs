//! `payments events verify`: the whole log, read once, proved to be what it must be.

use std::io::{self, Write};
use std::process::ExitCode;

use ::projections::Audit;
use adapter_postgres::hash_chain::{ChainCheck, Hash};
use adapter_postgres::log::{EventLog, fact_of};
use adapter_postgres::projector::rebuild::Watcher;
use commands::ports::{EventReader, RecordedEvent};
use serde_json::json;

use super::{FOUND_WRONG, PAGE};
use crate::Failure;
use crate::progress::Progress;

/// The first thing that is wrong: its position, and what it is.
type Wrong = (i64, String);

pub(super) async fn run(log: &EventLog, json: bool) -> Result<ExitCode, Failure> {
    // Appends go on meanwhile: the check ends where the log ended when it began.
    let (head, seal) = log.sealed_head().await?;
    let (mut audit, mut chain) = (Audit::default(), ChainCheck::default());
    let found = check(log, head, &seal, &mut audit, &mut chain).await?;
    let hash: String = chain.chain().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut output = io::stdout();
    if json {
        let wrong =
            found.as_ref().map(|(position, reason)| json!({ "position": position, "reason": reason }));
        let told = json!({
            "head": head, "verified": audit.as_of(), "sealed_from": chain.sealed_from(), "hash": hash,
            "wrong": wrong,
        });
        writeln!(output, "{told}")?;
    } else {
        match &found {
            None => writeln!(
                output,
                "{head} events: no gap, every stream dense, every posting in balance, no user below zero"
            )?,
            Some((position, reason)) => {
                writeln!(output, "wrong at position {position}: {reason}")?;
                let after = (position - 2).max(0);
                writeln!(output, "look at it: payments events list --after {after} --limit 5")?;
            }
        }
        match (&found, chain.sealed_from()) {
            (Some(_), _) => {}
            (None, None) => writeln!(output, "there is no hash chain over them: they are older than it")?,
            (None, Some(from)) => writeln!(
                output,
                "the hash chain is unbroken from position {from}; keep its end elsewhere, to prove later \
                 that nobody has rewritten it:\n  position {head}  hash {hash}"
            )?,
        }
    }
    Ok(if found.is_some() { ExitCode::from(FOUND_WRONG) } else { ExitCode::SUCCESS })
}

/// Reads the log up to a position; the first thing that is wrong.
async fn check(
    log: &EventLog,
    head: i64,
    seal: &Hash,
    audit: &mut Audit,
    chain: &mut ChainCheck,
) -> Result<Option<Wrong>, Failure> {
    let progress = Progress::new()?;
    progress.phase("verifying");
    while audit.as_of() < head {
        let events = log.behind(audit.as_of(), PAGE).await?;
        if events.is_empty() {
            break;
        }
        for event in events.iter().filter(|event| event.position <= head) {
            if let Err(wrong) = check_one(audit, chain, event) {
                return Ok(Some(wrong));
            }
        }
        progress.at(audit.as_of(), head);
    }
    if let Err(error) = audit.finish(head) {
        return Ok(Some((error.position(), error.to_string())));
    }
    Ok(chain.finish(seal).err().map(|error| (error.position(), error.to_string())))
}

/// A gap is told before what follows from it; a changed event before what no longer adds up.
fn check_one(audit: &mut Audit, chain: &mut ChainCheck, event: &RecordedEvent) -> Result<(), Wrong> {
    let expected = audit.as_of() + 1;
    if event.position == expected {
        chain.apply(event).map_err(|error| (error.position(), error.to_string()))?;
    }
    let audited = audit.apply(event.position, event.sequence, &fact_of(event));
    audited.map_err(|error| (error.position(), error.to_string()))
}
