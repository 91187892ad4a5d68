//! Every setting, given a wrong value: the message names it, says why, and says where the value came from.

use std::collections::BTreeSet;

use super::super::known::{TABLES, names, variable};
use super::{file, read};

/// A setting, a wrong value as the environment has it, and what is said of it. A new setting needs a line here.
const WRONG: &[(&str, &str, &str)] = &[
    ("log.filter", "payments=loud", "must be in the syntax of RUST_LOG: "),
    ("log.json", "maybe", "must be true or false, not \"maybe\""),
    ("http.authentication", "maybe", "required"),
    ("http.key_cache_ms", "60001", "must be 0 to 60000"),
    ("http.jwt.jwks_url", "issuer.example/keys", "must be an http or https URL"),
    ("http.jwt.jwks_file", "", "must name a file"),
    ("http.jwt.issuer", "an issuer", "must be without blanks"),
    ("http.jwt.audience", "an audience", "must be without blanks"),
    ("http.jwt.algorithms", "[\"none\"]", "must be of RS256, ES256 and EdDSA"),
    ("http.jwt.refresh_ms", "99", "must be 100 to 86400000"),
    ("http.jwt.refresh_at_most_every_ms", "99", "must be 100 to 3600000"),
    ("http.jwt.leeway_ms", "600001", "must be 0 to 600000"),
    ("http.rate_limit.per_caller_per_second", "1000001", "must be 0 to 1000000"),
    ("http.rate_limit.per_caller_burst", "1000001", "must be 0 to 1000000"),
    ("http.rate_limit.per_address_per_second", "1000001", "must be 0 to 1000000"),
    ("http.rate_limit.per_address_burst", "1000001", "must be 0 to 1000000"),
    ("http.trusted_proxies", "[\"10.0.0.0/33\"]", "must hold networks such as 10.0.0.0/8"),
    ("http.cors_origins", "[\"*\"]", "must hold origins such as https://shop.example"),
    ("http.tls.certificate_file", "", "must name a file"),
    ("http.tls.key_file", "", "must name a file"),
    ("http.request_timeout_ms", "0", "must be 1 to 3600000"),
    ("http.header_timeout_ms", "0", "must be 1 to 3600000"),
    ("http.body_timeout_ms", "0", "must be 1 to 3600000"),
    ("http.idle_timeout_ms", "0", "must be 1 to 3600000"),
    ("http.body_limit_bytes", "1023", "must be 1024 to 16777216"),
    ("http.header_limit_bytes", "1023", "must be 1024 to 1048576"),
    ("http.uri_limit_bytes", "63", "must be 64 to 65534"),
    ("http.max_headers", "7", "must be 8 to 10000"),
    ("http.max_connections", "0", "must be 1 to 1000000"),
    ("http.max_in_flight", "0", "must be 1 to 1000000"),
    ("http.overload_target_ms", "0", "must be 1 to 60000"),
    ("http.shutdown_notice_ms", "86400001", "must be 0 to 86400000"),
    ("http.drain_timeout_ms", "86400001", "must be 0 to 86400000"),
    ("saga.payment_timeout_ms", "0", "must be 1 to 86400000"),
    ("saga.inquiry_first_delay_ms", "0", "must be 1 to 86400000"),
    ("saga.inquiry_max_delay_ms", "86400001", "must be 1 to 86400000"),
    ("saga.review_after_ms", "2592000001", "must be 0 to 2592000000"),
    ("saga.takeover_after_ms", "86400001", "must be 1 to 86400000"),
    ("saga.recovery_interval_ms", "9", "must be 10 to 86400000"),
    ("saga.authorization_expires_after_ms", "0", "must be 1 to 31536000000"),
    ("saga.channel_name", "a channel", "must be 1 to 20 letters, digits, `_` or `-`"),
    ("saga.degraded_limits.USD", "7.005", "decimal"),
    ("idempotency.keep_hours", "23", "must be 24 to "),
    ("store.timeout_ms", "0", "must be 1 to 86400000"),
    ("store.connections", "1", "must be 2 to 10000"),
    ("store.cached_accounts", "99", "must be 100 to 1000000000"),
    ("store.cached_payments", "99", "must be 100 to 1000000000"),
    ("services.risk_timeout_ms", "0", "must be 1 to 86400000"),
    ("services.channel_timeout_ms", "0", "must be 1 to 86400000"),
    ("services.breaker_failures", "0", "must be 1 to 1000000"),
    ("services.breaker_open_ms", "86400001", "must be 0 to 86400000"),
    ("services.risk_max_in_flight", "0", "must be 1 to 1000000"),
    ("services.channel_max_in_flight", "0", "must be 1 to 1000000"),
    ("services.channel_max_inquiries", "1000001", "must be 1 to 1000000"),
    ("webhooks.timeout_ms", "0", "must be 1 to 86400000"),
    ("webhooks.retry_pauses_ms", "[2592000001]", "must have at most 50 pauses, none longer than 30 days"),
    ("webhooks.max_per_endpoint", "0", "must be 1 to 10000"),
    ("webhooks.max_in_flight", "0", "must be 1 to 100000"),
    ("webhooks.poll_ms", "9", "must be 10 to 86400000"),
    (
        "webhooks.allowed_networks",
        "[\"10.0.0.0/33\"]",
        "must hold networks: \"10.0.0.0/33\" is not a network",
    ),
    ("webhooks.old_secret_hours", "878401", "must be 0 to 878400"),
    ("webhooks.keep_days", "0", "must be 1 to 36600"),
    ("kafka.brokers", "nowhere", "must be `host:port`"),
    ("kafka.payments_topic", "a topic", "must be 1 to 249 letters"),
    ("kafka.accounts_topic", "another topic", "must be 1 to 249 letters"),
    ("kafka.partitions", "0", "must be 1 to 100000"),
    ("kafka.replication", "0", "must be 1 to 1000"),
    ("kafka.retention_hours", "878401", "must be 0 to 878400"),
    ("kafka.client.acks", "1", "cannot be set"),
    ("telemetry.jaeger_ui_url", "jaeger", "must be an http or https URL"),
    ("telemetry.handlers", "[\"a b\"]", "must be 1 to 64 letters"),
    ("sandbox.latency_ms", "60001", "must be at most 60000"),
    ("sandbox.risk_latency_ms", "60001", "must be at most 60000"),
    ("sandbox.decline_per_mille", "65536", "must be a whole number from 0 to 65535, not 65536"),
    ("sandbox.lost_answer_per_mille", "-1", "must be a whole number from 0 to 65535, not -1"),
    ("sandbox.timeout_per_mille", "few", "must be a whole number from 0 to 65535, not \"few\""),
    ("sandbox.server_error_per_mille", "[1]", "must be a whole number from 0 to 65535, not a list"),
    ("sandbox.high_risk_per_mille", "1.5", "must be a whole number from 0 to 65535, not 1.5"),
    ("sandbox.risk_error_per_mille", "{a=1}", "sandbox.risk_error_per_mille"),
    ("sandbox.stalled", "2", "must be true or false, not 2"),
    ("sandbox.risk_stalled", "no", "must be true or false, not \"no\""),
];

