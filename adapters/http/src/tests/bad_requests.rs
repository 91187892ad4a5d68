//! Requests that cannot be read, have no key, come to the wrong place or come too many at a time.

use axum::body::Body;
use axum::http::{Method, Request};

use super::{Got, api, api_on, get, payment_with, post, request, send, send_to};
use crate::{HttpSettings, router};

const PATH: &str = "/api/v1/payment";

fn payment() -> String {
    payment_with("", "")
}

async fn with_key(key: &str) -> Got {
    let request = Request::post(PATH).header("content-type", "application/json");
    send(request.header("idempotency-key", key).body(Body::from(payment())).unwrap()).await
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    for body in
        ["", "{", "{\"amount\":1", "{'a':1}", "{\"a\":1,}", "{\"amount\":NaN}", "x", "{} {}", "\u{feff}{}"]
    {
        post(PATH, body).await.is_problem(400, "malformed_json", None);
    }
    post(PATH, payment_with("amount", "1,\"amount\":2")).await.is_problem(
        400,
        "malformed_json",
        Some("amount"),
    );
    post(PATH, b"{\"user_id\":\"\xff\"}".to_vec()).await.is_problem(400, "not_utf8", None);
    for body in ["[]", "7", "\"x\"", "null", "true"] {
        post(PATH, body).await.is_problem(422, "wrong_type", None);
    }
}

#[tokio::test]
async fn depth_costs_nothing() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(8_000), "}".repeat(8_000));
    post(PATH, deep.clone()).await.is_problem(422, "wrong_type", None);
    post(PATH, payment_with("surprise", &deep)).await.is_problem(422, "unknown_field", Some("surprise"));
    post(PATH, payment_with("user_id", &deep)).await.is_problem(422, "wrong_type", Some("user_id"));
    let notes = format!("{{\"order\":{objects}}}");
    post(PATH, payment_with("metadata", &notes)).await.is_problem(422, "wrong_type", Some("metadata.order"));
    post(PATH, "[".repeat(60_000)).await.is_problem(400, "malformed_json", None);
}

#[tokio::test]
async fn a_body_has_its_limits() {
    let huge = payment_with("metadata", &format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024)));
    post(PATH, huge).await.is_problem(413, "body_too_large", None);
    post(PATH, " ".repeat(8 * 1024 * 1024)).await.is_problem(413, "body_too_large", None);
    for content_type in ["text/plain", "application/xml", "application/json; charset=utf-16"] {
        let request = Request::post(PATH).header("idempotency-key", "K").header("content-type", content_type);
        let got = send(request.body(Body::from(payment())).unwrap()).await;
        got.is_problem(415, "unsupported_media_type", None);
    }
    let untyped = Request::post(PATH).header("idempotency-key", "K").body(Body::from(payment())).unwrap();
    send(untyped).await.is_problem(415, "unsupported_media_type", None);
}

#[tokio::test]
async fn every_command_has_a_key() {
    for (path, body) in [
        (PATH, payment()),
        ("/api/v1/accounts", r#"{"user_id":"U","currency":"USD"}"#.to_owned()),
        ("/api/v1/accounts/acc_1/deposits", r#"{"amount":"1","currency":"USD"}"#.to_owned()),
        ("/api/v1/accounts/acc_1/withdrawals", r#"{"amount":"1","currency":"USD"}"#.to_owned()),
        ("/api/v1/accounts/acc_1/freeze", String::new()),
        ("/api/v1/accounts/acc_1/unfreeze", "{}".to_owned()),
    ] {
        let request = Request::post(path).header("content-type", "application/json");
        let got = send(request.body(Body::from(body)).unwrap()).await;
        got.is_problem(400, "idempotency_key_missing", Some("idempotency_key"));
        assert!(got.body["detail"].as_str().unwrap().contains("Idempotency-Key: <1 to 255"));
    }
}

#[tokio::test]
async fn a_key_is_1_to_255_printable_characters() {
    let param = Some("idempotency_key");
    with_key("").await.is_problem(422, "invalid_idempotency_key", param);
    with_key("sch\u{f6}n").await.is_problem(422, "invalid_idempotency_key", param);
    with_key(&"k".repeat(256)).await.is_problem(422, "too_long", param);
    // As far as the port: the key is good.
    with_key(&"k".repeat(255)).await.is_problem(500, "internal_error", None);
    let twice = Request::post(PATH).header("idempotency-key", "a").header("idempotency-key", "b");
    let twice = twice.header("content-type", "application/json").body(Body::from(payment())).unwrap();
    send(twice).await.is_problem(400, "idempotency_key_repeated", param);
    post(PATH, payment_with("idempotency_key", "\"KEY\"")).await.is_problem(500, "internal_error", None);
}

#[tokio::test]
async fn the_wrong_place_is_a_problem_too() {
    for path in ["/", "/api/v1/nothing", "/api/v1/payments/", "/api/v2/payments"] {
        get(path).await.is_problem(404, "not_found", None);
    }
    for (method, path, allowed) in [
        (Method::GET, "/api/v1/payment", "POST"),
        (Method::DELETE, "/api/v1/payments/P", "GET,HEAD"),
        (Method::PUT, "/api/v1/accounts/acc_1/freeze", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
    ] {
        let got = send(request(method, path, "{}")).await;
        got.is_problem(405, "method_not_allowed", None);
        assert_eq!(got.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_panic_shows_only_its_trace() {
    post(PATH, payment()).await.is_problem(500, "internal_error", None);
    get("/api/v1/payments/PAY_42").await.is_problem(500, "internal_error", None);
    get("/api/v1/payments/PAY_42/events").await.is_problem(500, "internal_error", None);
    get("/api/v1/accounts/acc_1?min_position=7").await.is_problem(500, "internal_error", None);
}

#[tokio::test]
async fn one_request_too_many_is_refused_at_once() {
    let busy = || router(api(HttpSettings { max_in_flight: 0, ..HttpSettings::default() }));
    let got = send_to(busy(), request(Method::POST, PATH, payment())).await;
    got.is_problem(503, "overloaded", None);
    let got = send_to(busy(), Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 200);
    let full = router(api(HttpSettings { max_running: 0, ..HttpSettings::default() }));
    send_to(full, request(Method::POST, PATH, payment())).await.is_problem(503, "overloaded", None);
}

#[tokio::test]
async fn health_says_whether_it_runs_and_whether_it_can_serve() {
    let live = get("/healthz").await;
    assert_eq!((live.status.as_u16(), live.body["status"].as_str()), (200, Some("ok")));
    assert_eq!(live.header("trace-id").len(), 32);
    let away = get("/readyz").await;
    away.is_problem(503, "not_ready", None);
    assert!(away.body["detail"].as_str().unwrap().contains("database"), "{}", away.body);
    let broken = router(api_on(HttpSettings::default(), false));
    let got = send_to(broken, Request::get("/readyz").body(Body::empty()).unwrap()).await;
    got.is_problem(503, "not_ready", None);
    assert!(got.body["detail"].as_str().unwrap().contains("event store"), "{}", got.body);
}

#[tokio::test]
async fn the_clients_trace_is_continued() {
    let request = Request::get("/api/v1/nothing")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let got = send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(got.header("trace-id"), "0af7651916cd43dd8448eb211c80319c");
}
