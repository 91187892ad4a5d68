//! `payments relay`: the log as it is published, for an operator.

use std::io::{self, Write};
use std::process::ExitCode;

use adapter_postgres::outbox::PostgresOutbox;
use commands::publishing::OutboxMonitor;
use serde_json::json;

use crate::Failure;
use crate::arguments::{RelayArguments, RelayTool};
use crate::connect::connect;
use crate::events::FOUND_WRONG;

pub(crate) async fn run(options: RelayArguments) -> Result<ExitCode, Failure> {
    let RelayTool::Status { json } = options.tool;
    let status = PostgresOutbox::new(&connect(&options.database).await?).status().await?;
    let mut output = io::stdout().lock();
    let Some(status) = status else {
        let told = if json {
            json!({ "working": false }).to_string()
        } else {
            "the log of this database was never published: give a process the role `relay`".to_owned()
        };
        writeln!(output, "{told}")?;
        return Ok(ExitCode::from(FOUND_WRONG));
    };
    if json {
        let told = json!({
            "position": status.position, "head": status.head, "lag": status.lag(), "lag_ms": status.lag_ms,
            "working": status.working,
        });
        writeln!(output, "{told}")?;
    } else {
        writeln!(output, "published up to position {} of {}", status.position, status.head)?;
        if status.lag() > 0 {
            writeln!(output, "{} events to go; the first has waited {} ms", status.lag(), status.lag_ms)?;
        }
        let told = if status.working { "a process is at it" } else { "nobody publishes it now" };
        writeln!(output, "{told}")?;
    }
    Ok(if status.working { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}
