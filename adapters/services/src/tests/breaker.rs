//! The breakers of both clients over sockets; the rules themselves are tested beside them.

use super::*;
use crate::breaker::BreakerState;

const QUICK: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for: HASTE };
/// Stays open for as long as a test lasts.
const LASTING: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for: PATIENCE };

fn channel_with(base_url: &str, breaker: BreakerSettings) -> HttpChannel {
    let settings = ChannelSettings { timeout: PATIENCE, breaker, ..ChannelSettings::at(base_url) };
    HttpChannel::new(&settings).unwrap()
}

fn risk_with(base_url: &str, breaker: BreakerSettings) -> HttpRisk {
    HttpRisk::new(&RiskSettings { timeout: PATIENCE, breaker, ..RiskSettings::at(base_url) }).unwrap()
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
    let settings = ChannelSettings {
        timeout: Duration::from_millis(50),
        breaker: BreakerSettings { failures_to_open: 1, ..LASTING },
        ..ChannelSettings::at(sandbox.base_url())
    };
    let channel = HttpChannel::new(&settings).unwrap();
    assert_eq!(pay(&channel, "PAY_1", "card_timeout").await, "unknown: no answer within 50 ms");
    assert_eq!(channel.breaker().state(), BreakerState::Open);
    let away = channel_with(&nowhere().await, settings.breaker);
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
