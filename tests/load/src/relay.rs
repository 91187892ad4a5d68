//! `relay`: the log published to Kafka beside the broker's own producer tool; payments with a relay and
//! without; and how soon an event is in Kafka.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use clap::Args;
use sqlx::{Connection, PgConnection, Row};

use crate::broker::Broker;
use crate::cluster::BenchDatabase;
use crate::engine::{Engine, seed};
use crate::kafka_lag::KafkaLag;
use crate::payments::{age, millis};
use crate::report::{Report, grouped, per_second, ratio};
use crate::wrk::{Run, measure};
use crate::{Failure, fill};

/// Records of the file that the producer tool draws from.
const PAYLOADS: i64 = 20_000;
const CONNECTIONS: u64 = 64;
const USERS: u64 = 100_000;

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct RelayArguments {
    /// Events of the log that is published.
    #[arg(long, default_value_t = 1_000_000)]
    events: i64,
    /// Seconds for each measurement of payments.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measurements of each kind, interleaved.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only the throughput.
    #[arg(long)]
    alone: bool,
}

/// A process that publishes.
struct Relay(Child);

impl Relay {
    fn start(database_url: &str, broker: &Broker, topics: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("payments");
        let nobody = "http://127.0.0.1:9";
        let child = Command::new(&program)
            .args(["serve", "--roles", "relay", "--listen", "127.0.0.1:0"])
            .args(["--risk-url", nobody, "--channel-url", nobody])
            .env("DATABASE_URL", database_url)
            .env("PAYMENTS_KAFKA__BROKERS", broker.address())
            .env("PAYMENTS_KAFKA__PAYMENTS_TOPIC", format!("payments.{topics}"))
            .env("PAYMENTS_KAFKA__ACCOUNTS_TOPIC", format!("accounts.{topics}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; build it: ./dev bench", program.display()))?;
        Ok(Self(child))
    }

