//! HTTP clients of the risk service and the payment channel, and the sandbox that simulates both.

pub mod sandbox;
