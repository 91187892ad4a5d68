//! Verdicts and what takes their place.

use axum::http::StatusCode;

use super::*;

#[tokio::test]
async fn each_level_of_risk_is_told() {
    let sandbox = sandbox().await;
    let risk = risk(&sandbox.base_url(), PATIENCE);
    assert!(evaluate(&risk, "credit_card").await.starts_with("low "));
    assert_eq!(evaluate(&risk, "card_medium_risk").await, "medium 60");
    assert_eq!(evaluate(&risk, "card_high_risk").await, "high 95");
}

#[tokio::test]
async fn no_verdict_is_unavailable_with_a_reason_fit_for_an_event() {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    let hasty = risk(&url, HASTE);
    assert_eq!(evaluate(&hasty, "card_risk_timeout").await, "unavailable: no answer within 150 ms");
    let risk_error = evaluate(&risk(&url, PATIENCE), "card_risk_error").await;
    assert_eq!(risk_error, "unavailable: status 500");
    let away = evaluate(&risk(&nowhere().await, PATIENCE), "credit_card").await;
    assert_eq!(away, "unavailable: connection failed");
}

#[tokio::test]
async fn only_a_200_with_a_valid_verdict_is_one() {
    let none = "unavailable: status 200 without a verdict";
    let answers = [
        (200, r#"{"level":"low","score":0}"#, "low 0"),
        (200, r#"{"level":"high","score":100,"model":"7"}"#, "high 100"),
        (200, r#"{"level":"low","score":101}"#, none),
        (200, r#"{"level":"low","score":-1}"#, none),
        (200, r#"{"level":"low"}"#, none),
        (200, r#"{"level":"extreme","score":5}"#, none),
        (200, "", none),
        (201, r#"{"level":"low","score":0}"#, "unavailable: status 201"),
        (404, "no such page", "unavailable: status 404"),
    ];
    for (status, body, expected) in answers {
        let status = StatusCode::from_u16(status).unwrap();
        let (url, _server) = served(Router::new().fallback(move || async move { (status, body) })).await;
        assert_eq!(evaluate(&risk(&url, PATIENCE), "credit_card").await, expected, "{status} {body}");
    }
}
