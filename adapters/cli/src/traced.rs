//! Which commands tell of themselves by OTLP, and under which names.

use adapter_telemetry::Service;

use crate::arguments::{Command, Role};

/// The share of traces that is kept in production, where the operator gives none.
const IN_PRODUCTION: f64 = 0.1;

impl Command {
    /// Who this command is, where the environment says where telemetry goes; without one only log lines tell of it.
    pub(crate) fn service(&self) -> Option<Service> {
        let (name, environment, share) = match self {
            Self::Dev(_) | Self::Demo(_) => ("payments", "development", 1.0),
            Self::Serve(options) => (service_of(&options.roles), "production", IN_PRODUCTION),
            Self::Sandbox(_) => ("payments-sandbox", "development", 1.0),
            // What resolves a payment records events; what replays or rebuilds tells where they came from.
            Self::Review(_) | Self::Replay(_) | Self::Projections(_) => {
                ("payments-tools", "production", IN_PRODUCTION)
            }
            Self::Events(_)
            | Self::Keys(_)
            | Self::Relay(_)
            | Self::Trace(_)
            | Self::Webhooks(_)
            | Self::Config(_)
            | Self::Doctor(_)
            | Self::Migrate(_)
            | Self::Openapi => return None,
        };
        Some(Service { name, environment, share })
    }
}

/// A process of one role is a service of its own.
fn service_of(roles: &[Role]) -> &'static str {
    match roles {
        [Role::Api] => "payments-api",
        [Role::Saga] => "payments-saga",
        [Role::Projector] => "payments-projector",
        [Role::Notifier] => "payments-notifier",
        [Role::Relay] => "payments-relay",
        _ => "payments",
    }
}
