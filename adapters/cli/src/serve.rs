//! `payments serve`: the roles asked for, on a database of the operator's.

use std::net::SocketAddr;
use std::sync::Arc;

use adapter_telemetry::Meters;
use tokio::net::TcpListener;

use crate::Failure;
use crate::arguments::{Role, ServeArguments};
use crate::drain::Roles;
use crate::engine::{Engine, Neighbours};
use crate::settings::Settings;
use crate::signals::{AT_ONCE, Shutdown};

/// What a process says that was told of no database.
const NO_DATABASE: &str =
    "which database? Name it by DATABASE_URL, or by a file that DATABASE_URL_FILE names";

pub(crate) async fn run(
    options: ServeArguments,
    mut settings: Settings,
    meters: Arc<Meters>,
) -> Result<(), Failure> {
    settings.http.for_production();
    let neighbours = Neighbours {
        database_url: options.database.read()?.ok_or(NO_DATABASE)?,
        risk_url: options.risk_url,
        channel_url: options.channel_url,
    };
    let mut engine = Engine::build(&neighbours, &settings, meters).await?;
    let shutdown = Shutdown::listen()?;
    let mut roles = Roles::default();
    if options.roles.contains(&Role::Saga) {
        roles.until_asked(engine.saga_role(roles.asked()));
    }
    if options.roles.contains(&Role::Projector) {
        roles.until_the_end(engine.projector_role());
    }
    roles.until_the_end(engine.measuring());
    if options.roles.contains(&Role::Relay) {
        let relay = engine.relay_role(roles.asked());
        roles.until_asked(relay.ok_or("the role `relay` needs kafka.brokers (PAYMENTS_KAFKA__BROKERS)")?);
    }
    if options.roles.contains(&Role::Notifier) {
        roles.until_asked(engine.notifier_role(roles.asked()));
    }
    // Every process tells how it is, whatever it does.
    engine.api.settings.only_health = !options.roles.contains(&Role::Api);
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}; choose another --listen", options.listen))?;
    announce(listener.local_addr()?, engine.api.settings.tls.is_some());
    tokio::select! {
        _ = roles.serve(listener, engine.api, shutdown.requested()) => Ok(()),
        () = shutdown.at_once() => end_at_once(),
    }
}

/// Ends the process where it is. Nothing is waited for, not even a collector that is told the last of it.
#[expect(clippy::print_stderr, reason = "the last word of a process that is not let end by itself")]
fn end_at_once() -> ! {
    eprintln!("payments: {AT_ONCE}");
    std::process::exit(1)
}

/// Says where the API is, on a line of its own that scripts can wait for.
#[expect(clippy::print_stdout, reason = "the contract: `ready http://HOST:PORT` on stdout")]
pub(crate) fn announce(address: SocketAddr, by_tls: bool) {
    println!("ready {}://{address}", if by_tls { "https" } else { "http" });
}
