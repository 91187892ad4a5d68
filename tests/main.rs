//! One file for each behaviour; `support/` starts the real parts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod accounts;
mod bad_input;
mod embedded;
mod idempotency;
mod layers;
mod private_cluster;
mod races;
mod saga;
mod seeded_load;
mod smoke;
