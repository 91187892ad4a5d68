//! The peer of a rebuild: stock `QueryReplay` with `GenericQuery` on the same events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs_es::persist::{GenericQuery, QueryReplay};
use cqrs_es::{EventEnvelope, View};
use domain::{Account, Payment, PaymentEvent};
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::Failure;

const TABLES: &str = "
create schema stock;
create table stock.events (
    aggregate_type text not null, aggregate_id text not null,
    sequence bigint check (sequence >= 0) not null, event_type text not null,
    event_version text not null, payload json not null, metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence));
create table stock.balances (view_id text primary key, version bigint not null, payload json not null);
create table stock.payments (view_id text primary key, version bigint not null, payload json not null)";

/// What an account has.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Balance {
    posted: i64,
    held: i64,
}

impl View<Account> for Balance {
    fn update(&mut self, event: &EventEnvelope<Account>) {
        self.posted += event.payload.posted_minor();
        self.held += event.payload.held_minor();
    }
}

/// Where a payment is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Status {
    status: String,
    captured: Option<i64>,
}

impl View<Payment> for Status {
    fn update(&mut self, event: &EventEnvelope<Payment>) {
        event.payload.name().clone_into(&mut self.status);
        if let PaymentEvent::PaymentCompleted { captured, .. } = &event.payload {
            self.captured = Some(captured.minor);
        }
    }
}

/// Copies the first events of the log into stock's tables and replays them into its views. The pool
/// finds its tables in the schema `stock`.
pub(crate) async fn replay(pool: &PgPool, events: i64) -> Result<Duration, Failure> {
    for statement in TABLES.split(";\n") {
        sqlx::query(statement).execute(pool).await?;
    }
    sqlx::query(
        "insert into stock.events
         select aggregate_type, aggregate_id, sequence, event_type, event_version, payload, '{}'::json
           from public.events where position <= $1",
    )
    .bind(events)
    .execute(pool)
    .await?;
    sqlx::query("analyze stock.events").execute(pool).await?;
    let repository = || PostgresEventRepository::new(pool.clone());
    let started = Instant::now();
    let balances: Arc<PostgresViewRepository<Balance, Account>> =
        Arc::new(PostgresViewRepository::new("balances", pool.clone()));
    let replay: QueryReplay<_, _, Account> = QueryReplay::new(repository(), GenericQuery::new(balances));
    replay.replay_all().await?;
    let payments: Arc<PostgresViewRepository<Status, Payment>> =
        Arc::new(PostgresViewRepository::new("payments", pool.clone()));
    let replay: QueryReplay<_, _, Payment> = QueryReplay::new(repository(), GenericQuery::new(payments));
    replay.replay_all().await?;
    let elapsed = started.elapsed();
    // Stock says Ok of a replay that broke off; what it has seen is counted by its versions.
    let seen: i64 = sqlx::query_scalar(
        "select (select coalesce(sum(version), 0) from stock.balances)::bigint
              + (select coalesce(sum(version), 0) from stock.payments)::bigint",
    )
    .fetch_one(pool)
    .await?;
    if seen != events {
        return Err(format!("stock replay has seen {seen} of {events} events").into());
    }
    Ok(elapsed)
}
