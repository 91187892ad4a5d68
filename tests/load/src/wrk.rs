//! One run of wrk against the engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use adapter_postgres::database::Database;
use serde_json::Value;

use crate::Failure;
use crate::engine::Engine;
use crate::processor_time::ProcessorTime;

/// How a run asks for payments.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Its name, part of every payment's id.
    pub(crate) name: String,
    pub(crate) connections: u64,
    pub(crate) seconds: u64,
    pub(crate) users: u64,
    /// How long each connection waits between two payments; 0 for as many as there can be.
    pub(crate) pause_ms: u64,
}

/// What one run of wrk measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) payments_per_s: u64,
    pub(crate) events_per_s: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    /// Processor time of the engine, for each payment.
    pub(crate) engine_us: u64,
    /// Processor time of PostgreSQL, for each payment.
    pub(crate) postgres_us: u64,
}

/// Runs it, and measures what it was served and what that cost.
pub(crate) async fn measure(engine: &Engine, database: &Database, run: &Run) -> Result<Load, Failure> {
    let before = head(database).await?;
    let used_before = ProcessorTime::now(engine.process.id(), engine.data.path())?;
    let script = script("unique.lua")?;
    let output = Command::new("wrk")
        .args(["-t2", &format!("-c{}", run.connections), &format!("-d{}s", run.seconds), "--latency", "-s"])
        .arg(script)
        .args(engine.key.iter().flat_map(|key| ["-H".to_owned(), format!("Authorization: Bearer {key}")]))
        .arg(&engine.url)
        .args(["--", &run.name, &run.users.to_string(), &run.pause_ms.to_string()])
        .output()
        .map_err(|error| format!("cannot run wrk: {error}; install it with: apt-get install wrk"))?;
    let events = head(database).await? - before;
    let used = ProcessorTime::now(engine.process.id(), engine.data.path())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("result "))
        .ok_or_else(|| format!("wrk said: {text}"))?;
    let result: Value = serde_json::from_str(line)?;
    let number = |key: &str| result[key].as_u64().ok_or_else(|| format!("wrk did not say {key}"));
    if number("refused")? > 0 || number("socket_errors")? > 0 {
        return Err(format!("every payment of this load must complete, but: {line}").into());
    }
    let duration = number("duration_us")?.max(1);
    let requests = number("requests")?;
    Ok(Load {
        payments_per_s: requests * 1_000_000 / duration,
        events_per_s: u64::try_from(events)? * 1_000_000 / duration,
        p50_us: number("p50_us")?,
        p99_us: number("p99_us")?,
        p999_us: number("p999_us")?,
        engine_us: (used.engine_us - used_before.engine_us) / requests.max(1),
        postgres_us: (used.postgres_us - used_before.postgres_us) / requests.max(1),
    })
}

/// Position of the last event.
pub(crate) async fn head(database: &Database) -> Result<i64, Failure> {
    Ok(sqlx::query_scalar("select position from event_log_head").fetch_one(database.pool()).await?)
}

fn script(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing", path.display()).into()) }
}
