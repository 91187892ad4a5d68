//! The breakers of both clients over sockets; the rules themselves are tested beside them.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;

use super::*;
use crate::breaker::BreakerState;

const QUICK: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for: HASTE };
/// Stays open for as long as a test lasts.
const LASTING: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for: PATIENCE };

fn channel_with(base_url: &str, breaker: BreakerSettings) -> HttpChannel {
    let limits = Limits { breaker, ..Limits::waiting(PATIENCE) };
    let settings = ChannelSettings { limits, ..ChannelSettings::at(base_url) };
    HttpChannel::new(&settings).unwrap()
}

fn risk_with(base_url: &str, breaker: BreakerSettings) -> HttpRisk {
    let limits = Limits { breaker, ..Limits::waiting(PATIENCE) };
    HttpRisk::new(&RiskSettings { base_url: base_url.to_owned(), limits }).unwrap()
}

async fn fail_three_times(channel: &HttpChannel) {
    for id in ["PAY_1", "PAY_2", "PAY_3"] {
        assert_eq!(pay(channel, id, "card_server_error").await, "unknown: status 500");
    }
}

#[tokio::test]
async fn an_open_channel_is_sent_nothing() {
    let sandbox = sandbox().await;
    let channel = channel_with(&sandbox.base_url(), LASTING);
    fail_three_times(&channel).await;
    assert_eq!(channel.breaker().state(), BreakerState::Open);
    assert_eq!(pay(&channel, "PAY_4", "credit_card").await, "unknown: breaker open");
    assert_eq!(inquire(&channel, "PAY_1").await, "unknown: breaker open");
    let other = super::channel(&sandbox.base_url(), PATIENCE);
    assert_eq!(inquire(&other, "PAY_4").await, "not found");
}

#[tokio::test]
async fn a_channel_that_answers_again_closes_it() {
    let sandbox = sandbox().await;
    let channel = channel_with(&sandbox.base_url(), QUICK);
    fail_three_times(&channel).await;
    tokio::time::sleep(QUICK.open_for).await;
    assert_eq!(channel.breaker().state(), BreakerState::HalfOpen);
    assert_eq!(inquire(&channel, "PAY_1").await, "not found", "an inquiry is a probe, too");
    assert_eq!(channel.breaker().state(), BreakerState::Closed);
    assert_eq!(pay(&channel, "PAY_1", "card_server_error").await, "done");
}

#[tokio::test]
async fn a_decline_and_a_refusal_are_answers() {
    let sandbox = sandbox().await;
    let channel = channel_with(&sandbox.base_url(), LASTING);
    for (id, method, answer) in [
        ("PAY_1", "card_server_error", "unknown: status 500"),
        ("PAY_2", "card_server_error", "unknown: status 500"),
        ("PAY_3", "card_declined", "declined: card_declined"),
        ("PAY_4", "card_server_error", "unknown: status 500"),
        ("PAY_5", "card_dropped", "unknown: connection lost"),
        ("PAY_3", "credit_card", "unknown: status 422"),
        ("PAY_6", "card_dropped", "unknown: connection lost"),
    ] {
        assert_eq!(pay(&channel, id, method).await, answer);
    }
    assert_eq!(channel.breaker().state(), BreakerState::Closed);
}

#[tokio::test]
async fn silence_and_refused_connections_are_failures() {
    let sandbox = sandbox().await;
    let limits = Limits {
        breaker: BreakerSettings { failures_to_open: 1, ..LASTING },
        ..Limits::waiting(Duration::from_millis(50))
    };
    let settings = ChannelSettings { limits, ..ChannelSettings::at(sandbox.base_url()) };
    let channel = HttpChannel::new(&settings).unwrap();
    assert_eq!(pay(&channel, "PAY_1", "card_timeout").await, "unknown: no answer within 50 ms");
    assert_eq!(channel.breaker().state(), BreakerState::Open);
    let away = channel_with(&nowhere().await, settings.limits.breaker);
    assert_eq!(pay(&away, "PAY_1", "credit_card").await, "unknown: connection failed");
    assert_eq!(away.breaker().state(), BreakerState::Open);
}

#[tokio::test]
async fn a_caller_that_goes_away_says_nothing_about_the_channel() {
    let sandbox = sandbox().await;
    let channel = channel_with(&sandbox.base_url(), BreakerSettings { failures_to_open: 1, ..LASTING });
    let waited = tokio::time::timeout(HASTE, pay(&channel, "PAY_1", "card_timeout")).await;
    assert!(waited.is_err());
    assert_eq!(channel.breaker().state(), BreakerState::Closed);
}

#[tokio::test]
async fn risk_is_refused_at_once_while_open_and_asked_again_afterwards() {
    let sandbox = sandbox().await;
    let lasting = risk_with(&sandbox.base_url(), LASTING);
    let quick = risk_with(&sandbox.base_url(), QUICK);
    for _ in 0..3 {
        assert_eq!(evaluate(&lasting, "card_risk_error").await, "unavailable: status 500");
    }
    assert_eq!(evaluate(&lasting, "credit_card").await, "unavailable: breaker open");
    for _ in 0..3 {
        assert_eq!(evaluate(&quick, "card_risk_error").await, "unavailable: status 500");
    }
    tokio::time::sleep(QUICK.open_for).await;
    assert_eq!(evaluate(&quick, "card_medium_risk").await, "medium 60");
    assert_eq!(quick.breaker().state(), BreakerState::Closed);
}

#[tokio::test]
async fn who_finds_no_place_is_refused_at_once_and_no_failure_of_the_channel() {
    let behaviour = Behaviour { stalled: true, ..Behaviour::default() };
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let sandbox = Sandbox::start(SandboxSettings { address, record_dir: None, behaviour }).await.unwrap();
    let limits = Limits { max_in_flight: 2, breaker: LASTING, ..Limits::waiting(PATIENCE) };
    let settings = ChannelSettings { limits, ..ChannelSettings::at(sandbox.base_url()) };
    let channel = Arc::new(HttpChannel::new(&settings).unwrap());
    assert!(channel.admits());
    let mut waiting = JoinSet::new();
    for id in ["PAY_1", "PAY_2"] {
        let channel = Arc::clone(&channel);
        waiting.spawn(async move { pay(&channel, id, "credit_card").await });
    }
    while channel.admits() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pay(&channel, "PAY_3", "credit_card").await, "unknown: too many calls at a time");
    assert_eq!(channel.breaker().state(), BreakerState::Closed);
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    assert!(channel.admits(), "who goes away leaves a place");
}

#[tokio::test]
async fn inquiries_leave_room_for_payments() {
    let asked = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = Arc::clone(&asked);
    let slow = move || {
        let seen = Arc::clone(&seen);
        async move {
            let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
            seen.1.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen.0.fetch_sub(1, Ordering::SeqCst);
            (StatusCode::NOT_FOUND, r#"{"status":"not_found"}"#)
        }
    };
    let (url, _server) = served(Router::new().fallback(slow)).await;
    let settings = ChannelSettings { max_inquiries: 3, ..ChannelSettings::at(url) };
    let channel = Arc::new(HttpChannel::new(&settings).unwrap());
    let mut inquiries = JoinSet::new();
    for number in 0..30 {
        let channel = Arc::clone(&channel);
        inquiries.spawn(async move { inquire(&channel, &format!("PAY_{number}")).await });
    }
    let answers = inquiries.join_all().await;
    assert!(answers.iter().all(|answer| answer == "not found"), "{answers:?}");
    assert_eq!(asked.1.load(Ordering::SeqCst), 3, "inquiries at a time");
}
