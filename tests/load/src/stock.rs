//! Stock `postgres-es` beside us: its own tables in the schema `stock`, with events of our log.

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Failure;

const TABLES: &str = "
create schema stock;
create table stock.events (
    aggregate_type text not null, aggregate_id text not null,
    sequence bigint check (sequence >= 0) not null, event_type text not null,
    event_version text not null, payload json not null, metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence));
create table stock.snapshots (
    aggregate_type text not null, aggregate_id text not null,
    last_sequence bigint check (last_sequence >= 0) not null,
    current_snapshot bigint check (current_snapshot >= 0) not null, payload json not null,
    primary key (aggregate_type, aggregate_id, last_sequence))";

/// Makes the tables, with our events up to a position; a pool that finds them.
pub(crate) async fn stock(url: &str, through: i64) -> Result<PgPool, Failure> {
    let options = PgConnectOptions::from_str(url)?.options([("search_path", "stock")]);
    let pool = PgPoolOptions::new()
        .max_connections(64)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options)
        .await?;
    for statement in TABLES.split(";\n") {
        sqlx::query(statement).execute(&pool).await?;
    }
    sqlx::query(
        "insert into stock.events
         select aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata
           from public.events where position <= $1",
    )
    .bind(through)
    .execute(&pool)
    .await?;
    sqlx::query("analyze").execute(&pool).await?;
    Ok(pool)
}
