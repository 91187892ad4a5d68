//! Requests that no client should send: each is refused by name, and the log never hears of it.

use serde_json::json;

use crate::support::client::Answer;
use crate::support::{Payment, Scene};

const JSON: Option<&str> = Some("application/json");
const PAYMENTS: &str = "/api/v1/payments";

/// What a refusal must say.
struct Expected {
    status: u16,
    code: &'static str,
    param: Option<String>,
}

fn malformed() -> Expected {
    Expected { status: 400, code: "malformed_json", param: None }
}

fn refused(code: &'static str, param: &str) -> Expected {
    Expected { status: 422, code, param: Some(param.to_owned()) }
}

#[track_caller]
fn assert_refused(answer: &Answer, expected: &Expected, sent: &str) {
    let shown: String = sent.chars().take(200).collect();
    assert_eq!((answer.status, answer.code()), (expected.status, expected.code), "{shown}: {}", answer.text);
    assert_eq!(answer.body["param"].as_str(), expected.param.as_deref(), "{shown}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{shown}");
    assert_eq!(answer.body["status"], expected.status, "{shown}");
    assert_eq!(answer.body["type"], format!("/problems/{}", expected.code), "{shown}");
    for member in ["title", "detail", "trace_id"] {
        assert!(!answer.body[member].as_str().unwrap().is_empty(), "{shown}: {member}");
    }
}

/// A scene with one funded user, and the position of the log behind it.
async fn with_a_user(name: &str) -> (Scene, String, i64) {
    let scene = Scene::start(name);
    let account = scene.account("alice", "USD", "100.00").await;
    let head = scene.books().await.events;
    (scene, account, head)
}

