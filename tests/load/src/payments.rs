//! `payments`: whole payments through HTTP, with risk and channel over HTTP, beside pgbench TPC-B on
//! the same PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use clap::Args;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::Failure;
use crate::engine::{Engine, seed};
use crate::gateway;
use crate::report::{Report, grouped, ratio};
use crate::wrk::{Load, Run, measure};

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct PaymentsArguments {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Users, each with an account of 1,000,000.00 USD.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Measurements of each kind, interleaved.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// Only the payments, for a profiler: no pgbench beside them.
    #[arg(long)]
    alone: bool,
    /// Only what the gateway costs.
    #[arg(long)]
    only_gateway: bool,
}

impl PaymentsArguments {
    fn run(&self, connections: u64, round: u64) -> Run {
        let name = format!("b{connections}r{round}");
        Run { name, connections, seconds: self.seconds, users: self.users, pause_ms: 0 }
    }
}

pub(crate) async fn run(options: &PaymentsArguments) -> Result<Report, Failure> {
    let engine = Engine::start()?;
    let database_url = EmbeddedPostgres::database_url_for(engine.data.path())?;
    let database = Database::connect(&database_url, 8).await?;
    seed(&database, options.users).await?;
    if options.only_gateway {
        age(&database_url, engine.data.path()).await?;
        return guarded(engine, options, Report::new("payments: what the gateway costs")).await;
    }
    if !options.alone {
        pgbench(&database_url, &["-i", "-s", "50", "-q"])?;
    }
    warm_up(&engine, &database, &database_url, options).await?;
    let (mut tps, mut at_64, mut at_400) = (vec![], vec![], vec![]);
    for round in 0..options.rounds {
        if !options.alone {
            tps.push(measure_pgbench(&database_url, options.seconds)?);
        }
        at_64.push(measure(&engine, &database, &options.run(64, round)).await?);
        at_400.push(measure(&engine, &database, &options.run(400, round)).await?);
    }
    let rss_mb = engine.rss_mb()?;
    let tps = tps.iter().sum::<u64>() / u64::try_from(tps.len().max(1))?;
    let report = report(&mean(&at_64), &mean(&at_400), tps, rss_mb);
    if options.alone {
        engine.stop()?;
        return Ok(report);
    }
    guarded(engine, options, report).await
}

/// Adds what the gateway costs, on the folder of an engine that is stopped for it.
async fn guarded(engine: Engine, options: &PaymentsArguments, mut report: Report) -> Result<Report, Failure> {
    let data = Arc::clone(&engine.data);
    engine.stop()?;
    let loads = gateway::compare(&data, options.users, options.seconds, options.rounds).await?;
    let [off, on] = loads.map(|loads| mean(&loads));
    for (name, load) in [("without keys and rates", off), ("with keys and rates", on)] {
        let detail = format!("64 connections, p99 {} ms, engine {} us", millis(load.p99_us), load.engine_us);
        report.row(name, grouped(load.payments_per_s), detail);
    }
    report.key("gateway_on_vs_off", ratio(on.payments_per_s, off.payments_per_s));
    Ok(report)
}

fn report(at_64: &Load, at_400: &Load, tps: u64, rss_mb: u64) -> Report {
    let mut report =
        Report::new("payments: whole payments through HTTP, risk and channel over HTTP, fsync on");
    for (connections, load) in [(64, at_64), (400, at_400)] {
        report.row(
            &format!("payments a second, {connections} connections"),
            grouped(load.payments_per_s),
            format!(
                "p50 {} ms, p99 {} ms, p99.9 {} ms, {} events a second",
                millis(load.p50_us),
                millis(load.p99_us),
                millis(load.p999_us),
                grouped(load.events_per_s)
            ),
        );
        let suffix = if connections == 64 { String::new() } else { format!("_{connections}") };
        report.key(&format!("payments_per_s{suffix}"), load.payments_per_s);
        report.key(&format!("p50_ms{suffix}"), ratio(load.p50_us, 1_000));
        report.key(&format!("p99_ms{suffix}"), ratio(load.p99_us, 1_000));
        report.key(&format!("p999_ms{suffix}"), ratio(load.p999_us, 1_000));
        report.key(&format!("events_per_s{suffix}"), load.events_per_s);
        report.key(&format!("vs_pgbench{suffix}"), ratio(load.payments_per_s, tps));
        report.row(
            "  processor time a payment",
            format!("{} us", load.engine_us + load.postgres_us),
            format!("engine with sandbox {} us, PostgreSQL {} us", load.engine_us, load.postgres_us),
        );
        report.key(&format!("engine_cpu_us{suffix}"), load.engine_us);
        report.key(&format!("postgres_cpu_us{suffix}"), load.postgres_us);
    }
    report.row("pgbench TPC-B, prepared, 64 clients", grouped(tps), "transactions a second, same PostgreSQL");
    report.row(
        "engine's memory after the run",
        format!("{rss_mb} MB"),
        "with the sandbox in the same process",
    );
    report.key("pgbench_tps", tps);
    report.key("rss_mb", rss_mb);
    report
}

