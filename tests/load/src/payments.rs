//! `payments`: whole payments through HTTP, with risk and channel over HTTP, beside pgbench TPC-B on
//! the same PostgreSQL.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use clap::Args;
use commands::context::{CommandContext, TraceContext};
use commands::ports::{EventStore, StoreError};
use commands::unit::{Step, Unit};
use domain::account::{Opening, Owner};
use domain::{AccountCommand, AccountId, Currency, Money, PostingId, UserId};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::Failure;
use crate::processor_time::ProcessorTime;
use crate::report::{Report, grouped, ratio};

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
}

/// The engine under test: `payments dev` as a user starts it.
struct Engine {
    process: Child,
    url: String,
    data: tempfile::TempDir,
}

/// What one run of wrk measured.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    payments_per_s: u64,
    events_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    /// Processor time of the engine, for each payment.
    engine_us: u64,
    /// Processor time of PostgreSQL, for each payment.
    postgres_us: u64,
}

pub(crate) async fn run(options: &PaymentsArguments) -> Result<Report, Failure> {
    let engine = Engine::start()?;
    let database_url = EmbeddedPostgres::database_url_for(engine.data.path())?;
    let database = Database::connect(&database_url, 8).await?;
    seed(&database, options.users).await?;
    if !options.alone {
        pgbench(&database_url, &["-i", "-s", "50", "-q"])?;
    }
    warm_up(&engine, &database, &database_url, options).await?;
    let (mut tps, mut at_64, mut at_400) = (vec![], vec![], vec![]);
    for round in 0..options.rounds {
        if !options.alone {
            tps.push(measure_pgbench(&database_url, options.seconds)?);
        }
        at_64.push(measure(&engine, &database, options, 64, round).await?);
        at_400.push(measure(&engine, &database, options, 400, round).await?);
    }
    let rss_mb = engine.rss_mb()?;
    engine.stop()?;
    let tps = tps.iter().sum::<u64>() / u64::try_from(tps.len().max(1))?;
    Ok(report(&mean(&at_64), &mean(&at_400), tps, rss_mb))
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

fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}

fn mean(loads: &[Load]) -> Load {
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

impl Engine {
    fn start() -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("payments");
        let data = tempfile::Builder::new().prefix("payments-bench-").tempdir()?;
        let mut process = Command::new(&program)
            .args(["dev", "--port", "0", "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}; build it with ./dev bench", program.display())
            })?;
        let output = process.stdout.take().ok_or("the engine has no stdout")?;
        for line in BufReader::new(output).lines() {
            if let Some(url) = line?.strip_prefix("ready ") {
                return Ok(Self { process, url: url.to_owned(), data });
            }
        }
        Err("the engine ended before it was ready; its log is above".into())
    }

    fn rss_mb(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1_024)
    }

    /// Ends the engine as a user does, and waits for it to stop its PostgreSQL.
    fn stop(mut self) -> Result<(), Failure> {
        Command::new("kill").arg(self.process.id().to_string()).status()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // After a failure: SIGTERM lets it stop its PostgreSQL before the folder goes.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.process.id().to_string()).status();
            let _ = self.process.wait();
        }
    }
}

/// Opens and fills the accounts through the event store itself: the load is what is measured.
async fn seed(database: &Database, users: u64) -> Result<(), Failure> {
    let store = PostgresEventStore::start(database, StoreSettings::default());
    let funding = AccountId::of_system("funding", Currency::USD, 15)?;
    let owner = Owner::System { purpose: "funding".to_owned() };
    store.execute(Unit::led_by(open(&funding, owner), context("seed"))).await?;
    let mut seeding: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for number in 0..users {
        let user_id = UserId::parse(&format!("USER_{number}"))?;
        let posting_id = PostingId::parse(&format!("seed_{number}"))?;
        let (store, funding) = (store.clone(), funding.clone());
        seeding.spawn(async move {
            let account = AccountId::of_user(&user_id, Currency::USD);
            let amount = Money::new(100_000_000, Currency::USD);
            let deposit = AccountCommand::Deposit {
                posting_id: posting_id.clone(),
                amount,
                reference: "seed".to_owned(),
            };
            let unit = Unit::led_by(open(&account, Owner::User { user_id }), context(posting_id.as_str()))
                .then(Step::Account(account, deposit))
                .then(Step::Account(funding, AccountCommand::Debit { posting_id, amount }))
                .expecting_new();
            store.execute(unit).await.map(|_| ())
        });
        if seeding.len() >= 1_000 {
            seeding.join_next().await.transpose()?.transpose()?;
        }
    }
    while let Some(seeded) = seeding.join_next().await {
        seeded??;
    }
    Ok(())
}

fn open(account_id: &AccountId, owner: Owner) -> Step {
    let opening = Opening { account_id: account_id.clone(), owner, currency: Currency::USD };
    Step::Account(account_id.clone(), AccountCommand::Open(opening))
}

fn context(correlation_id: &str) -> CommandContext {
    CommandContext {
        correlation_id: Arc::from(correlation_id),
        causation_id: Arc::from("bench"),
        actor: Arc::from("bench"),
        trace: Arc::new(TraceContext {
            traceparent: "00-00000000000000000000000000000001-0000000000000001-00".to_owned(),
            tracestate: None,
            baggage: None,
        }),
    }
}

async fn measure(
    engine: &Engine,
    database: &Database,
    options: &PaymentsArguments,
    connections: u64,
    round: u64,
) -> Result<Load, Failure> {
    let before = head(database).await?;
    let used_before = ProcessorTime::now(engine.process.id(), engine.data.path())?;
    let script = script("unique.lua")?;
    let output = Command::new("wrk")
        .args(["-t2", &format!("-c{connections}"), &format!("-d{}s", options.seconds), "--latency", "-s"])
        .arg(script)
        .arg(&engine.url)
        .args(["--", &format!("b{connections}r{round}"), &options.users.to_string()])
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

/// Both sides start warm: the accounts in the engine's cache, the tables in PostgreSQL's, and what
/// PostgreSQL does once after a checkpoint done, which is to log each page whole when it first changes.
async fn warm_up(
    engine: &Engine,
    database: &Database,
    database_url: &str,
    options: &PaymentsArguments,
) -> Result<(), Failure> {
    measure(engine, database, options, 400, options.rounds).await?;
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
    measure(engine, database, options, 400, options.rounds + 1).await?;
    Ok(())
}

/// A server that has run for a while has files of its log to use again. A new one has not, and stops
/// every half second to fill the next one with zeros. So it is led through 2.5 GB of its log, and a
/// checkpoint frees them for use again. The engine's own role may not do that.
async fn age(database_url: &str, data: &Path) -> Result<(), Failure> {
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

async fn head(database: &Database) -> Result<i64, Failure> {
    Ok(sqlx::query_scalar("select position from event_log_head").fetch_one(database.pool()).await?)
}

fn script(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing", path.display()).into()) }
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
