//! Relay, broker and PostgreSQL die: nothing is missing in the topics, and nothing is there twice for whoever
//! drops positions that it has seen.

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::relay::{TOPICS, is_whole, status};
use crate::support::kafka::Broker;
use crate::support::process::{Server, signal};
use crate::support::{Acknowledged, Books, Chance, Load, Scene, eventually};

const KILLS: u64 = 20;
const TAKEOVERS: usize = 6;
/// Few, since what they make has to be published while a broker starts again and again.
const CLIENTS: u64 = 6;
const USERS: u64 = 20;

fn relay(scene: &Scene, broker: &Broker, log: &Path) -> Server {
    let brokers = broker.address();
    let settings = [("PAYMENTS_KAFKA__BROKERS", brokers.as_str())];
    Server::start_with("relay", &scene.database_url(), scene.sandbox(), log, &settings)
}

/// How often a relay has had the lead.
fn leads(log: &Path) -> usize {
    std::fs::read_to_string(log).unwrap().matches("relaying the log").count()
}

/// Waits for the end of the log to be published, and looks at what was.
async fn published(scene: &Scene, broker: &Broker) -> serde_json::Value {
    scene.settled().await;
    let url = scene.database_url();
    let mut at = status(&url);
    while at["lag"] != 0 {
        // However far behind it is, and however slow this machine: it goes on.
        let before = at["position"].clone();
        eventually("the relay goes on", async || status(&url)["position"] != before).await;
        at = status(&url);
    }
    let head = Books::audit(&url).await.events;
    let found = broker.read(TOPICS);
    is_whole(&found, head);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_missing() {
    let mut chance = Chance::new("relay-kills");
    let (scene, mut broker) = (Scene::start("relay-kills"), Broker::start("relay-kills"));
    scene.fund("kills", USERS).await;
    let log = scene.path().join("relay.log");
    let mut relay_process = relay(&scene, &broker, &log);
    let told = Acknowledged::default();
    let load = Load::start(&[scene.url()], CLIENTS, USERS, "kills", &told);
    for kill in 0..KILLS {
        tokio::time::sleep(chance.millis(50, 600)).await;
        match chance.number() % 3 {
            0 => {
                eprintln!("{kill}: relay");
                relay_process.kill();
                tokio::time::sleep(chance.millis(0, 300)).await;
                relay_process = relay(&scene, &broker, &log);
            }
            1 => {
                eprintln!("{kill}: broker");
                broker.kill();
                let before = told.with_status(201).len();
                eventually("payments go on", async || told.with_status(201).len() > before + 50).await;
                broker.start_again();
            }
            _ => {
                eprintln!("{kill}: PostgreSQL");
                signal("KILL", scene.postmaster_pid());
                let before = told.with_status(201).len();
                eventually("payments go on", async || told.with_status(201).len() > before + 50).await;
            }
        }
    }
    load.stop().await;
    let found = published(&scene, &broker).await;
    eprintln!("{found}");
    told.agree_with(&Books::audit(&scene.database_url()).await);
    relay_process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_relays_one_works_and_the_other_takes_over() {
    let (scene, broker) = (Scene::start("two-relays"), Broker::start("two-relays"));
    scene.fund("two", USERS).await;
    let logs = ["first", "second"].map(|name| scene.path().join(name));
    let mut active = relay(&scene, &broker, &logs[0]);
    let url = scene.database_url();
    eventually("the first relay works", async || status(&url)["lag"] == 0).await;
    let mut standby = relay(&scene, &broker, &logs[1]);
    let told = Acknowledged::default();
    let load = Load::start(&[scene.url()], CLIENTS, USERS, "two", &told);
    for takeover in 0..TAKEOVERS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let at = status(&url)["position"].as_i64().unwrap();
        let (log, other) = (&logs[takeover % 2], &logs[1 - takeover % 2]);
        let leads_before = leads(other);
        let mut dead = None;
        if takeover < TAKEOVERS / 2 {
            signal("KILL", active.pid());
            dead = Some(log);
        } else {
            // It only stands still and loses the lead, and for a moment both work: it goes on with what it had read.
            signal("STOP", active.pid());
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let query = "select pg_terminate_backend(pid) from pg_locks
                          where locktype = 'advisory' and classid::bigint << 32 | objid::bigint = $1";
            sqlx::query(query).bind(0x7061_7904_i64).execute(&mut connection).await.unwrap();
        }
        // The stand-by takes over within seconds.
        eventually("the other takes over", async || leads(other) > leads_before).await;
        eventually("the other goes on", async || status(&url)["position"].as_i64().unwrap() > at + 200).await;
        if let Some(log) = dead {
            active = relay(&scene, &broker, log);
        } else {
            signal("CONT", active.pid());
        }
        std::mem::swap(&mut active, &mut standby);
    }
    load.stop().await;
    let found = published(&scene, &broker).await;
    eprintln!("{found}");
    active.stop();
    standby.stop();
}
