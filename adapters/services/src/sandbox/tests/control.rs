//! Risk, the behaviour at run time, refusals and the end.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::sandbox::change::{ChangeFate, ChangeKind};
use crate::sandbox::charge::Fate;
use crate::sandbox::risk::Assessment;
use crate::sandbox::{MAGIC, MAGIC_REFERENCES};

#[test]
fn every_magic_method_does_something_and_is_in_the_table_of_the_module() {
    let module = include_str!("../mod.rs");
    for (method, _) in MAGIC {
        let charged = Fate::of_method(method).is_some();
        let assessed = Assessment::of_method(method).is_some();
        let kinds = [ChangeKind::Capture, ChangeKind::Void, ChangeKind::Refund];
        let changed = kinds.iter().filter(|kind| ChangeFate::of_method(method, **kind).is_some()).count();
        let meanings = usize::from(charged) + usize::from(assessed) + changed;
        assert_eq!(meanings, 1, "{method} is magic in one place");
        assert!(module.contains(&format!("//! | `{method}` |")), "{method} is documented");
    }
}

#[test]
fn every_magic_reference_does_something_and_is_in_the_table_of_the_module() {
    let module = include_str!("../mod.rs");
    for (reference, _) in MAGIC_REFERENCES {
        assert!(Fate::of_method(&format!("payout:{reference}")).is_some(), "{reference} is magic");
        assert!(Fate::of_method(reference).is_none(), "{reference} is magic for payouts only");
        assert!(module.contains(&format!("//! | `{reference}` |")), "{reference} is documented");
    }
}

#[tokio::test]
async fn risk_answers_by_payment_method() {
    let (_sandbox, caller) = started(Behaviour::default()).await;
    let score = |seen: Seen, level: &str| match seen {
        Seen::Answer(200, body) if body["level"] == level => body["score"].as_u64().unwrap(),
        seen => panic!("{level}, not {seen:?}"),
    };
    assert!(score(caller.evaluate("PAY", "card").await, "low") <= 30);
    assert_eq!(caller.evaluate("PAY", "card").await, caller.evaluate("PAY_2", "card").await);
    assert_eq!(score(caller.evaluate("PAY", "card_medium_risk").await, "medium"), 60);
    assert_eq!(score(caller.evaluate("PAY", "card_high_risk").await, "high"), 95);
    assert_eq!(caller.hasty().evaluate("PAY", "card_risk_timeout").await, Seen::Silence);
    assert_eq!(caller.evaluate("PAY", "card_risk_error").await.status(), 500);
    caller.behave(&json!({ "high_risk_per_mille": 1000 })).await;
    assert_eq!(score(caller.evaluate("PAY", "card").await, "high"), 95);
    caller.behave(&json!({ "risk_error_per_mille": 1000 })).await;
    assert_eq!(caller.evaluate("PAY", "card").await.status(), 500);
    assert_eq!(caller.evaluate("PAY", "card_medium_risk").await.status(), 200);
}

#[tokio::test]
async fn a_stalled_service_holds_until_it_is_released() {
    let stalled = Behaviour { stalled: true, risk_stalled: true, ..Behaviour::default() };
    let (_sandbox, caller) = started(stalled).await;
    assert_eq!(caller.hasty().pay("KEY", "card").await, Seen::Silence);
    assert_eq!(caller.hasty().inquire("KEY").await, Seen::Silence);
    assert_eq!(caller.hasty().evaluate("PAY", "card").await, Seen::Silence);
    assert!(caller.record().await.is_empty(), "nothing is charged while stalled");

    let mut held = tokio::task::JoinSet::new();
    let waiting = caller.clone();
    held.spawn(async move { waiting.pay("KEY", "card").await });
    assert_eq!(caller.behave(&json!({})).await.status(), 200);
    assert_eq!(held.join_all().await, [succeeded(201, "KEY")]);
    assert_eq!(caller.evaluate("PAY", "card").await.status(), 200);
}

