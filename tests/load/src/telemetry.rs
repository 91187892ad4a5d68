//! `telemetry`: payments without telemetry beside payments with a tenth and with all of the traces kept,
//! metrics and logs sent as well, to a collector that takes them on the same processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use clap::Args;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Failure;
use crate::engine::{Engine, folder, seed};
use crate::payments::{age, mean, millis};
use crate::report::{Report, grouped, ratio};
use crate::wrk::{Load, Run, measure};

const CONNECTIONS: u64 = 64;
const USERS: u64 = 100_000;
/// Seconds that each engine runs before it is measured.
const WARM_UP: u64 = 3;

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct TelemetryArguments {
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measurements of each kind, interleaved.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

/// Takes what comes. It ends with the value.
struct Collector {
    address: String,
    bytes: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Result<Self, Failure> {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let take = move |body: Bytes| {
            counter.fetch_add(u64::try_from(body.len()).unwrap_or(0), Ordering::Relaxed);
            async {}
        };
        let app =
            Router::new().route("/v1/{signal}", post(take)).layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, bytes, _serving: serving })
    }
}

pub(crate) async fn run(options: &TelemetryArguments) -> Result<Report, Failure> {
    let collector = Collector::start().await?;
    let data = folder()?;
    prepare(&data).await?;
    let sent_to = |share| {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER_ARG", share),
        ]
    };
    let kinds = [("off", vec![]), ("10", sent_to("0.1")), ("100", sent_to("1"))];
    let mut loads: [Vec<Load>; 3] = [vec![], vec![], vec![]];
    let mut taken = [0; 3];
    for round in 0..options.rounds {
        for (kind, (name, environment)) in kinds.iter().enumerate() {
            let before = collector.bytes.load(Ordering::Relaxed);
            let engine = Engine::start_on(Arc::clone(&data), environment)?;
            let database = Database::connect(&EmbeddedPostgres::database_url_for(data.path())?, 2).await?;
            let run = |name: String, seconds| Run {
                name,
                connections: CONNECTIONS,
                seconds,
                users: USERS,
                pause_ms: 0,
            };
            measure(&engine, &database, &run(format!("w{name}r{round}"), WARM_UP)).await?;
            let load = measure(&engine, &database, &run(format!("t{name}r{round}"), options.seconds)).await?;
            engine.stop()?;
            if let (Some(loads), Some(taken)) = (loads.get_mut(kind), taken.get_mut(kind)) {
                loads.push(load);
                *taken += collector.bytes.load(Ordering::Relaxed) - before;
            }
        }
    }
    let [off, tenth, all] = loads.map(|loads| mean(&loads));
    if taken[0] > 0 || taken[1] == 0 || taken[2] <= taken[1] {
        return Err(format!("what the collector took does not fit what was kept: {taken:?} bytes").into());
    }
    Ok(report(off, tenth, all, taken[2] / 1_000_000))
}

/// Accounts for the load, and a server that has run for a while.
async fn prepare(data: &Arc<TempDir>) -> Result<(), Failure> {
    let engine = Engine::start_on(Arc::clone(data), &[])?;
    let database_url = EmbeddedPostgres::database_url_for(data.path())?;
    seed(&Database::connect(&database_url, 8).await?, USERS).await?;
    age(&database_url, data.path()).await?;
    engine.stop()
}

fn report(off: Load, tenth: Load, all: Load, megabytes: u64) -> Report {
    let title = "telemetry: payments with and without, 64 connections, the collector on the same processors";
    let mut report = Report::new(title);
    for (name, load) in [("off", off), ("a tenth of the traces", tenth), ("all traces", all)] {
        report.row(
            name,
            grouped(load.payments_per_s),
            format!(
                "payments a second, p99 {} ms, engine {} us a payment",
                millis(load.p99_us),
                load.engine_us
            ),
        );
    }
    report.row("the collector took", format!("{megabytes} MB"), "with all traces");
    report.key("payments_per_s_off", off.payments_per_s);
    report.key("at_10", ratio(tenth.payments_per_s, off.payments_per_s));
    report.key("at_100", ratio(all.payments_per_s, off.payments_per_s));
    report
}
