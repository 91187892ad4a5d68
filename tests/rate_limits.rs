//! How much a caller and an address may ask for, and how they are told.

use futures::future::join_all;

use crate::support::client::Answer;
use crate::support::parts::Parts;
use crate::support::{Client, Scene, eventually};

const LIST: &str = "/api/v1/payments/p1";

/// Asks so often at once.
async fn ask(client: &Client, times: usize) -> Vec<Answer> {
    join_all((0..times).map(|_| client.get(LIST))).await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_what_it_may_and_is_told_when_there_is_more() {
    let settings = [
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_CALLER_PER_SECOND", "1"),
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_CALLER_BURST", "5"),
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_ADDRESS_PER_SECOND", "0"),
    ];
    let parts = Parts::start_guarded("rates-caller", &settings).await;
    let (shop, other) = (parts.caller("shop", "read"), parts.caller("other", "read"));
    let shop_again = parts.caller("shop", "read");
    let first = shop.get(LIST).await;
    assert_eq!((first.status, first.header("ratelimit-policy")), (404, "\"caller\";q=5;w=5"));
    assert_eq!(first.header("ratelimit"), "\"caller\";r=4;t=1");
    let answers = ask(&shop, 50).await;
    let refused = answers.iter().find(|answer| answer.status == 429).expect("one is too many");
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("1", "\"caller\";r=0;t=1"));
    assert!(count(&answers, 404) >= 4, "the burst is served");
    // It is the caller's bound, whichever key it uses, and no other caller's.
    assert!(count(&ask(&shop_again, 50).await, 429) > 0);
    assert_eq!(count(&ask(&other, 5).await, 404), 5);
    eventually("there is more", async || shop.get(LIST).await.status == 404).await;
    // Whoever watches the process is not counted.
    assert_eq!(join_all((0..20).map(|_| shop.get("/healthz"))).await.len(), 20);
    assert_eq!(shop.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_what_the_connection_says_unless_a_proxy_of_ours_says_another() {
    let limits = [
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_ADDRESS_PER_SECOND", "1"),
        ("PAYMENTS_HTTP__RATE_LIMIT__PER_ADDRESS_BURST", "3"),
    ];
    let scene = Scene::start_with("rates-address", &limits);
    let by_way_of = async |scene: &Scene, address: &str| {
        let client = reqwest::Client::new();
        let url = format!("{}{LIST}", scene.url());
        let sent =
            join_all((0..20).map(|_| client.get(&url).header("X-Forwarded-For", address).send())).await;
        sent.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 429).count()
    };
    assert!(by_way_of(&scene, "192.0.2.1").await > 0);
    // A client's word is worth nothing: the address is the same one.
    assert!(by_way_of(&scene, "192.0.2.2").await > 10);

    let scene = scene.started_again_with(&[("PAYMENTS_HTTP__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#)]);
    assert!(by_way_of(&scene, "192.0.2.1").await > 0);
    let fresh = reqwest::Client::new().get(format!("{}{LIST}", scene.url()));
    let fresh = fresh.header("X-Forwarded-For", "203.0.113.9, 192.0.2.2").send().await.unwrap();
    assert_eq!(fresh.headers()["ratelimit"], "\"address\";r=2;t=1");
    scene.stopped();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_machine_counts_nothing() {
    let scene = Scene::start("rates-dev");
    let answer = scene.client.get(LIST).await;
    assert_eq!((answer.header("ratelimit-policy"), answer.header("ratelimit")), ("", ""));
    scene.stopped();
}