#[tokio::test]
async fn a_latency_delays_the_answer_and_not_the_charge() {
    let slow = Behaviour { latency_ms: 5_000, risk_latency_ms: 5_000, ..Behaviour::default() };
    let (_sandbox, caller) = started(slow).await;
    assert_eq!(caller.hasty().pay("KEY", "card").await, Seen::Silence);
    assert_eq!(caller.hasty().evaluate("PAY", "card").await, Seen::Silence);
    assert_eq!(caller.counts().await, (1, 1));
}

#[tokio::test]
async fn the_behaviour_is_shown_replaced_and_refused_by_field() {
    let (_sandbox, caller) = started(Behaviour::default()).await;
    let replaced = caller.behave(&json!({ "latency_ms": 1, "decline_per_mille": 5 })).await;
    assert_eq!(replaced.status(), 200);
    let shown = caller.http.get(format!("{}/v1/behaviour", caller.url)).send().await;
    assert_eq!(Seen::of(shown).await, replaced);
    for (behaviour, named) in [
        (json!({ "latency": 1 }), "`latency`"),
        (json!({ "stalled": 1 }), "boolean"),
        (json!({ "latency_ms": 60_001 }), "latency_ms"),
        (json!({ "decline_per_mille": 600, "timeout_per_mille": 600 }), "1200"),
        (json!({ "high_risk_per_mille": 1001 }), "high_risk_per_mille"),
    ] {
        let refused = caller.behave(&behaviour).await;
        assert_eq!(refused.status(), 422, "{behaviour}");
        assert!(refused.text().contains(named), "{named} in {refused:?}");
    }
}

#[tokio::test]
async fn what_no_channel_would_take_is_refused_by_name() {
    let (_sandbox, caller) = started(Behaviour::default()).await;
    let order = |amount: Value| json!({ "payment_id": "P", "amount": amount, "currency": "USD", "payment_method": "c" });
    let pay = |key: String, body: Value| {
        let caller = caller.clone();
        async move { caller.pay_body(&key, &body).await }
    };
    for (key, amount, status, named) in [
        (String::new(), json!("1.00"), 400, "Idempotency-Key"),
        ("K".repeat(256), json!("1.00"), 400, "Idempotency-Key"),
        ("KEY".to_owned(), json!("1,00"), 422, "amount"),
        ("KEY".to_owned(), json!(1), 422, "string"),
    ] {
        let refused = pay(key, order(amount)).await;
        assert_eq!(refused.status(), status);
        assert!(refused.text().contains(named), "{named} in {refused:?}");
    }
    assert_eq!(pay("K".repeat(255), order(json!("1.00"))).await.status(), 201);
    assert_eq!(caller.inquire(&"K".repeat(256)).await.status(), 400);

    let charges = format!("{}/v1/charges", caller.url);
    let keyless = caller.http.post(&charges).json(&order(json!("1.00"))).send().await;
    assert_eq!(keyless.unwrap().status(), 400);
    let large = caller.http.post(&charges).header("Idempotency-Key", "KEY");
    assert_eq!(large.body("x".repeat(17_000)).send().await.unwrap().status(), 413);
    let healthy = caller.http.get(format!("{}/healthz", caller.url)).send().await;
    assert_eq!(healthy.unwrap().status(), 200);
}

#[tokio::test]
async fn stopping_waits_for_no_connection_that_is_held() {
    let (sandbox, caller) = started(Behaviour::default()).await;
    let address = sandbox.address();
    let mut held = tokio::task::JoinSet::new();
    for method in ["card_lost_answer", "card_timeout", "card_never_known"] {
        let caller = caller.clone();
        held.spawn(async move { caller.pay(method, method).await });
    }
    while caller.record().await.len() < 3 {
        tokio::task::yield_now().await;
    }
    // Half a request, and a connection that never says anything.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"POST /v1/charges HTTP/1.1\r\nHost: sand").await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();

    let began = Instant::now();
    sandbox.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    for seen in held.join_all().await {
        assert_eq!(seen, Seen::Dropped);
    }
    let mut rest = Vec::new();
    // Whether the end is orderly or a reset is the operating system's affair.
    let _ = half.read_to_end(&mut rest).await;
    let _ = idle.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