/// The engine is as it was, and as good as it was.
async fn unharmed(scene: Scene, head: i64) {
    assert_eq!(scene.books().await.events, head, "a refused request records nothing");
    let paid = scene.client.pay(&Payment::of("alice", "good", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    scene.end_settled().await;
}

/// A payment as JSON text with one field replaced, left out (`""`) or added.
fn payment_with(name: &str, raw: &str) -> String {
    let mut fields = vec![
        ("payment_id", r#""p1""#),
        ("user_id", r#""alice""#),
        ("amount", "7.53"),
        ("currency", r#""USD""#),
        ("payment_method", r#""credit_card""#),
        ("idempotency_key", r#""k1""#),
    ];
    match fields.iter_mut().find(|field| field.0 == name) {
        Some(field) => field.1 = raw,
        None => fields.push((name, raw)),
    }
    let fields = fields.iter().filter(|field| !field.1.is_empty());
    format!("{{{}}}", fields.map(|(name, raw)| format!("\"{name}\":{raw}")).collect::<Vec<_>>().join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_refused() {
    let (scene, _, head) = with_a_user("unreadable").await;
    let good = payment_with("", "");
    let mut cut = good.clone();
    cut.pop();
    let bodies: Vec<(Vec<u8>, Expected)> = vec![
        (b"".to_vec(), malformed()),
        (b"{".to_vec(), malformed()),
        (b"amount=7.53&currency=USD".to_vec(), malformed()),
        (cut.into_bytes(), malformed()),
        (format!("{good}{good}").into_bytes(), malformed()),
        (good.replace('"', "'").into_bytes(), malformed()),
        (payment_with("user_id", "\"a\u{0}b\"").into_bytes(), malformed()),
        (format!("{good}\u{0}").into_bytes(), malformed()),
        (b"\xff\xfe{}".to_vec(), Expected { status: 400, code: "not_utf8", param: None }),
        (
            [b"{\"user_id\":\"".as_slice(), &[0xc3, 0x28], b"\"}"].concat(),
            Expected { status: 400, code: "not_utf8", param: None },
        ),
        (
            payment_with("amount", "1,\"amount\":2").into_bytes(),
            Expected { param: Some("amount".to_owned()), ..malformed() },
        ),
        (b"[]".to_vec(), Expected { status: 422, code: "wrong_type", param: None }),
        (b"null".to_vec(), Expected { status: 422, code: "wrong_type", param: None }),
        (b"7.53".to_vec(), Expected { status: 422, code: "wrong_type", param: None }),
        ("[".repeat(60_000).into_bytes(), malformed()),
        (
            payment_with("metadata", &format!("{{\"note\":\"{}\"}}", "x".repeat(1024 * 1024))).into_bytes(),
            Expected { status: 413, code: "body_too_large", param: None },
        ),
    ];
    for (body, expected) in bodies {
        let answer = scene.client.post_raw(PAYMENTS, JSON, None, body.clone()).await;
        assert_refused(&answer, &expected, &String::from_utf8_lossy(&body));
    }
    let unsupported = Expected { status: 415, code: "unsupported_media_type", param: None };
    for content_type in [None, Some("text/plain"), Some("application/json; charset=latin1"), Some("nonsense")]
    {
        let answer = scene.client.post_raw(PAYMENTS, content_type, None, good.clone().into_bytes()).await;
        assert_refused(&answer, &unsupported, &format!("{content_type:?}"));
    }
    unharmed(scene, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_of_a_payment_is_refused_by_its_name() {
    let (scene, _, head) = with_a_user("fields").await;
    let mut cases: Vec<(&str, String, Expected)> = vec![];
    for name in ["user_id", "amount", "currency", "payment_method"] {
        cases.push((name, String::new(), refused("missing_field", name)));
        cases.push((name, "null".to_owned(), refused("missing_field", name)));
    }
    for name in ["payment_id", "user_id", "currency", "payment_method", "idempotency_key", "capture"] {
        for raw in ["7", "true", "[]", "{}"] {
            cases.push((name, raw.to_owned(), refused("wrong_type", name)));
        }
    }
    for raw in ["true", "[]", "{}"] {
        cases.push(("amount", raw.to_owned(), refused("wrong_type", "amount")));
    }
    for raw in ["7", "\"x\"", "[]"] {
        cases.push(("metadata", raw.to_owned(), refused("wrong_type", "metadata")));
    }
    let long = format!("\"{}\"", "x".repeat(10 * 1024));
    for name in ["payment_id", "user_id", "payment_method", "idempotency_key"] {
        cases.push((name, long.clone(), refused("too_long", name)));
    }
    for name in ["payment_id", "user_id"] {
        for raw in [r#""""#, r#""a b""#, r#""a\u0000b""#, r#""a/b""#, r#""a\nb""#, "\"h\u{e9}\""] {
            cases.push((name, raw.to_owned(), refused("invalid_id", name)));
        }
    }
    for (name, raw, code) in [
        ("payment_method", r#""""#, "invalid_payment_method"),
        ("payment_method", r#""credit card""#, "invalid_payment_method"),
        ("payment_method", r#""a\u0000b""#, "invalid_payment_method"),
        ("idempotency_key", r#""""#, "invalid_idempotency_key"),
        ("idempotency_key", r#""a\u0000b""#, "invalid_idempotency_key"),
        ("idempotency_key", "\"h\u{e9}\"", "invalid_idempotency_key"),
        ("currency", r#""""#, "invalid_currency"),
        ("currency", r#""usd""#, "invalid_currency"),
        ("currency", r#""XXQ""#, "invalid_currency"),
        ("currency", r#""DOLLARS""#, "invalid_currency"),
        ("currency", r#""XAU""#, "invalid_currency"),
        ("capture", r#""later""#, "invalid_value"),
        ("surprise", "1", "unknown_field"),
        ("Amount", "1", "unknown_field"),
    ] {
        cases.push((name, raw.to_owned(), refused(code, name)));
    }
    cases.push(("metadata", r#"{"order":7}"#.to_owned(), refused("wrong_type", "metadata.order")));
    cases.push(("metadata", r#"{"order":"a\u0000"}"#.to_owned(), refused("invalid_text", "metadata.order")));
    for (name, raw, expected) in cases {
        let body = payment_with(name, &raw);
        let answer = scene.client.post_raw(PAYMENTS, JSON, None, body.clone().into_bytes()).await;
        assert_refused(&answer, &expected, &body);
    }
    unharmed(scene, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_cannot_be_booked_are_refused() {
    let (scene, account, head) = with_a_user("amounts").await;
    let deposits = format!("/api/v1/accounts/{account}/deposits");
    // No JSON at all.
    for raw in ["NaN", "Infinity", "-Infinity", "+7", ".5", "5.", "07", "0x10", "1,5"] {
        let body = payment_with("amount", raw);
        let answer = scene.client.post_raw(PAYMENTS, JSON, None, body.clone().into_bytes()).await;
        assert_eq!((answer.status, answer.code()), (400, "malformed_json"), "{body}: {}", answer.text);
    }
    let many_digits = "9".repeat(50_000);
    for (amount, currency) in [
        ("0", "USD"),
        ("0.00", "USD"),
        ("-0", "USD"),
        ("-1", "USD"),
        ("-0.01", "USD"),
        ("7.005", "USD"),
        ("0.001", "USD"),
        ("1e-3", "USD"),
        ("1e30", "USD"),
        ("1e999999999999", "USD"),
        ("1e-999999999999", "USD"),
        ("92233720368547758.08", "USD"),
        ("18446744073709551616", "USD"),
        (&many_digits, "USD"),
        ("1.5", "JPY"),
        ("9223372036854775808", "JPY"),
        ("1.2345", "KWD"),
    ] {
        for raw in [amount.to_owned(), format!("\"{amount}\"")] {
            let body = payment_with("amount", &raw).replace("USD", currency);
            let answer = scene.client.post_raw(PAYMENTS, JSON, None, body.clone().into_bytes()).await;
            assert_refused(&answer, &refused("invalid_amount", "amount"), &body);
            let body = format!("{{\"amount\":{raw},\"currency\":\"{currency}\"}}");
            let answer = scene.client.post_raw(&deposits, JSON, Some("k2"), body.clone().into_bytes()).await;
            assert_refused(&answer, &refused("invalid_amount", "amount"), &body);
        }
    }
    for text in
        ["", "NaN", "Infinity", "7,5", " 7", "7 ", "0x10", "seven", "+7", ".5", "5.", "\\u0037\\u0000"]
    {
        let body = payment_with("amount", &format!("\"{text}\""));
        let answer = scene.client.post_raw(PAYMENTS, JSON, None, body.clone().into_bytes()).await;
        assert_refused(&answer, &refused("invalid_amount", "amount"), &body);
    }
    unharmed(scene, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_accounts_and_paths_are_refused_by_name() {
    let (scene, account, head) = with_a_user("accounts").await;
    let call = |call: &str| format!("/api/v1/accounts/{account}/{call}");
    let long_reference = format!(r#"{{"amount":1,"currency":"USD","reference":"{}"}}"#, "x".repeat(10_240));
    let opening = "/api/v1/accounts".to_owned();
    for (path, body, code, param) in [
        (opening.clone(), r#"{"currency":"USD"}"#, "missing_field", "user_id"),
        (opening.clone(), r#"{"user_id":"bob"}"#, "missing_field", "currency"),
        (opening.clone(), r#"{"user_id":"","currency":"USD"}"#, "invalid_id", "user_id"),
        (opening.clone(), r#"{"user_id":"bob","currency":"ZZZ"}"#, "invalid_currency", "currency"),
        (opening, r#"{"user_id":"bob","currency":"USD","balance":"7"}"#, "unknown_field", "balance"),
        (call("deposits"), r#"{"currency":"USD"}"#, "missing_field", "amount"),
        (call("deposits"), r#"{"amount":1}"#, "missing_field", "currency"),
        (call("deposits"), r#"{"amount":1,"currency":"USD","reference":7}"#, "wrong_type", "reference"),
        (
            call("deposits"),
            r#"{"amount":1,"currency":"USD","reference":"a\u0000b"}"#,
            "invalid_text",
            "reference",
        ),
        (call("withdrawals"), &long_reference, "too_long", "reference"),
        (call("freeze"), r#"{"reason":"a\u0000b"}"#, "invalid_text", "reason"),
        (call("unfreeze"), r#"{"reason":"none"}"#, "unknown_field", "reason"),
        ("/api/v1/accounts/a%00b/deposits".to_owned(), "{}", "invalid_id", "account_id"),
    ] {
        let answer = scene.client.post_raw(&path, JSON, Some("k1"), body.as_bytes().to_vec()).await;
        assert_refused(&answer, &refused(code, param), &format!("{path} {body}"));
    }
    let long_path = format!("/api/v1/payments/{}", "x".repeat(5_000));
    let accounts_path = format!("/api/v1/accounts/{account}?surprise=1");
    for (path, expected) in [
        (long_path.as_str(), refused("too_long", "payment_id")),
        ("/api/v1/payments/a%00b", refused("invalid_id", "payment_id")),
        ("/api/v1/payments/none", Expected { status: 404, code: "payment_not_found", param: None }),
        ("/api/v1/payments/none/events", Expected { status: 404, code: "payment_not_found", param: None }),
        ("/api/v1/payments/%ff", Expected { status: 400, code: "malformed_path", param: None }),
        (&accounts_path, refused("unknown_parameter", "surprise")),
        ("/api/v1/nothing", Expected { status: 404, code: "not_found", param: None }),
        ("/api/v1/payment", Expected { status: 405, code: "method_not_allowed", param: None }),
    ] {
        assert_refused(&scene.client.get(path).await, &expected, path);
    }
    unharmed(scene, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_needs_a_key() {
    let (scene, account, head) = with_a_user("keyless").await;
    let missing =
        Expected { status: 400, code: "idempotency_key_missing", param: Some("idempotency_key".to_owned()) };
    let call = |call: &str| format!("/api/v1/accounts/{account}/{call}");
    for (path, body) in [
        (PAYMENTS.to_owned(), payment_with("idempotency_key", "")),
        ("/api/v1/payment".to_owned(), payment_with("idempotency_key", "null")),
        ("/api/v1/accounts".to_owned(), r#"{"user_id":"bob","currency":"USD"}"#.to_owned()),
        (call("deposits"), r#"{"amount":1,"currency":"USD"}"#.to_owned()),
        (call("withdrawals"), r#"{"amount":1,"currency":"USD"}"#.to_owned()),
        (call("freeze"), String::new()),
        (call("unfreeze"), String::new()),
    ] {
        let answer = scene.client.post_raw(&path, JSON, None, body.into_bytes()).await;
        assert_refused(&answer, &missing, &path);
    }
    let deposit = br#"{"amount":1,"currency":"USD"}"#.to_vec();
    let long = "k".repeat(10 * 1024);
    for (key, code) in
        [("", "invalid_idempotency_key"), ("h\u{e9}", "invalid_idempotency_key"), (&long, "too_long")]
    {
        let answer = scene.client.post_raw(&call("deposits"), JSON, Some(key), deposit.clone()).await;
        assert_refused(&answer, &refused(code, "idempotency_key"), key);
    }
    unharmed(scene, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_exact_in_every_currency() {
    let scene = Scene::start("exact-amounts");
    let pay = async |user_id: &str, key: &str, amount: &str, currency: &str| {
        let body = format!(
            r#"{{"payment_id":"{key}","user_id":"{user_id}","amount":{amount},"currency":"{currency}","payment_method":"credit_card","idempotency_key":"{key}"}}"#
        );
        let answer = scene.client.post_raw("/api/v1/payment", JSON, None, body.into_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    };
    let dollars = scene.account("dollars", "USD", "1.00").await;
    pay("dollars", "tenth", "0.1", "USD").await;
    let answer = pay("dollars", "fifth", "0.2", "USD").await;
    assert_eq!(answer.body["balance"]["available"], "0.70");
    assert_eq!(scene.balance(&dollars).await, ["0.70", "0.00", "0.70"]);

    // However it is written, it is the same request.
    scene.account("same", "USD", "10.00").await;
    let first = pay("same", "written", "7.53", "USD").await;
    assert_eq!((&first.body["amount"], first.replayed), (&json!("7.53"), false));
    for amount in ["\"7.53\"", "7.530", "\"7.5300\"", "753e-2", "0.753E1"] {
        let repeat = pay("same", "written", amount, "USD").await;
        assert_eq!((&repeat.text, repeat.replayed), (&first.text, true), "{amount}");
    }

    let yen = scene.account("yen", "JPY", "5000").await;
    assert_eq!(pay("yen", "yen", "1200", "JPY").await.body["balance"]["available"], "3800");
    assert_eq!(scene.balance(&yen).await, ["3800", "0", "3800"]);

    let dinars = scene.account("dinars", "KWD", "1.250").await;
    assert_eq!(pay("dinars", "dinars", "0.001", "KWD").await.body["amount"], "0.001");
    pay("dinars", "dinars-too", "0.2", "KWD").await;
    assert_eq!(scene.balance(&dinars).await, ["1.049", "0.000", "1.049"]);

    // More digits than a float can tell apart.
    let large = scene.account("large", "USD", "90071992547409.93").await;
    pay("large", "large", "90071992547409.91", "USD").await;
    assert_eq!(scene.balance(&large).await, ["0.02", "0.00", "0.02"]);
    scene.end_settled().await;
}
