//! The peer of a rebuild: stock `QueryReplay` with `GenericQuery` on the same events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs_es::persist::{GenericQuery, QueryReplay};
use cqrs_es::{EventEnvelope, View};
use domain::{Account, Payment, PaymentEvent};
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::stock::stock;

const VIEWS: [&str; 2] = [
    "create table balances (view_id text primary key, version bigint not null, payload json not null)",
    "create table payments (view_id text primary key, version bigint not null, payload json not null)",
];

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

/// Replays the first events of the log into stock's views.
pub(crate) async fn replay(url: &str, events: i64) -> Result<Duration, Failure> {
    let pool = stock(url, events).await?;
    for statement in VIEWS {
        sqlx::query(statement).execute(&pool).await?;
    }
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
        "select (select coalesce(sum(version), 0) from balances)::bigint
              + (select coalesce(sum(version), 0) from payments)::bigint",
    )
    .fetch_one(&pool)
    .await?;
    if seen != events {
        return Err(format!("stock replay has seen {seen} of {events} events").into());
    }
    Ok(elapsed)
}
