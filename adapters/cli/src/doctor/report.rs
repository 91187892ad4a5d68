//! What was found.

use std::io::{self, Write};

use serde::Serialize;

use crate::Failure;
use crate::output::nobody_reads;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// The engine works with it, and it should not stay so.
    Warning,
    /// The engine does not work, or could lose something.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it; nothing where it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// All that was looked at, in this order.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Check>);

impl Report {
    pub(crate) fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.0.push(Check { name, status: Status::Ok, detail: detail.into(), next: None });
    }

    pub(crate) fn warning(&mut self, name: &'static str, detail: impl Into<String>, next: impl Into<String>) {
        self.add(name, Status::Warning, detail.into(), next.into());
    }

    pub(crate) fn failed(&mut self, name: &'static str, detail: impl Into<String>, next: impl Into<String>) {
        self.add(name, Status::Failed, detail.into(), next.into());
    }

    fn add(&mut self, name: &'static str, status: Status, detail: String, next: String) {
        self.0.push(Check { name, status, detail, next: Some(next) });
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.worst() == Status::Failed
    }

    fn worst(&self) -> Status {
        self.0.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
    }

    /// Tells it on standard output.
    pub(crate) fn tell(&self, json: bool) -> Result<(), Failure> {
        let told = if json { self.as_json() } else { self.as_lines() };
        match told.map_err(Failure::from) {
            Err(failure) if nobody_reads(&failure) => Ok(()),
            told => told,
        }
    }

    fn as_json(&self) -> io::Result<()> {
        let whole = serde_json::json!({ "status": self.worst(), "checks": self.0 });
        writeln!(io::stdout().lock(), "{whole:#}")
    }

    fn as_lines(&self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        for Check { name, status, detail, next } in &self.0 {
            let status = match status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Failed => "failed",
            };
            writeln!(output, "{status:<8} {name:<12} {detail}")?;
            if let Some(next) = next {
                writeln!(output, "{:<21} do: {next}", "")?;
            }
        }
        Ok(())
    }
}
