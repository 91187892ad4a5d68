//! Benchmarks: each runs us and a peer side by side, on one PostgreSQL with fsync on, in one run.
//!
//! Absolute figures depend on the machine and its mood; the ratios are what counts. A table for
//! people goes to stdout; with `--json` the last line is one JSON object.

mod append;
mod cluster;
mod payments;
mod processor_time;
mod report;

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
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let report = match arguments.benchmark {
        Benchmark::Append(options) => append::run(&options).await?,
        Benchmark::Payments(options) => payments::run(&options).await?,
    };
    report.print(arguments.json);
    Ok(())
}
