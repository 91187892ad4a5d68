//! `payments sandbox`: the simulated risk service and payment channel alone.

use adapter_services::sandbox::{MAGIC, MAGIC_REFERENCES, Sandbox, SandboxSettings};

use crate::Failure;
use crate::arguments::SandboxArguments;
use crate::settings::Settings;
use crate::signals::Shutdown;

#[expect(clippy::print_stdout, reason = "says where it listens and what can be asked of it")]
pub(crate) async fn run(options: SandboxArguments, settings: &Settings) -> Result<(), Failure> {
    let sandbox = Sandbox::start(SandboxSettings {
        address: options.listen,
        record_dir: options.record_dir,
        behaviour: settings.sandbox,
    })
    .await?;
    println!("Risk and channel are simulated. Magic values of payment_method:");
    for (method, effect) in MAGIC {
        println!("  {method:<26} {effect}");
    }
    println!("Magic references of a withdrawal:");
    for (reference, effect) in MAGIC_REFERENCES {
        println!("  {reference:<26} {effect}");
    }
    println!("The channel's own record: curl {}/v1/charges", sandbox.base_url());
    let shutdown = Shutdown::listen()?;
    println!("ready {}", sandbox.base_url());
    shutdown.requested().await;
    sandbox.stop().await;
    Ok(())
}
