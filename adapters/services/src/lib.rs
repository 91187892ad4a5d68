//! The services outside the engine: clients of risk, channel and webhook receivers, and a sandbox that plays
//! the first two.
//!
//! | module | is |
//! | --- | --- |
//! | [`risk`] | [`risk::HttpRisk`], the engine's `RiskService` |
//! | [`channel`] | [`channel::HttpChannel`], the engine's `PaymentChannel`: start here for what is Unknown |
//! | [`webhook`] | [`webhook::HttpWebhooks`], which signs and sends webhooks |
//! | [`guard`] | where webhooks may be sent to |
//! | [`breaker`] | the circuit breaker that each client has of its own; beside it, `bulkhead` |
//! | [`reach`] | whether a service can be reached at all, for who looks after it |
//! | [`jaeger`] | asks Jaeger for spans, for the operator's tool |
//! | [`key_set`] | fetches the public keys that tokens are signed by |
//! | [`sandbox`] | the simulated services, and with them the wire contract |
//!
//! What the clients share (the connection pool, the time limit, the trace headers) is in
//! `remote`.
//!
//! **Invariants.** No call outlasts its configured time. No request that may have reached a
//! service is sent a second time from here: whether to ask again is the saga's decision. What a
//! client says of a failure is fit to be stored in an event for ever: no address, no error text of
//! a library.

pub mod breaker;
mod bulkhead;
pub mod channel;
pub mod guard;
pub mod jaeger;
pub mod key_set;
pub mod reach;
mod remote;
pub mod risk;
pub mod sandbox;
#[cfg(test)]
mod tests;
pub mod webhook;

pub use remote::{Limits, SetupError};
