//! How soon an event is seen: from its commit until a reader of the read models finds it folded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;

use crate::Failure;
use crate::engine::{Engine, seed};
use crate::payments::age;
use crate::wrk::{Load, Run, measure};

/// Connections of the load, as in the benchmark of payments.
const CONNECTIONS: u64 = 64;
const USERS: u64 = 100_000;

/// Microseconds from an event's record to its being seen, and the load meanwhile.
pub(crate) struct Lag {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) events: usize,
    pub(crate) full: Load,
    pub(crate) half: Load,
}

/// At what position all read models were found, and when, in microseconds since 1970.
type Seen = (i64, i64);

/// Measures it under half of the load that the engine can take.
pub(crate) async fn measure_lag(seconds: u64) -> Result<Lag, Failure> {
    let engine = Engine::start()?;
    let url = EmbeddedPostgres::database_url_for(engine.data.path())?;
    let database = Database::connect(&url, 8).await?;
    seed(&database, USERS).await?;
    let run = |name: &str, seconds, pause_ms| Run {
        name: name.to_owned(),
        connections: CONNECTIONS,
        seconds,
        users: USERS,
        pause_ms,
    };
    measure(&engine, &database, &run("warm", 5, 0)).await?;
    age(&url, engine.data.path()).await?;
    let full = measure(&engine, &database, &run("full", seconds.min(10), 0)).await?;
    // At half the rate each connection has twice the time for a payment, of which it waits the most.
    let cycle_ms = 2 * CONNECTIONS * 1_000 / full.payments_per_s.max(1);
    let pause_ms = cycle_ms.saturating_sub(full.p50_us / 2_000).max(1);
    let before = crate::wrk::head(&database).await?;
    let (stop, stopped) = watch::channel(false);
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(watch_positions(url.clone(), stopped));
    let half = measure(&engine, &database, &run("half", seconds, pause_ms)).await?;
    let after = crate::wrk::head(&database).await?;
    stop.send_replace(true);
    let seen = watching.join_next().await.ok_or("nobody has watched")???;
    let mut lags = lags(&url, before, after, &seen).await?;
    engine.stop()?;
    lags.sort_unstable();
    let at = |part: usize| lags.get(lags.len() * part / 100).copied().unwrap_or(0);
    Ok(Lag { p50_us: at(50), p99_us: at(99), events: lags.len(), full, half })
}

/// Asks again and again where the read models are, as a client would.
async fn watch_positions(url: String, stopped: watch::Receiver<bool>) -> Result<Vec<Seen>, sqlx::Error> {
    let mut connection = PgConnection::connect(&url).await?;
    let mut seen: Vec<Seen> = vec![];
    let mut last_round = false;
    loop {
        let position: i64 =
            sqlx::query_scalar("select min(position) from projections").fetch_one(&mut connection).await?;
        if seen.last().is_none_or(|(last, _)| *last < position) {
            seen.push((position, now_us()));
        }
        if last_round {
            return Ok(seen);
        }
        if *stopped.borrow() {
            // What was committed at the end of the load is still to be seen.
            last_round = true;
            tokio::time::sleep(Duration::from_millis(500)).await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The lag of each event between two positions.
async fn lags(url: &str, before: i64, after: i64, seen: &[Seen]) -> Result<Vec<u64>, Failure> {
    let mut connection = PgConnection::connect(url).await?;
    let rows = sqlx::query(
        "select position, (extract(epoch from recorded_at) * 1000000)::bigint
           from events where position > $1 and position <= $2 order by position",
    )
    .bind(before)
    .bind(after)
    .fetch_all(&mut connection)
    .await?;
    let mut lags = Vec::with_capacity(rows.len());
    let mut sightings = seen.iter().peekable();
    for row in &rows {
        let (position, recorded_us): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        while sightings.next_if(|(at, _)| *at < position).is_some() {}
        let (_, seen_us) = sightings.peek().ok_or_else(|| format!("position {position} was never seen"))?;
        lags.push(u64::try_from(seen_us - recorded_us).unwrap_or(0));
    }
    Ok(lags)
}
