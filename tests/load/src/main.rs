//! Benchmarks: each runs us and a peer side by side, on one PostgreSQL with fsync on, in one run.
//!
//! Absolute figures depend on the machine and its mood; the ratios are what counts. A table for
//! people goes to stdout; with `--json` the last line is one JSON object.

mod append;
mod broker;
mod cluster;
mod engine;
mod fill;
mod gateway;
mod kafka_lag;
mod lag;
mod payments;
mod processor_time;
mod read;
mod relay;
mod report;
mod stock;
mod stock_views;
mod telemetry;
mod wrk;

use clap::{Parser, Subcommand};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Benchmarks of the payment engine, each beside its peer", version)]
struct Arguments {
    /// End with one JSON object on a line of its own.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Commands through CqrsFramework on our store, beside stock postgres-es and a raw writer.
    Append(append::AppendArguments),
    /// Whole payments through HTTP, beside pgbench TPC-B on the same PostgreSQL.
    Payments(payments::PaymentsArguments),
    /// The read side: a rebuild beside the raw read of the log and beside stock replay; how soon an
    /// event is seen.
    Read(read::ReadArguments),
    /// The log published to Kafka beside the broker's own producer tool; payments with and without it;
    /// how soon an event is in Kafka.
    Relay(relay::RelayArguments),
    /// Payments without telemetry, with a tenth of the traces kept, and with all of them.
    Telemetry(telemetry::TelemetryArguments),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let report = match arguments.benchmark {
        Benchmark::Append(options) => append::run(&options).await?,
        Benchmark::Payments(options) => payments::run(&options).await?,
        Benchmark::Read(options) => read::run(&options).await?,
        Benchmark::Relay(options) => relay::run(&options).await?,
        Benchmark::Telemetry(options) => telemetry::run(&options).await?,
    };
    report.print(arguments.json);
    Ok(())
}
