//! `payments serve`: the roles asked for, on a database of the operator's.

use std::net::SocketAddr;
use std::sync::Arc;

use adapter_telemetry::Meters;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::arguments::{Role, ServeArguments};
use crate::engine::{Engine, Neighbours};
use crate::settings::Settings;
use crate::signals::Shutdown;

pub(crate) async fn run(
    options: ServeArguments,
    mut settings: Settings,
    meters: Arc<Meters>,
) -> Result<(), Failure> {
    settings.http.for_production();
    let neighbours = Neighbours {
        database_url: options.database_url,
        risk_url: options.risk_url,
        channel_url: options.channel_url,
    };
    let mut engine = Engine::build(&neighbours, &settings, meters).await?;
    let shutdown = Shutdown::listen()?;
    let mut tasks = JoinSet::new();
    if options.roles.contains(&Role::Saga) {
        tasks.spawn(engine.saga_role());
    }
    if options.roles.contains(&Role::Projector) {
        tasks.spawn(engine.projector_role());
    }
    tasks.spawn(engine.measuring());
    let (mut draining, stop) = (JoinSet::new(), CancellationToken::new());
    if options.roles.contains(&Role::Relay) {
        let relay = engine.relay_role(stop.clone());
        draining.spawn(relay.ok_or("the role `relay` needs kafka.brokers (PAYMENTS_KAFKA__BROKERS)")?);
    }
    if options.roles.contains(&Role::Notifier) {
        draining.spawn(engine.notifier_role(stop.clone()));
    }
    // Every process tells how it is, whatever it does.
    engine.api.settings.only_health = !options.roles.contains(&Role::Api);
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}; choose another --listen", options.listen))?;
    announce(listener.local_addr()?, engine.api.settings.tls.is_some());
    let drained = adapter_http::serve(listener, engine.api, shutdown.requested()).await;
    stop.cancel();
    // What is under way to others is waited for; each bounds that by itself.
    while draining.join_next().await.is_some() {}
    tracing::info!(drained.open_connections, drained.running_commands, "stopped serving");
    Ok(())
}

/// Says where the API is, on a line of its own that scripts can wait for.
#[expect(clippy::print_stdout, reason = "the contract: `ready http://HOST:PORT` on stdout")]
pub(crate) fn announce(address: SocketAddr, by_tls: bool) {
    println!("ready {}://{address}", if by_tls { "https" } else { "http" });
}