    fn stop(mut self) -> Result<(), Failure> {
        Command::new("kill").arg(self.0.id().to_string()).status()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn run(options: &RelayArguments) -> Result<Report, Failure> {
    let mut report = Report::new("relay: the log published to Kafka, acks=all, fsync of the log on");
    let broker = Broker::start()?;
    throughput(options, &broker, &mut report).await?;
    if !options.alone {
        payments(options, &broker, &mut report).await?;
    }
    Ok(report)
}

async fn throughput(options: &RelayArguments, broker: &Broker, report: &mut Report) -> Result<(), Failure> {
    let cluster = BenchDatabase::start(None).await?;
    drop(Database::open(&cluster.url, 2).await?);
    let mut connection = PgConnection::connect(&cluster.url).await?;
    let begun = fill::accounts(&mut connection).await?;
    fill::payments(&mut connection, 0, (options.events - begun).max(700) / 700 * 100).await?;
    sqlx::query("vacuum (analyze) events").execute(&mut connection).await?;
    let (payloads, size) = payloads(&mut connection).await?;
    let head: i64 =
        sqlx::query_scalar("select position from event_log_head").fetch_one(&mut connection).await?;
    let records = u64::try_from(head)?;
    let (mut ours, mut theirs) = (0, 0);
    for round in 0..options.rounds {
        theirs += broker.perf_test(&format!("perf{round}"), records, payloads.path())?;
        ours += publish(&mut connection, &cluster.url, broker, &format!("r{round}"), head).await?;
    }
    let rounds = u64::from(options.rounds);
    let (ours, theirs) = (ours / rounds, theirs / rounds);
    report.row("relay, from a full log", grouped(ours), format!("events a second, of {}", grouped(records)));
    report.row(
        "kafka-producer-perf-test",
        grouped(theirs),
        format!("records a second, of {size} bytes each"),
    );
    report.key("relay_per_s", ours);
    report.key("perf_tool_per_s", theirs);
    report.key("record_bytes", size);
    report.key("relay_vs_perf_tool", ratio(ours, theirs));
    drop(connection);
    cluster.stop().await
}

/// Publishes the whole log from its beginning; events a second, from the first mark to the last.
async fn publish(
    connection: &mut PgConnection,
    url: &str,
    broker: &Broker,
    topics: &str,
    head: i64,
) -> Result<u64, Failure> {
    sqlx::query("delete from checkpoints where name = 'relay'").execute(&mut *connection).await?;
    let relay = Relay::start(url, broker, topics)?;
    let mut first: Option<(Instant, i64)> = None;
    let rate = loop {
        let query = sqlx::query_scalar("select position from checkpoints where name = 'relay'");
        let position: i64 = query.fetch_optional(&mut *connection).await?.unwrap_or(0);
        if position > 0 && first.is_none() {
            first = Some((Instant::now(), position));
        }
        if let Some((began, from)) = first
            && position >= head
        {
            break per_second(u64::try_from(head - from)?, began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    relay.stop()?;
    Ok(rate)
}

/// A file of records as the relay sends them, a line each, and their mean size in bytes.
async fn payloads(connection: &mut PgConnection) -> Result<(tempfile::NamedTempFile, u64), Failure> {
    let rows = sqlx::query(
        "select aggregate_id || payload::text
                || concat('ce_specversion1.0ce_id', event_id, 'ce_sourcepaymentsce_typepayments.', event_type,
                          'ce_subject', aggregate_id, 'ce_time', to_char(recorded_at, 'YYYY-MM-DDTHH24:MI:SS.USZ'),
                          'content-typeapplication/jsonce_aggregatetype', aggregate_type, 'ce_sequence', sequence,
                          'ce_eventversion', event_version, 'ce_correlationid', correlation_id,
                          'ce_causationid', causation_id, 'ce_actor', actor, 'position', position,
                          'traceparent', traceparent, 'baggage', baggage)
           from events order by position desc limit $1",
    )
    .bind(PAYLOADS)
    .fetch_all(connection)
    .await?;
    let mut file = tempfile::NamedTempFile::new()?;
    let mut bytes = 0;
    for row in &rows {
        let line: String = row.try_get(0)?;
        bytes += u64::try_from(line.len())?;
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok((file, bytes / u64::try_from(rows.len().max(1))?))
}

/// Payments with a relay beside the engine and without, in turns; then the lag at half of what they reach.
async fn payments(options: &RelayArguments, broker: &Broker, report: &mut Report) -> Result<(), Failure> {
    let engine = Engine::start()?;
    let url = EmbeddedPostgres::database_url_for(engine.data.path())?;
    let database = Database::connect(&url, 8).await?;
    seed(&database, USERS).await?;
    let run = |name: String, pause_ms| Run {
        name,
        connections: CONNECTIONS,
        seconds: options.seconds,
        users: USERS,
        pause_ms,
    };
    measure(&engine, &database, &run("warm".to_owned(), 0)).await?;
    age(&url, engine.data.path()).await?;
    let (mut with, mut without) = (0, 0);
    let mut p50_us = 0;
    for round in 0..options.rounds {
        without += measure(&engine, &database, &run(format!("off{round}"), 0)).await?.payments_per_s;
        let relay = Relay::start(&url, broker, "events")?;
        caught_up(&url).await?;
        let load = measure(&engine, &database, &run(format!("on{round}"), 0)).await?;
        with += load.payments_per_s;
        p50_us = load.p50_us;
        relay.stop()?;
    }
    let rounds = u64::from(options.rounds);
    let (with, without) = (with / rounds, without / rounds);
    report.row("payments without a relay", grouped(without), format!("a second, {CONNECTIONS} connections"));
    report.row("payments with a relay", grouped(with), "a second, relay and broker on the same two cores");
    report.key("payments_per_s_off", without);
    report.key("payments_per_s_on", with);
    report.key("payments_with_relay", ratio(with, without));

    let relay = Relay::start(&url, broker, "events")?;
    caught_up(&url).await?;
    // At half the rate each connection has twice the time for a payment, of which it waits the most.
    let cycle_ms = 2 * CONNECTIONS * 1_000 / with.max(1);
    let pause_ms = cycle_ms.saturating_sub(p50_us / 2_000).max(1);
    let watching = KafkaLag::watch(&broker.address(), &["payments.events", "accounts.events"])?;
    let half = measure(&engine, &database, &run("half".to_owned(), pause_ms)).await?;
    caught_up(&url).await?;
    let lag = watching.stop().await?;
    relay.stop()?;
    engine.stop()?;
    report.row(
        "from commit to Kafka",
        format!("p99 {} ms", millis(lag.p99_us)),
        format!(
            "p50 {} ms, as a consumer sees {} events at {} payments a second",
            millis(lag.p50_us),
            grouped(lag.events),
            grouped(half.payments_per_s)
        ),
    );
    report.key("lag_p50_ms", ratio(lag.p50_us, 1_000));
    report.key("lag_p99_ms", ratio(lag.p99_us, 1_000));
    report.key("lag_load", ratio(half.payments_per_s, with));
    Ok(())
}

/// Waits until the whole log is published.
async fn caught_up(url: &str) -> Result<(), Failure> {
    let mut connection = PgConnection::connect(url).await?;
    loop {
        let query = sqlx::query_scalar(
            "select exists (select from checkpoints c, event_log_head h
                             where c.name = 'relay' and c.position = h.position)",
        );
        if query.fetch_one(&mut connection).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