fn setting_of(name: &str) -> &str {
    TABLES.into_iter().find(|table| name.starts_with(&format!("{table}."))).unwrap_or(name)
}

#[test]
fn every_setting_has_a_wrong_value_here() {
    let tested: BTreeSet<String> = WRONG.iter().map(|(name, ..)| setting_of(name).to_owned()).collect();
    assert_eq!(tested, names().into_iter().collect(), "each setting has its line in WRONG");
}

#[test]
fn a_wrong_value_is_named_with_its_reason_and_its_variable() {
    for (name, value, reason) in WRONG {
        let variable = variable(name);
        let wrong = read(&[(&variable, value)], None).unwrap_err();
        let [fault] = &wrong.0[..] else { panic!("{name}: {wrong}") };
        let told = fault.to_string();
        // A table where a number is wanted is told by what is in it.
        assert!(told.starts_with(&format!("{name} ")) || told.starts_with(&format!("{name}.")), "{told}");
        assert!(told.contains(reason), "{told}");
        assert!(told.contains(&format!("(from {variable}")), "{told}");
    }
}

#[test]
fn values_that_do_not_fit_together_are_named_together() {
    for (name, value, told) in [
        ("saga.inquiry_max_delay_ms", "99", "must be at least saga.inquiry_first_delay_ms (from "),
        ("http.jwt.issuer", "https://issuer.example", "is given without http.jwt.jwks_url or "),
        ("http.tls.certificate_file", "tls.crt", "needs http.tls.key_file beside it"),
        ("http.tls.key_file", "tls.key", "needs http.tls.certificate_file beside it"),
        ("http.body_timeout_ms", "10001", "must not be longer than http.request_timeout_ms, which it is "),
        ("saga.takeover_after_ms", "5000", "must be longer than saga.payment_timeout_ms, so that "),
        ("kafka.accounts_topic", "payments.events", "must be another topic than kafka.payments_topic (from "),
    ] {
        let wrong = read(&[(&variable(name), value)], None).unwrap_err().to_string();
        assert!(wrong.starts_with(&format!("settings: {name} {told}")), "{wrong}");
    }
    let shares =
        [("PAYMENTS_SANDBOX__DECLINE_PER_MILLE", "600"), ("PAYMENTS_SANDBOX__TIMEOUT_PER_MILLE", "600")];
    let wrong = read(&shares, None).unwrap_err().to_string();
    assert!(wrong.contains("decline_per_mille") && wrong.contains("add up to 1200"), "{wrong}");
}

#[test]
fn all_of_them_at_once_are_all_told() {
    let variables: Vec<_> = WRONG.iter().map(|(name, value, _)| (variable(name), *value)).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let told = read(&variables, None).unwrap_err().to_string();
    for (name, ..) in WRONG {
        assert!(told.contains(&format!("\n  {name}")), "{name}: {told}");
    }
}

#[test]
fn a_wrong_value_in_a_file_is_named_with_the_file() {
    for (name, value, reason) in WRONG.iter().filter(|(_, value, _)| *value != "{a=1}") {
        let quoted = format!("{value:?}");
        let is_toml = value.parse::<i64>().is_ok() || value.starts_with('[') || *value == "1.5";
        let as_text = name.starts_with("saga.degraded_limits") || name.starts_with("kafka.client");
        let value = if is_toml && !as_text { *value } else { quoted.as_str() };
        let file = file(&format!("{name} = {value}\n"));
        let told = read(&[], Some(file.path())).unwrap_err().to_string();
        assert!(told.starts_with(&format!("settings: {name} ")) && told.contains(reason), "{told}");
        assert!(told.contains(&format!("(from {}", file.path().display())), "{told}");
    }
}

#[test]
fn a_number_that_is_none_is_told_for_every_number() {
    let tree = serde_json::to_value(super::super::Settings::default()).unwrap();
    for name in names() {
        let default = name.split('.').fold(&tree, |tree, key| &tree[key]);
        if default.is_number() {
            let told = read(&[(&variable(&name), "soon")], None).unwrap_err().to_string();
            assert!(told.starts_with(&format!("settings: {name} must be a whole number")), "{told}");
        }
    }
}
