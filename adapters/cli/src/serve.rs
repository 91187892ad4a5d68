//! `payments serve`: the roles asked for, on a database of the operator's.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Failure;
use crate::arguments::{Role, ServeArguments};
use crate::engine::{Engine, Neighbours};
use crate::settings::Settings;
use crate::signals::Shutdown;

pub(crate) async fn run(options: ServeArguments, settings: Settings) -> Result<(), Failure> {
    let neighbours = Neighbours {
        database_url: options.database_url,
        risk_url: options.risk_url,
        channel_url: options.channel_url,
    };
    let mut engine = Engine::build(&neighbours, &settings).await?;
    let shutdown = Shutdown::listen()?;
    let mut tasks = JoinSet::new();
    if options.roles.contains(&Role::Saga) {
        tasks.spawn(engine.saga_role());
    }
    if options.roles.contains(&Role::Projector) {
        tasks.spawn(engine.projector_role());
    }
    let (stopped, stopping) = watch::channel(false);
    let mut notifying = JoinSet::new();
    if options.roles.contains(&Role::Notifier) {
        notifying.spawn(engine.notifier_role(stopping));
    }
    // Every process tells how it is, whatever it does.
    engine.api.settings.only_health = !options.roles.contains(&Role::Api);
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}; choose another --listen", options.listen))?;
    announce(listener.local_addr()?);
    let stop = async move {
        shutdown.requested().await;
        stopped.send_replace(true);
    };
    let drained = adapter_http::serve(listener, engine.api, stop).await;
    // Webhooks on their way come to their end, which their time limit bounds.
    notifying.join_all().await;
    tracing::info!(drained.open_connections, drained.running_commands, "stopped serving");
    Ok(())
}

/// Says where the API is, on a line of its own that scripts can wait for.
#[expect(clippy::print_stdout, reason = "the contract: `ready http://HOST:PORT` on stdout")]
pub(crate) fn announce(address: SocketAddr) {
    println!("ready http://{address}");
}
