//! `payments dev`: everything in one process, with a private PostgreSQL and the sandbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use adapter_postgres::embedded::{ClusterSettings, EmbeddedPostgres};
use adapter_services::sandbox::{Sandbox, SandboxSettings};
use adapter_telemetry::Meters;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Failure;
use crate::arguments::DevArguments;
use crate::drain::Roles;
use crate::engine::{Engine, Neighbours};
use crate::serve::announce;
use crate::settings::Settings;
use crate::signals::{AT_ONCE, Shutdown};

/// Stops what was started, whatever became of the serving.
pub(crate) struct Dev {
    engine: Engine,
    listener: TcpListener,
    sandbox: Option<Sandbox>,
    postgres: EmbeddedPostgres,
}

pub(crate) async fn run(
    options: DevArguments,
    settings: Settings,
    meters: Arc<Meters>,
) -> Result<(), Failure> {
    let dev = Dev::start(options, &settings, meters).await?;
    let shutdown = Shutdown::listen()?;
    announce(dev.address()?, dev.engine.api.settings.tls.is_some());
    dev.serve(shutdown.requested(), shutdown.at_once()).await
}

impl Dev {
    /// Starts PostgreSQL and the sandbox, connects the engine, and listens.
    pub(crate) async fn start(
        options: DevArguments,
        settings: &Settings,
        meters: Arc<Meters>,
    ) -> Result<Self, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        // Bound before anything is made on disk: a port that is taken is the likeliest mistake.
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}; choose another --port"))?;
        let postgres = EmbeddedPostgres::start(ClusterSettings {
            data_dir: options.data_dir.clone(),
            bin_dir: options.pg_bin_dir,
            run_as: options.pg_user,
        })
        .await?;
        let started = async {
            let (sandbox, url) =
                Self::sandbox(options.sandbox_url, options.sandbox_port, &options.data_dir, settings).await?;
            let neighbours =
                Neighbours { database_url: postgres.database_url(), risk_url: url.clone(), channel_url: url };
            Ok((Engine::build(&neighbours, settings, meters).await?, sandbox))
        };
        match started.await {
            Ok((engine, sandbox)) => Ok(Self { engine, listener, sandbox, postgres }),
            Err(failure) => {
                postgres.stop().await?;
                Err(failure)
            }
        }
    }

    /// The services outside: those at a URL, or our own.
    async fn sandbox(
        url: Option<String>,
        port: u16,
        data_dir: &std::path::Path,
        settings: &Settings,
    ) -> Result<(Option<Sandbox>, String), Failure> {
        Ok(match url {
            Some(url) => (None, url),
            None => {
                let sandbox = Sandbox::start(SandboxSettings {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                    record_dir: Some(data_dir.join("sandbox")),
                    behaviour: settings.sandbox,
                })
                .await?;
                let url = sandbox.base_url();
                tracing::info!(url, "sandbox: risk service and payment channel");
                (Some(sandbox), url)
            }
        })
    }

    /// The API's address.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop`, then drains and stops what was started, PostgreSQL last; `at_once` ends the drain.
    pub(crate) async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        at_once: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let Self { mut engine, listener, sandbox, postgres } = self;
        let mut roles = Roles::default();
        roles.until_asked(engine.saga_role(roles.asked()));
        roles.until_the_end(engine.projector_role());
        roles.until_the_end(engine.measuring());
        roles.until_asked(engine.notifier_role(roles.asked()));
        if let Some(relay) = engine.relay_role(roles.asked()) {
            roles.until_asked(relay);
        }
        let (stopped, mut stopping) = watch::channel(false);
        let serving = async {
            let is_drained = tokio::select! {
                _ = roles.serve(listener, engine.api, stop) => true,
                () = at_once => false,
            };
            stopped.send_replace(true);
            is_drained
        };
        let supervising = postgres.supervise(async move {
            // An error means that the sender is gone, which is the end as well.
            let _ = stopping.wait_for(|stopped| *stopped).await;
        });
        let (is_drained, ()) = tokio::join!(serving, supervising);
        if let Some(sandbox) = sandbox {
            sandbox.stop().await;
        }
        postgres.stop().await?;
        if is_drained { Ok(()) } else { Err(AT_ONCE.into()) }
    }
}
