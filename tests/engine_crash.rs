//! `kill -9` of the engine, at any moment.

use std::collections::HashSet;

use crate::support::books::are_completed;
use crate::support::process::signal;
use crate::support::{Acknowledged, Chance, Load, Scene};

const KILLS: usize = 20;
const CLIENTS: u64 = 32;
const USERS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_at_any_moment_loses_no_acknowledged_payment_and_charges_none_twice() {
    let mut chance = Chance::new("engine_crash");
    let mut scene = Scene::start("engine-crash");
    scene.fund("crash", USERS).await;
    let told = Acknowledged::default();
    let mut seen = HashSet::new();
    for _ in 0..KILLS {
        let load = Load::start(&[scene.url()], CLIENTS, USERS, "crash", &told);
        tokio::time::sleep(chance.millis(100, 900)).await;
        signal("KILL", scene.engine_pid());
        load.stop().await;
        scene = scene.killed_and_started_again();
        let new: Vec<_> = told.with_status(201).into_iter().filter(|id| seen.insert(id.clone())).collect();
        are_completed(&scene.database_url(), &new).await;
        for id in new.iter().take(3) {
            assert_eq!(scene.client.payment(id).await.body["status"], "completed", "{id}");
        }
    }
    assert!(seen.len() > 20 * KILLS, "only {} payments were acknowledged", seen.len());
    scene.settled().await;
    told.agree_with(&scene.end_settled().await);
}
