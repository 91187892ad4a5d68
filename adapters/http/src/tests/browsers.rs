//! What browsers are told: what every answer has, and which pages may call.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};

use super::{api, get, send_to};
use crate::{HttpSettings, router};

#[tokio::test]
async fn every_answer_says_what_a_browser_may_not_do_with_it() {
    let api = get("/api/v1/payments?limit=0").await;
    assert_eq!((api.status.as_u16(), api.header("cache-control")), (422, "no-store"));
    let page = get("/healthz").await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for answer in [&api, &page] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("strict-transport-security"), "", "there is no TLS");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_page_may_call_only_from_an_origin_that_was_allowed() {
    let origins = vec![HeaderValue::from_static("https://shop.example")];
    let service = router(api(HttpSettings { cors_origins: origins, ..HttpSettings::default() }));
    let ask = |origin: &'static str, method: Method| {
        let request =
            Request::builder().method(method).uri("/api/v1/payments?limit=0").header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,idempotency-key");
        send_to(service.clone(), request.body(Body::empty()).unwrap())
    };
    let asked = ask("https://shop.example", Method::OPTIONS).await;
    assert_eq!(
        (asked.status.as_u16(), asked.header("access-control-allow-origin")),
        (200, "https://shop.example")
    );
    assert!(asked.header("access-control-allow-headers").contains("idempotency-key"));
    assert_eq!(asked.header("access-control-allow-credentials"), "");
    let called = ask("https://shop.example", Method::GET).await;
    assert_eq!(called.header("access-control-allow-origin"), "https://shop.example");
    assert!(called.header("access-control-expose-headers").contains("ratelimit"));
    for method in [Method::OPTIONS, Method::GET] {
        assert_eq!(ask("https://evil.example", method).await.header("access-control-allow-origin"), "");
    }
}
