//! One file for each behaviour; `support/` starts the real parts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod accounts;
mod alerts;
mod bad_input;
mod causality;
mod cut_connections;
mod deploy;
mod embedded;
mod engine_crash;
mod event_log;
mod event_store;
mod idempotency;
mod jaeger;
mod kafka_secured;
mod layers;
mod notifier_kafka;
mod point_in_time;
mod postgres_crash;
mod private_cluster;
mod projector;
mod prometheus;
mod races;
mod reading;
mod rebuild;
mod relay;
mod relay_crash;
mod review;
mod review_races;
mod saga;
mod seeded_load;
mod smoke;
mod store_framework;
mod store_memory;
mod store_processes;
mod telemetry;
mod trace_explorer;
mod traces;
mod transfer;
mod transfer_refused;
mod two_engines;
mod webhooks;
mod webhooks_crash;
mod webhooks_inbox;
mod webhooks_refused;
