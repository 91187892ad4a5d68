//! Clients that are slow, greedy or broken: served or refused, and in nobody's way.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;

use crate::support::raw::{connect, drip, exchange, until_closed};
use crate::support::{Client, Payment, Scene};

const HEAD: &str = "POST /api/v1/payments HTTP/1.1\r\nhost: x\r\nidempotency-key: K\r\n\
                    content-type: application/json\r\n";

/// Limits that a test waits for.
const IMPATIENT: &[(&str, &str)] =
    &[("PAYMENTS_HTTP__HEADER_TIMEOUT_MS", "500"), ("PAYMENTS_HTTP__BODY_TIMEOUT_MS", "500")];

/// Others are served.
async fn is_well(scene: &Scene, number: u32) {
    let payment = Payment::of("alice", &format!("well-{number}"), "0.01");
    // A connection of its own.
    let paid = Client::new(scene.url()).pay(&payment).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_byte_now_and_then_is_given_up() {
    let scene = Scene::start_with("slow-drip", IMPATIENT);
    scene.account("alice", "USD", "100.00").await;
    // Headers that never end: there is nobody to answer.
    let heads = (0..50).map(|_| drip(scene.url(), HEAD, "x-slow: 1\r\n"));
    assert!(futures::future::join_all(heads).await.iter().all(String::is_empty));
    let bodies = [
        (format!("{HEAD}content-length: 5000\r\n\r\n"), "{"),
        (format!("{HEAD}transfer-encoding: chunked\r\n\r\n"), "1\r\n{\r\n"),
    ];
    for (head, bytes) in &bodies {
        let answer = drip(scene.url(), head, bytes).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"body_too_slow""#), "{answer}");
    }
    // A connection on which nothing has come yet is idle, which is another matter, and one that was served is, too.
    let mut idle = connect(scene.url()).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    idle.write_all(ask).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(until_closed(&mut idle).await.matches("HTTP/1.1 200 ").count(), 2);
    is_well(&scene, 1).await;
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let places = [("PAYMENTS_HTTP__MAX_CONNECTIONS", "2000")];
    let scene = Scene::start_with("slow-idle", &places);
    scene.account("alice", "USD", "100.00").await;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let open_files = maximum.unwrap_or(u64::MAX);
    let many = usize::try_from(open_files).unwrap().saturating_sub(1_000).min(10_000);
    assert!(many > 2_500, "the limit on open files is too low for this test: {open_files}");
    let mut idle = Vec::with_capacity(many);
    for number in 0..many {
        let mut stream = connect(scene.url()).await;
        // Every other one has begun to send a head. One that had to go already takes no more.
        if number % 2 == 0 {
            let _ = stream.write_all(HEAD.as_bytes()).await;
        }
        idle.push(stream);
        if number % 1_000 == 0 {
            is_well(&scene, u32::try_from(number).unwrap()).await;
        }
    }
    for number in 100_000..100_050 {
        is_well(&scene, number).await;
    }
    // Those that came first have gone.
    assert_eq!(until_closed(&mut idle[1]).await, "");
    drop(idle);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_told_so() {
    let scene = Scene::start("slow-giants");
    scene.account("alice", "USD", "100.00").await;
    let url = scene.url();
    let giant =
        format!("GET /api/v1/payments HTTP/1.1\r\nhost: x\r\nx-giant: {}\r\n\r\n", "x".repeat(1_000_000));
    assert!(exchange(url, giant.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET /api/v1/payments HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert!(exchange(url, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let long = format!(
        "GET /api/v1/payments?cursor={} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "x".repeat(10_000)
    );
    let answer = exchange(url, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 414 ") && answer.contains(r#""code":"uri_too_long""#), "{answer}");
    let nonsense = exchange(url, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");

    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    for body in [
        deep.clone(),
        "[".repeat(60_000),
        format!(r#"{{"user_id":{deep}}}"#),
        format!(r#"{{"metadata":{deep}}}"#),
        format!(r#"{{"unknown":{deep}}}"#),
    ] {
        let body = body.into_bytes();
        let answer =
            scene.client.post_raw("/api/v1/payments", Some("application/json"), Some("K"), body).await;
        assert!(matches!(answer.status, 400 | 422) && !answer.code().is_empty(), "{}", answer.text);
    }
    is_well(&scene, 1).await;
    scene.end_settled().await;
}
