//! PostgreSQL dies or restarts under a running engine.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::support::process::signal;
use crate::support::{Acknowledged, Chance, Load, Scene, eventually};

const CRASHES: u64 = 6;
const RESTARTS: u64 = 3;
const CLIENTS: u64 = 32;
const USERS: u64 = 40;
/// The engine's own limit for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// First half of the advisory lock that a committer holds.
const COMMITTER: i64 = 0x7061_7901;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_outlives_the_kill_of_its_postmaster() {
    under_load("postmaster-kill", CRASHES, async |scene, _| {
        signal("KILL", scene.postmaster_pid());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_outlives_the_kill_of_any_postgres_backend() {
    under_load("backend-kill", CRASHES, async |scene, chance| {
        // The committer's every other time, else anyone's.
        let choice = if chance.number() % 2 == 0 {
            "select pid from pg_locks where locktype = 'advisory' and classid::bigint = $1"
        } else {
            "select pid from pg_stat_activity
              where backend_type = 'client backend' and pid <> pg_backend_pid() and $1 > 0
              order by random()"
        };
        let mut connection = PgConnection::connect(&scene.database_url()).await.unwrap();
        let pid: i32 = sqlx::query_scalar(choice).bind(COMMITTER).fetch_one(&mut connection).await.unwrap();
        signal("KILL", pid.try_into().unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_outlives_a_fast_shutdown_of_postgres_and_starts_it_again() {
    under_load("fast-shutdown", RESTARTS, async |scene, _| {
        signal("INT", scene.postmaster_pid());
    })
    .await;
}

/// Breaks PostgreSQL again and again under load. Each time payments complete again by themselves;
/// nobody is told anything but the truth, in time; in the end books and channel agree.
#[expect(clippy::print_stderr, reason = "shown by the harness when the test fails")]
async fn under_load(name: &str, times: u64, break_it: impl AsyncFn(&Scene, &mut Chance)) {
    let mut chance = Chance::new(name);
    let scene = Scene::start(name);
    scene.fund(name, USERS).await;
    let told = Acknowledged::default();
    let load = Load::start(&[scene.url()], CLIENTS, USERS, name, &told);
    for _ in 0..times {
        let moment = chance.millis(100, 900);
        tokio::time::sleep(moment).await;
        break_it(&scene, &mut chance).await;
        let (broken, before) = (Instant::now(), told.with_status(201).len());
        // More than the clients had under way.
        eventually("payments complete again", async || told.with_status(201).len() > before + 100).await;
        scene.client.ready(Duration::from_secs(10)).await;
        eprintln!("{name}: broken at {moment:?}, paying again after {:?}", broken.elapsed());
    }
    load.stop().await;
    eprintln!("{name}: {:?}", told.counts());
    told.all_answered_cleanly(REQUEST_TIMEOUT);
    scene.settled().await;
    told.agree_with(&scene.end_settled().await);
}
