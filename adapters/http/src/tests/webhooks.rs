//! Registrations that must not get further than the edge.

use axum::http::Method;

use super::{get, post, request, send};

#[tokio::test]
async fn a_registration_that_cannot_be_used_names_its_field() {
    let long = format!(r#"{{"url":"https://a.example/{}","event_types":["*"]}}"#, "x".repeat(2_048));
    for (body, code, param) in [
        (r#"{"event_types":["*"]}"#, "missing_field", "url"),
        (r#"{"url":"https://a.example/"}"#, "missing_field", "event_types"),
        (r#"{"url":7,"event_types":["*"]}"#, "wrong_type", "url"),
        (r#"{"url":"https://a.example/","event_types":"*"}"#, "wrong_type", "event_types"),
        (r#"{"url":"https://a.example/","event_types":[7]}"#, "wrong_type", "event_types"),
        (r#"{"url":"https://a.example/","event_types":[]}"#, "invalid_event_type", "event_types"),
        (r#"{"url":"https://a.example/","event_types":["Nothing"]}"#, "invalid_event_type", "event_types"),
        (r#"{"url":"http://a.example/","event_types":["*"]}"#, "invalid_url", "url"),
        (r#"{"url":"https://a.example/","event_types":["*"],"secret":"x"}"#, "unknown_field", "secret"),
        (long.as_str(), "too_long", "url"),
    ] {
        post("/api/v1/webhooks", body.to_owned()).await.is_problem(422, code, Some(param));
    }
}

#[tokio::test]
async fn what_is_no_endpoint_or_delivery_of_ours_is_not_looked_for() {
    get("/api/v1/webhooks/PAY_42").await.is_problem(404, "webhook_not_found", None);
    get("/api/v1/webhooks/whe_%00").await.is_problem(404, "webhook_not_found", None);
    post("/api/v1/deliveries/7/resend", "").await.is_problem(404, "delivery_not_found", None);
    get("/api/v1/deliveries?status=lost").await.is_problem(422, "invalid_value", Some("status"));
    let patch = |body: &'static str| send(request(Method::PATCH, "/api/v1/webhooks/whe_1", body));
    patch(r#"{"status":"deleted"}"#).await.is_problem(422, "invalid_value", Some("status"));
    patch(r#"{"url":"http://a.example/"}"#).await.is_problem(422, "invalid_url", Some("url"));
}
