//! One tree of settings, from defaults, a TOML file and the environment, in this order.
//!
//! `PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS=5000` is `payment_timeout_ms` under `[saga]`.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `http`, `saga`, `kafka` and their like | a section each: its fields, their defaults, and what is wrong with them |
//! | `read` | how the layers become one tree, each value with where it comes from |
//! | `wrong` | what is wrong, all of it at once |
//! | `known` | the names of all settings, and the one that was meant |
//! | `secret` | which are not shown, and their files |
//! | `show` | the tree as it is in force |
//!
//! **To add a setting:** a field with a default in its section, its bounds in the section's `check`, its line in
//! `docs/configuration.md`, and a wrong value in `tests/wrong_values.rs`. Tests miss each that is left out.
//!
//! **Invariant:** each struct of the tree is `#[serde(deny_unknown_fields, default)]`: one wrong value says nothing
//! about any other, and a name that is not known is refused.

mod http;
mod kafka;
mod known;
mod log;
mod read;
mod saga;
mod secret;
mod services;
mod show;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;
mod webhooks;
mod wrong;

use std::path::Path;

use adapter_services::sandbox::{Behaviour, BehaviourError};
use serde::{Deserialize, Serialize};

pub(crate) use self::http::{Http, Jwt};
pub(crate) use self::kafka::Kafka;
pub(crate) use self::log::Log;
pub(crate) use self::read::{Loaded, load};
pub(crate) use self::saga::Saga;
pub(crate) use self::secret::read as read_secret;
pub(crate) use self::services::Services;
pub(crate) use self::show::{Shown, shown};
pub(crate) use self::store::{Idempotency, Store};
pub(crate) use self::telemetry::Telemetry;
pub(crate) use self::webhooks::Webhooks;
use self::wrong::Wrong;
pub(crate) use self::wrong::{Source, WrongSettings};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) log: Log,
    pub(crate) http: Http,
    pub(crate) saga: Saga,
    pub(crate) idempotency: Idempotency,
    pub(crate) store: Store,
    pub(crate) services: Services,
    pub(crate) webhooks: Webhooks,
    pub(crate) kafka: Kafka,
    pub(crate) telemetry: Telemetry,
    pub(crate) sandbox: Behaviour,
}

impl Settings {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// [`WrongSettings`] names each that is wrong, not only the first.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, WrongSettings> {
        load(file, std::env::vars_os()).map(|loaded| loaded.settings)
    }

    /// Each section looks at itself.
    fn check(&self, wrong: &mut Wrong) {
        self.log.check(wrong);
        self.http.check(wrong);
        self.saga.check(wrong);
        self.idempotency.check(wrong);
        self.store.check(wrong);
        self.services.check(wrong);
        self.webhooks.check(wrong);
        self.kafka.check(wrong);
        self.telemetry.check(wrong);
        for fault in self.sandbox.faults() {
            match fault {
                BehaviourError::LatencyTooLong { field, .. } => {
                    wrong.add(format!("sandbox.{field}"), "must be at most 60000: `stalled` is for longer");
                }
                BehaviourError::TooManyShares { .. } => wrong.add("sandbox", format!("is wrong: {fault}")),
            }
        }
    }
}
