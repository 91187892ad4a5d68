//! Two engines on one database, with no leases between them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::client::Answer;
use crate::support::process::Server;
use crate::support::{Acknowledged, Chance, Client, Load, Payment, Scene};

const CLIENTS: u64 = 32;
const USERS: u64 = 4;

fn second_engine(scene: &Scene) -> Server {
    Server::start(&scene.database_url(), scene.sandbox(), &scene.path().join("second.log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_work_on_the_same_few_accounts_and_seldom_send_anyone_away() {
    let scene = Scene::start("two-engines");
    let second = second_engine(&scene);
    scene.fund("pair", USERS).await;
    let told = Acknowledged::default();
    let load = Load::start(&[scene.url(), second.url()], CLIENTS, USERS, "pair", &told);
    tokio::time::sleep(Duration::from_secs(5)).await;
    load.stop().await;

    told.all_answered_cleanly(Duration::from_secs(10));
    let counts = told.counts();
    let all: usize = counts.values().sum();
    let unserved: usize = counts.iter().filter(|((status, _), _)| *status >= 500).map(|(_, n)| n).sum();
    eprintln!("two engines: {counts:?}");
    assert!(unserved * 100 < all, "{counts:?}");
    scene.settled().await;
    second.stop();
    told.agree_with(&scene.end_settled().await);
}

/// Asks until the answer is final.
async fn pay_in_the_end(client: &Client, payment: &Payment) -> Answer {
    for _ in 0..200 {
        let answer = client.pay(payment).await;
        match (answer.status, answer.code()) {
            (503, "contended") | (409, "request_in_flight") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            _ => return answer,
        }
    }
    panic!("{} is never answered", payment.payment_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_do_not_spend_a_balance_twice() {
    let scene = Scene::start("two-engines-balance");
    let second = second_engine(&scene);
    let account = scene.account("spender", "USD", "50.00").await;
    let mut paying = JoinSet::new();
    for number in 0..100 {
        let client = if number % 2 == 0 { scene.client.clone() } else { Client::new(second.url()) };
        paying.spawn(async move {
            pay_in_the_end(&client, &Payment::of("spender", &format!("spend{number}"), "1.00")).await
        });
    }
    let answers = paying.join_all().await;
    let with = |status: u16, code: &str| {
        answers.iter().filter(|answer| answer.status == status && answer.code() == code).count()
    };
    assert_eq!((with(201, ""), with(422, "insufficient_funds")), (50, 50));
    assert_eq!(scene.balance(&account).await, ["0.00", "0.00", "0.00"]);
    second.stop();
    let books = scene.end_settled().await;
    assert_eq!(books.completed.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_two_engines_at_once_is_one_payment() {
    let scene = Scene::start("two-engines-key");
    let second = second_engine(&scene);
    let account = scene.account("twin", "USD", "100.00").await;
    let clients = Arc::new([scene.client.clone(), Client::new(second.url())]);
    for number in 0..50 {
        let payment = Payment::of("twin", &format!("twin{number}"), "1.00");
        let (one, two) = tokio::join!(clients[0].pay(&payment), clients[1].pay(&payment));
        let made: Vec<_> = [&one, &two].into_iter().filter(|answer| answer.status == 201).collect();
        assert!(!made.is_empty(), "{} {}", one.text, two.text);
        for answer in [&one, &two] {
            let in_flight = (answer.status, answer.code()) == (409, "request_in_flight");
            assert!(in_flight || answer.text == made[0].text, "{} {}", one.text, two.text);
        }
        assert_eq!(scene.charged_times(&payment.payment_id).await, 1);
    }
    assert_eq!(scene.balance(&account).await, ["50.00", "0.00", "50.00"]);
    second.stop();
    assert_eq!(scene.end_settled().await.completed.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_takes_up_the_payments_of_another_that_was_killed() {
    let mut chance = Chance::new("two-engines-kill");
    let scene = Scene::start("two-engines-kill");
    scene.fund("heir", USERS).await;
    let told = Acknowledged::default();
    for _ in 0..3 {
        let second = second_engine(&scene);
        let load = Load::start(&[scene.url(), second.url()], CLIENTS, USERS, "heir", &told);
        tokio::time::sleep(chance.millis(300, 900)).await;
        second.kill();
        load.stop().await;
        scene.settled().await;
    }
    told.agree_with(&scene.end_settled().await);
}
