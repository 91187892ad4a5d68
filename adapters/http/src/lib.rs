//! The command API over HTTP.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`mod@router`] | the routes |
//! | `edge` | what every request passes: trace, bound on requests, time limit, problems |
//! | `gate` | who calls, and what they may do |
//! | `payments`, `transfers`, `withdrawals`, `accounts`, `events`, `traces`, `webhooks`, `health` | the handlers, one module per noun |
//! | `body`, `fields`, `path` | from bytes to valid values; every refusal names its field |
//! | `reading` | waiting for the read models, pages, cursors |
//! | `keyed` | idempotency keys and the hash of what was asked |
//! | `trace`, `ids` | W3C trace context in, identifiers made here |
//! | `jaeger` | links into Jaeger's pages |
//! | [`openapi`] | the contract as OpenAPI, and the page that shows it |
//! | `problem`, [`answers`] | RFC 9457 problems, and the bodies that are recorded under a key |
//! | `slow_body`, `headers` | a body's time limit; what every answer has |
//! | [`server`], `connections`, `patient`, `tls` | connections, their limits, and the drain at the end |
//!
//! Start at [`router()`], then follow `payments::create`.
//!
//! **Invariants:** a command runs in a task of its own, so that it goes on when its caller goes
//! away; no amount passes through a float; a refusal shows nothing internal, a 500 its trace id only.

mod accounts;
mod admission;
pub mod answers;
mod body;
mod card_number;
mod connections;
mod edge;
mod events;
mod fields;
mod gate;
mod headers;
mod health;
mod ids;
mod jaeger;
mod keyed;
pub mod openapi;
mod path;
mod patient;
mod payments;
mod problem;
mod reading;
pub mod router;
pub mod server;
mod settings;
mod shared;
mod slow_body;
#[cfg(test)]
mod tests;
mod tls;
mod trace;
mod traces;
mod transfers;
mod webhooks;
mod withdrawals;

pub use answers::JsonAnswers;
pub use axum::http::HeaderValue;
pub use events::event_json;
pub use gate::{Access, NewKey, Rate, RateLimits};
pub use jaeger::{HandlersLink, JaegerUi, NotAJaeger};
pub use router::router;
pub use server::{Drained, serve};
pub use settings::{Authentication, HttpSettings, JwtAlgorithm, JwtSettings};
pub use shared::{Api, Metrics, Services, Webhooks};
pub use tls::{Tls, TlsError};
pub use webhooks::view::{delivery_json, endpoint_json};
