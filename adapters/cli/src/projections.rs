//! `payments projections`: the read models for an operator.

use std::io::{self, Write};
use std::process::ExitCode;

use ::projections::ports::{Projection, ProjectionStatus, ReadModels};
use adapter_postgres::database::Database;
use adapter_postgres::projector::Progress as Positions;
use adapter_postgres::projector::rebuild::{Comparison, Difference, Rebuild, drop_old, verify};
use adapter_postgres::read_models::PostgresReadModels;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::{ProjectionsArguments, ProjectionsTool};
use crate::connect::connect;
use crate::events::FOUND_WRONG;
use crate::progress::Progress;

pub(crate) async fn run(options: ProjectionsArguments) -> Result<ExitCode, Failure> {
    let database = connect(&options.database).await?;
    match options.tool {
        ProjectionsTool::List { json } => list(&database, json).await,
        ProjectionsTool::Rebuild { name, json } => {
            let rebuilt = Rebuild::new(&database, &named(&name)?).run(&Progress::new()?).await?;
            report(&rebuilt.comparisons, json)?;
            let told = if json {
                json!({ "rebuilt": name, "resumed_at": rebuilt.resumed_at, "position": rebuilt.position })
                    .to_string()
            } else {
                format!(
                    "rebuilt as of position {}; the tables before it are kept until: \
                     payments projections drop-old {name}",
                    rebuilt.position
                )
            };
            writeln!(io::stdout(), "{told}")?;
            Ok(ExitCode::SUCCESS)
        }
        ProjectionsTool::Verify { name, json } => {
            let comparisons = verify(&database, &named(&name)?, &Progress::new()?).await?;
            report(&comparisons, json)?;
            let differs = comparisons.iter().any(|comparison| comparison.different > 0);
            Ok(if differs { ExitCode::from(FOUND_WRONG) } else { ExitCode::SUCCESS })
        }
        ProjectionsTool::DropOld { name } => {
            for projection in named(&name)? {
                let told = if drop_old(&database, projection).await? { "dropped" } else { "none kept" };
                writeln!(io::stdout(), "{}: {told}", projection.name())?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The projections of a name.
fn named(name: &str) -> Result<Vec<Projection>, Failure> {
    if name == "all" {
        return Ok(Projection::ALL.to_vec());
    }
    Projection::named(name).map(|projection| vec![projection]).ok_or_else(|| {
        let known = Projection::ALL.map(Projection::name).join(", ");
        format!("there is no projection {name}; there are {known}, and `all` for all of them").into()
    })
}

async fn list(database: &Database, json: bool) -> Result<ExitCode, Failure> {
    let status = PostgresReadModels::new(database, Positions::default()).status().await?;
    let mut output = io::stdout().lock();
    if json {
        for status in &status {
            writeln!(output, "{}", status_json(status))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (lag, lag_ms) = ("LAG", "LAG MS");
    writeln!(
        output,
        "{:<18} {:>12} {lag:>10} {lag_ms:>10}  {:<24} STATE",
        "PROJECTION", "POSITION", "AS OF"
    )?;
    for status in &status {
        let as_of =
            status.recorded_at.map_or_else(|| "-".to_owned(), |time| time.format("%F %T%.3f").to_string());
        let ProjectionStatus { name, position, lag, lag_ms, .. } = status;
        let state = state(status);
        writeln!(output, "{name:<18} {position:>12} {lag:>10} {lag_ms:>10}  {as_of:<24} {state}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn state(status: &ProjectionStatus) -> String {
    let mut state = vec![];
    if let Some(failure) = &status.failure {
        let trace = failure.traceparent.split('-').nth(1).unwrap_or_default();
        state.push(format!(
            "stopped at position {} since {}: {} (event {}, trace {trace})",
            failure.position,
            failure.since.format("%F %T"),
            failure.reason,
            failure.event_id
        ));
    }
    if status.outdated {
        state.push("made by another version, to be rebuilt".to_owned());
    }
    if let Some(position) = status.rebuilding {
        state.push(format!("a rebuild has come to position {position}"));
    }
    if status.old_kept {
        state.push("the tables before the last rebuild are kept".to_owned());
    }
    if state.is_empty() { "ok".to_owned() } else { state.join("; ") }
}

fn status_json(status: &ProjectionStatus) -> Value {
    json!({
        "name": status.name,
        "position": status.position,
        "lag": status.lag,
        "lag_ms": status.lag_ms,
        "as_of": status.recorded_at.map(|time| time.to_rfc3339()),
        "stopped_at": status.failure.as_ref().map(|failure| json!({
            "position": failure.position,
            "event_id": failure.event_id,
            "reason": failure.reason,
            "traceparent": failure.traceparent,
            "since": failure.since.to_rfc3339(),
        })),
        "outdated": status.outdated,
        "rebuild_at": status.rebuilding,
        "old_kept": status.old_kept,
    })
}

fn report(comparisons: &[Comparison], json: bool) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    for comparison in comparisons {
        let Comparison { projection, position, rows, different, differences } = comparison;
        if json {
            let differences: Vec<Value> =
                differences.iter().map(difference_json).collect::<Result<_, _>>()?;
            let told = json!({
                "projection": projection, "position": position, "rows": rows, "different": different,
                "differences": differences,
            });
            writeln!(output, "{told}")?;
            continue;
        }
        if *different == 0 {
            writeln!(output, "{projection}: {rows} rows are what the log says as of position {position}")?;
            continue;
        }
        writeln!(output, "{projection}: {different} of {rows} rows are not what the log says:")?;
        for difference in differences {
            let absent = || "no row".to_owned();
            writeln!(output, "  {}", difference.key)?;
            writeln!(output, "    is read: {}", difference.live.clone().unwrap_or_else(absent))?;
            writeln!(output, "    the log: {}", difference.log.clone().unwrap_or_else(absent))?;
            if let Some(position) = difference.parts_at {
                writeln!(
                    output,
                    "    they part at position {position}: payments events list --after {} --limit 1",
                    position - 1
                )?;
            }
        }
    }
    Ok(())
}

fn difference_json(difference: &Difference) -> Result<Value, Failure> {
    let row = |text: &Option<String>| -> Result<Option<Value>, serde_json::Error> {
        text.as_deref().map(serde_json::from_str).transpose()
    };
    Ok(json!({
        "key": difference.key, "parts_at": difference.parts_at, "read": row(&difference.live)?,
        "log": row(&difference.log)?,
    }))
}
