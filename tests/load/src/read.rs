//! `read`: a rebuild of all read models beside the raw ordered read of the same log and beside stock
//! replay; and how soon an event is seen.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adapter_postgres::database::Database;
use clap::Args;
use futures::TryStreamExt;
use sqlx::{Connection, PgConnection, Row};

use crate::cluster::BenchDatabase;
use crate::lag::{Lag, measure_lag};
use crate::payments::millis;
use crate::report::{Report, grouped, per_second, ratio};
use crate::{Failure, fill, stock_views};

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct ReadArguments {
    /// Events of the log.
    #[arg(long, default_value_t = 5_000_000)]
    events: i64,
    /// Events that stock replays.
    #[arg(long, default_value_t = 100_000)]
    stock_events: i64,
    /// Seconds of the load under which the lag is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rebuilds and raw reads, interleaved.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Only the rebuilds and the raw reads.
    #[arg(long)]
    alone: bool,
    /// Only the lag.
    #[arg(long, conflicts_with = "alone")]
    only_lag: bool,
}

/// What a rebuild took.
struct Rebuilt {
    elapsed: Duration,
    /// Most memory that it had, in MB.
    rss_mb: u64,
}

pub(crate) async fn run(options: &ReadArguments) -> Result<Report, Failure> {
    let mut report =
        Report::new("read: the read models built anew, and how soon they see an event, fsync on");
    if !options.only_lag {
        rebuilds(options, &mut report).await?;
    }
    if !options.alone {
        say_lag(&mut report, &measure_lag(options.seconds).await?);
    }
    Ok(report)
}

async fn rebuilds(options: &ReadArguments, report: &mut Report) -> Result<(), Failure> {
    let cluster = BenchDatabase::start(None).await?;
    drop(Database::open(&cluster.url, 2).await?);
    let mut connection = PgConnection::connect(&cluster.url).await?;
    let begun = fill::accounts(&mut connection).await?;
    let payments = |events: i64| (events - begun).max(700) / 700 * 100;
    // A fifth of the log first: a rebuild's memory must not grow with it.
    let (fifth, all) = (payments(options.events / 5), payments(options.events));
    fill::payments(&mut connection, 0, fifth).await?;
    settle(&mut connection).await?;
    let small = rebuild(&cluster.url)?;
    fill::payments(&mut connection, fifth, all).await?;
    settle(&mut connection).await?;

    let (mut raw, mut narrow, mut rebuilt) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut events, mut rss_mb) = (0, 0);
    for _ in 0..options.rounds {
        let started = Instant::now();
        events = raw_read(&mut connection, WHOLE).await?;
        raw += started.elapsed();
        let started = Instant::now();
        raw_read(&mut connection, NARROW).await?;
        narrow += started.elapsed();
        let big = rebuild(&cluster.url)?;
        rebuilt += big.elapsed;
        rss_mb = big.rss_mb.max(rss_mb);
    }
    let rounds = u64::from(options.rounds);
    let (raw_per_s, per_s) = (per_second(events * rounds, raw), per_second(events * rounds, rebuilt));
    let narrow_per_s = per_second(events * rounds, narrow);

    report.row(
        "raw ordered read of the log",
        grouped(raw_per_s),
        format!("events a second, of {}", grouped(events)),
    );
    report.row("  of the columns that a rebuild reads", grouped(narrow_per_s), "events a second");
    report.row("rebuild of all read models", grouped(per_s), "events a second, all three in one pass");
    report.row("  its memory", format!("{rss_mb} MB"), format!("{} MB for a fifth of the log", small.rss_mb));
    report.key("raw_read_per_s", raw_per_s);
    report.key("raw_read_narrow_per_s", narrow_per_s);
    report.key("rebuild_per_s", per_s);
    report.key("rebuild_vs_raw_read", ratio(per_s, raw_per_s));
    report.key("rebuild_rss_mb", rss_mb);
    report.key("rebuild_rss_mb_fifth", small.rss_mb);
    if !options.alone {
        let stock = stock_views::replay(&cluster.url, options.stock_events).await?;
        let stock_per_s = per_second(u64::try_from(options.stock_events)?, stock);
        let note = format!("events a second, of {}", grouped(u64::try_from(options.stock_events)?));
        report.row("stock QueryReplay with GenericQuery", grouped(stock_per_s), note);
        report.key("stock_replay_per_s", stock_per_s);
        report.key("vs_stock_replay", ratio(per_s, stock_per_s));
    }
    drop(connection);
    cluster.stop().await
}

fn say_lag(report: &mut Report, lag: &Lag) {
    report.row(
        "from commit to visible",
        format!("p99 {} ms", millis(lag.p99_us)),
        format!(
            "p50 {} ms, over {} events at {} payments a second; full load is {}",
            millis(lag.p50_us),
            grouped(u64::try_from(lag.events).unwrap_or(0)),
            grouped(lag.half.payments_per_s),
            grouped(lag.full.payments_per_s)
        ),
    );
    report.key("lag_p50_ms", ratio(lag.p50_us, 1_000));
    report.key("lag_p99_ms", ratio(lag.p99_us, 1_000));
    report.key("lag_load", ratio(lag.half.payments_per_s, lag.full.payments_per_s));
}

/// What autovacuum and the checkpointer do in time: the log is then as one that has been there a while.
async fn settle(connection: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("vacuum (analyze) events").execute(connection).await?;
    Ok(())
}

/// Whole events, as the log has them.
const WHOLE: &str = "
select position, sequence, event_id, recorded_at, aggregate_type, aggregate_id, event_type, event_version,
       payload, correlation_id, causation_id, actor, traceparent, tracestate, baggage
  from events order by position";
/// What a rebuild reads of each event.
const NARROW: &str = "
select position, sequence, event_id, recorded_at, aggregate_type, aggregate_id, event_type, event_version,
       payload
  from events order by position";

/// The log in its order through one connection.
async fn raw_read(connection: &mut PgConnection, columns: &'static str) -> Result<u64, Failure> {
    let mut rows = sqlx::query(columns).fetch(connection);
    let (mut events, mut last) = (0, 0_i64);
    while let Some(row) = rows.try_next().await? {
        last = row.try_get(0)?;
        events += 1;
    }
    if i64::try_from(events)? != last {
        return Err(format!("{events} events were read up to position {last}").into());
    }
    Ok(events)
}

/// Runs `payments projections rebuild all`, as an operator does.
fn rebuild(url: &str) -> Result<Rebuilt, Failure> {
    let program = std::env::current_exe()?.with_file_name("payments");
    let started = Instant::now();
    let mut child = Command::new(&program)
        .args(["projections", "rebuild", "all"])
        .env("DATABASE_URL", url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}; build it with ./dev bench", program.display()))?;
    let mut rss_mb = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Gone between the two questions: the last answer stands.
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", child.id()))
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            rss_mb = line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        return Err(format!("the rebuild ended with {status}").into());
    }
    Ok(Rebuilt { elapsed: started.elapsed(), rss_mb })
}
