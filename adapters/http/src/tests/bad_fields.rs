//! Every field that a request may get wrong, and that the refusal names it.

use super::{get, payment_with, post};

/// Sends the seeded payment with one field replaced.
async fn payment(name: &str, raw: &str, status: u16, code: &str, param: Option<&str>) {
    let body = payment_with(name, raw);
    post("/api/v1/payment", body.clone()).await.is_problem(status, code, param);
    post("/api/v1/payments", body).await.is_problem(status, code, param);
}

#[tokio::test]
async fn amounts_that_cannot_be_booked_are_refused() {
    for amount in ["7.005", "0", "-1", "-0.01", "1e30", "1000000000000000000000000000000", "1E999999999999"] {
        payment("amount", amount, 422, "invalid_amount", Some("amount")).await;
        payment("amount", &format!("\"{amount}\""), 422, "invalid_amount", Some("amount")).await;
    }
    for amount in ["\"\"", "\"NaN\"", "\"Infinity\"", "\"7,5\"", "\" 7\"", "\"0x10\""] {
        payment("amount", amount, 422, "invalid_amount", Some("amount")).await;
    }
    for amount in ["true", "[7]", "{}", "{\"amount\":7}"] {
        payment("amount", amount, 422, "wrong_type", Some("amount")).await;
    }
    for amount in ["NaN", "Infinity", "+7", ".5", "5.", "07", "0x10"] {
        payment("amount", amount, 400, "malformed_json", None).await;
    }
}

#[tokio::test]
async fn decimals_are_those_of_the_currency() {
    let with = |amount: &str, currency: &str| {
        let body = payment_with("amount", amount);
        body.replace("\"USD\"", &format!("\"{currency}\""))
    };
    let refused = post("/api/v1/payment", with("1.5", "JPY")).await;
    refused.is_problem(422, "invalid_amount", Some("amount"));
    let refused = post("/api/v1/payment", with("1.2345", "KWD")).await;
    refused.is_problem(422, "invalid_amount", Some("amount"));
    // Valid requests get as far as the port, which is the panic that this crate turns into a 500.
    for (amount, currency) in [("1500", "JPY"), ("1500.0", "JPY"), ("1.234", "KWD"), ("7.50", "USD")] {
        post("/api/v1/payment", with(amount, currency)).await.is_problem(500, "internal_error", None);
    }
}

#[tokio::test]
async fn fields_of_a_payment_are_refused_by_name() {
    let long = format!("\"{}\"", "x".repeat(10_000));
    let longer_than_a_method = format!("\"{}\"", "x".repeat(65));
    for (name, raw, code) in [
        ("currency", "\"XXQ\"", "invalid_currency"),
        ("currency", "\"usd\"", "invalid_currency"),
        ("currency", "\"XAU\"", "invalid_currency"),
        ("currency", "\"\"", "invalid_currency"),
        ("currency", "840", "wrong_type"),
        ("user_id", "\"\"", "invalid_id"),
        ("user_id", "\"a b\"", "invalid_id"),
        ("user_id", "\"a\\u0000\"", "invalid_id"),
        ("user_id", &long, "too_long"),
        ("user_id", "7", "wrong_type"),
        ("user_id", "", "missing_field"),
        ("user_id", "null", "missing_field"),
        ("payment_id", "\"\"", "invalid_id"),
        ("payment_id", &long, "too_long"),
        ("payment_id", "[]", "wrong_type"),
        ("amount", "", "missing_field"),
        ("currency", "", "missing_field"),
        ("payment_method", "", "missing_field"),
        ("payment_method", "\"\"", "invalid_payment_method"),
        ("payment_method", "\"credit card\"", "invalid_payment_method"),
        ("payment_method", &longer_than_a_method, "too_long"),
        ("payment_method", "{}", "wrong_type"),
        ("capture", "\"later\"", "invalid_value"),
        ("capture", "true", "wrong_type"),
        ("metadata", "\"x\"", "wrong_type"),
        ("metadata", "[]", "wrong_type"),
        ("metadata", "{\"\":\"x\"}", "invalid_text"),
        ("idempotency_key", "7", "wrong_type"),
        ("idempotency_key", "\"OTHER\"", "idempotency_key_mismatch"),
        ("surprise", "1", "unknown_field"),
        ("Amount", "1", "unknown_field"),
    ] {
        payment(name, raw, 422, code, Some(name)).await;
    }
}

