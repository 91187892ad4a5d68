//! `payments`: the composition root. It reads settings, builds adapters and hands them to the role
//! that was asked for; it decides nothing itself.

mod arguments;
mod config;
mod connect;
mod demo;
mod dev;
mod doctor;
mod drain;
mod engine;
mod event_line;
mod events;
mod key_set;
mod keys;
mod migrate;
mod notifier;
mod open_files;
mod openapi;
mod output;
mod progress;
mod projections;
mod relay;
mod replay;
mod review;
mod sandbox;
mod serve;
mod settings;
mod signals;
mod stretch;
mod trace;
mod traced;
mod webhooks;

use std::process::ExitCode;
use std::sync::Arc;

use adapter_telemetry::Meters;
use clap::Parser;

use self::arguments::{Arguments, Command};

/// A payment makes a few hundred small allocations on whichever thread it runs; the system's
/// allocator took a fifth of the engine's time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever keeps a command from doing its work, said so that the user knows what to do.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = tokio::runtime::Runtime::new().map_err(Failure::from).and_then(|runtime| {
        let code = runtime.block_on(run(arguments));
        // A thread that waits for a broker that is away must not hold the end up.
        runtime.shutdown_background();
        code
    });
    code.unwrap_or_else(|failure| {
        report(&failure);
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Command::Config(options) = &arguments.command {
        return config::run(&options.tool, arguments.config.as_deref());
    }
    let settings = settings::Settings::load(arguments.config.as_deref())?;
    let service = arguments.command.service();
    let telemetry = adapter_telemetry::start(&settings.log.filter, settings.log.format(), service)?;
    if telemetry.keeps_traces() {
        commands::spans::keep();
    }
    let ended = carry_out(arguments.command, settings, telemetry.meters()).await;
    // It waits for the collector, on a thread that may.
    tokio::task::spawn_blocking(move || telemetry.end()).await?;
    ended
}

async fn carry_out(
    command: Command,
    settings: settings::Settings,
    meters: Arc<Meters>,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Dev(options) => dev::run(options, settings, meters).await?,
        Command::Serve(options) => serve::run(options, settings, meters).await?,
        Command::Sandbox(options) => sandbox::run(options, &settings).await?,
        Command::Demo(options) => demo::run(options, settings, meters).await?,
        Command::Events(options) => return events::run(options).await,
        Command::Replay(options) => return replay::run(options, &settings).await,
        Command::Keys(options) => return keys::run(options).await,
        Command::Relay(options) => return relay::run(options).await,
        Command::Projections(options) => return projections::run(options).await,
        Command::Review(options) => return review::run(options, settings).await,
        Command::Trace(options) => return trace::run(options).await,
        Command::Webhooks(options) => return webhooks::run(options).await,
        Command::Doctor(options) => return doctor::run(&options, &settings).await,
        Command::Migrate(options) => migrate::run(&options.database).await?,
        // Carried out before: it is there for settings that nothing else can be done with.
        Command::Config(_) => {}
        Command::Openapi => openapi::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the last word of a command that failed is for its user")]
fn report(failure: &Failure) {
    eprintln!("payments: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