pub(crate) fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}

pub(crate) fn mean(loads: &[Load]) -> Load {
    let count = u64::try_from(loads.len().max(1)).unwrap_or(1);
    let of = |field: fn(&Load) -> u64| loads.iter().map(field).sum::<u64>() / count;
    Load {
        payments_per_s: of(|load| load.payments_per_s),
        events_per_s: of(|load| load.events_per_s),
        p50_us: of(|load| load.p50_us),
        p99_us: of(|load| load.p99_us),
        p999_us: of(|load| load.p999_us),
        engine_us: of(|load| load.engine_us),
        postgres_us: of(|load| load.postgres_us),
    }
}

/// Both sides start warm: the accounts in the engine's cache, the tables in PostgreSQL's, and what
/// PostgreSQL does once after a checkpoint done, which is to log each page whole when it first changes.
async fn warm_up(
    engine: &Engine,
    database: &Database,
    database_url: &str,
    options: &PaymentsArguments,
) -> Result<(), Failure> {
    measure(engine, database, &options.run(400, options.rounds)).await?;
    if !options.alone {
        measure_pgbench(database_url, options.seconds.min(5))?;
    }
    age(database_url, engine.data.path()).await?;
    if !options.alone {
        // 61 of its rows fill a page: this changes one on each.
        sqlx::query("update pgbench_accounts set abalance = abalance where aid % 61 = 1")
            .execute(database.pool())
            .await?;
    }
    measure(engine, database, &options.run(400, options.rounds + 1)).await?;
    Ok(())
}

/// A server that has run for a while has files of its log to use again. A new one has not, and stops
/// every half second to fill the next one with zeros. So it is led through 2.5 GB of its log, and a
/// checkpoint frees them for use again. The engine's own role may not do that.
pub(crate) async fn age(database_url: &str, data: &Path) -> Result<(), Failure> {
    let password = std::fs::read_to_string(data.join("admin.password"))?;
    let options = database_url.parse::<PgConnectOptions>()?;
    let options = options.username("postgres_admin").password(password.trim()).database("postgres");
    let mut connection = PgConnection::connect_with(&options).await?;
    for _ in 0..160 {
        sqlx::query("select pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
            .execute(&mut connection)
            .await?;
    }
    sqlx::query("checkpoint").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

fn measure_pgbench(url: &str, seconds: u64) -> Result<u64, Failure> {
    let text = pgbench(url, &["-M", "prepared", "-c", "64", "-j", "2", "-T", &seconds.to_string()])?;
    let tps = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .ok_or_else(|| format!("pgbench: {text}"))?;
    Ok(tps.split('.').next().unwrap_or_default().parse()?)
}

/// Runs pgbench on the engine's PostgreSQL. The URL holds a password, so it goes by environment.
fn pgbench(url: &str, arguments: &[&str]) -> Result<String, Failure> {
    let program = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin/pgbench"))
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| PathBuf::from("pgbench"));
    let options: PgConnectOptions = url.parse()?;
    let password = password_of(url).unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .arg("-h")
        .arg(options.get_socket().map_or(Path::new(options.get_host()), PathBuf::as_path))
        .args(["-U", options.get_username(), options.get_database().unwrap_or("payments")])
        .env("PGPASSWORD", password)
        .output()?;
    if !output.status.success() {
        return Err(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn password_of(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split_once('@')?.0.split_once(':').map(|(_, password)| password)
}