#[tokio::test]
async fn notes_are_refused_by_their_path() {
    let long_note = format!("{{\"order\":\"{}\"}}", "x".repeat(501));
    let long_key = "k".repeat(41);
    let long_key_note = format!("{{\"{long_key}\":\"x\"}}");
    let long_key_param = format!("metadata.{long_key}");
    for (raw, code, param) in [
        ("{\"order\":7}", "wrong_type", "metadata.order"),
        ("{\"order\":null}", "wrong_type", "metadata.order"),
        ("{\"order\":{\"a\":\"b\"}}", "wrong_type", "metadata.order"),
        ("{\"order\":\"a\\u0000b\"}", "invalid_text", "metadata.order"),
        (&long_note, "too_long", "metadata.order"),
        (&long_key_note, "too_long", &long_key_param),
    ] {
        payment("metadata", raw, 422, code, Some(param)).await;
    }
    payment("metadata", "{\"a\":\"1\",\"a\":\"1\"}", 400, "malformed_json", Some("metadata.a")).await;
    payment("metadata", "{\"a\":\"\\ud800\"}", 400, "malformed_json", Some("metadata.a")).await;
    let notes: Vec<String> = (0..21).map(|n| format!("\"k{n}\":\"v\"")).collect();
    let many = format!("{{{}}}", notes.join(","));
    payment("metadata", &many, 422, "too_many_entries", Some("metadata")).await;
}

#[tokio::test]
async fn fields_of_accounts_are_refused_by_name() {
    let deposits = "/api/v1/accounts/acc_1/deposits";
    let withdrawals = "/api/v1/accounts/acc_1/withdrawals";
    let long = "x".repeat(257);
    let long_reference = format!(r#"{{"amount":1,"currency":"USD","reference":"{long}"}}"#);
    let long_reason = format!(r#"{{"reason":"{long}"}}"#);
    for (path, body, code, param) in [
        ("/api/v1/accounts", r#"{"currency":"USD"}"#, "missing_field", "user_id"),
        ("/api/v1/accounts", r#"{"user_id":"U"}"#, "missing_field", "currency"),
        ("/api/v1/accounts", r#"{"user_id":"U","currency":"ZZZ"}"#, "invalid_currency", "currency"),
        ("/api/v1/accounts", r#"{"user_id":"","currency":"USD"}"#, "invalid_id", "user_id"),
        ("/api/v1/accounts", r#"{"user_id":"U","currency":"USD","x":1}"#, "unknown_field", "x"),
        (deposits, r#"{"currency":"USD"}"#, "missing_field", "amount"),
        (deposits, r#"{"amount":-5,"currency":"USD"}"#, "invalid_amount", "amount"),
        (deposits, r#"{"amount":1,"currency":"USD","reference":7}"#, "wrong_type", "reference"),
        (deposits, "{\"amount\":1,\"currency\":\"USD\",\"reference\":\"\\n\"}", "invalid_text", "reference"),
        (deposits, &long_reference, "too_long", "reference"),
        (withdrawals, r#"{"amount":0,"currency":"USD"}"#, "invalid_amount", "amount"),
        ("/api/v1/accounts/acc_1/freeze", &long_reason, "too_long", "reason"),
        ("/api/v1/accounts/acc_1/freeze", r#"{"why":"x"}"#, "unknown_field", "why"),
        ("/api/v1/accounts/acc_1/unfreeze", r#"{"reason":"x"}"#, "unknown_field", "reason"),
        ("/api/v1/accounts//deposits", "{}", "invalid_id", "account_id"),
        ("/api/v1/accounts/a%20b/freeze", "{}", "invalid_id", "account_id"),
    ] {
        post(path, body.to_owned()).await.is_problem(422, code, Some(param));
    }
}

#[tokio::test]
async fn paths_and_queries_are_refused_by_name() {
    let long = |length| format!("/api/v1/payments/{}", "x".repeat(length));
    get(&long(5_000)).await.is_problem(422, "too_long", Some("payment_id"));
    get(&long(10_000)).await.is_problem(414, "uri_too_long", None);
    get("/api/v1/payments/a%00b").await.is_problem(422, "invalid_id", Some("payment_id"));
    get("/api/v1/payments/%ff/events").await.is_problem(400, "malformed_path", None);
    get("/api/v1/accounts/acc_1?at=now").await.is_problem(422, "unknown_parameter", Some("at"));
    get("/api/v1/payments/p?as_of=now").await.is_problem(422, "unknown_parameter", Some("as_of"));
    get("/api/v1/accounts/acc_1?as_of=now").await.is_problem(422, "wrong_type", Some("as_of"));
    let position = get("/api/v1/accounts/acc_1?min_position=x").await;
    position.is_problem(422, "wrong_type", Some("min_position"));
}

#[tokio::test]
async fn accounts_of_the_system_do_not_exist_for_clients() {
    for path in ["deposits", "withdrawals", "freeze", "unfreeze"] {
        let got = post(&format!("/api/v1/accounts/funding:USD:3/{path}"), "{}").await;
        got.is_problem(404, "account_not_found", None);
    }
    get("/api/v1/accounts/settlement:card:USD:0").await.is_problem(404, "account_not_found", None);
}
