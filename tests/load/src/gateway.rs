//! What the gateway costs: payments of an engine that asks for a key and counts rates, beside the same engine
//! that asks for nothing.

use std::process::Command;
use std::sync::Arc;

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use tempfile::TempDir;

use crate::Failure;
use crate::engine::Engine;
use crate::wrk::{Load, Run, measure};

const CONNECTIONS: u64 = 64;
/// Seconds that each engine runs before it is measured.
const WARM_UP: u64 = 3;
/// Rates that this load does not reach: they are counted all the same.
const RATE: &str = "1000000";

/// Measures both, interleaved, on a folder with accounts: without the gateway, and with it.
pub(crate) async fn compare(
    data: &Arc<TempDir>,
    users: u64,
    seconds: u64,
    rounds: u64,
) -> Result<[Vec<Load>; 2], Failure> {
    let (mut off, mut on) = (vec![], vec![]);
    for round in 0..rounds {
        off.push(measured(data, false, &format!("off{round}"), users, seconds).await?);
        on.push(measured(data, true, &format!("on{round}"), users, seconds).await?);
    }
    Ok([off, on])
}

async fn measured(
    data: &Arc<TempDir>,
    guarded: bool,
    name: &str,
    users: u64,
    seconds: u64,
) -> Result<Load, Failure> {
    let guard = [
        ("PAYMENTS_HTTP__AUTHENTICATION", "required"),
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_CALLER_PER_SECOND", RATE),
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_ADDRESS_PER_SECOND", RATE),
    ];
    let mut engine = Engine::start_on(Arc::clone(data), if guarded { &guard } else { &[] })?;
    if guarded {
        engine.key = Some(new_key(data)?);
    }
    let database = Database::connect(&EmbeddedPostgres::database_url_for(data.path())?, 2).await?;
    let run = |name: String, seconds| Run { name, connections: CONNECTIONS, seconds, users, pause_ms: 0 };
    measure(&engine, &database, &run(format!("w{name}"), WARM_UP)).await?;
    let load = measure(&engine, &database, &run(format!("g{name}"), seconds)).await?;
    engine.stop()?;
    Ok(load)
}

/// A key for the load, made as an operator makes one.
fn new_key(data: &TempDir) -> Result<String, Failure> {
    let output = Command::new(std::env::current_exe()?.with_file_name("payments"))
        .args(["keys", "create", "--caller", "bench", "--scope", "write", "--data-dir"])
        .arg(data.path())
        .output()?;
    if !output.status.success() {
        return Err(format!("no key: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
