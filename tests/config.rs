//! `payments config`: wrong settings found before anything starts, right ones shown with where they come from.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::process::{folder, program};

/// Runs `payments ARGUMENTS` in this environment; the exit status, stdout, stderr.
fn payments(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(program()).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn each_setting_that_is_wrong_is_named_by_check_and_at_start() {
    let folder = folder("config");
    let file = folder.path().join("payments.toml");
    let file = file.to_str().unwrap();
    fs::write(file, "[http]\nmax_in_flight = 0\n[kafka.client]\nsasl_pasword = \"hunter2\"\n").unwrap();
    let variables = [("PAYMENTS_SAGA__PAYMENT_TIMEOUT", "5")];
    let expected = [
        format!("http.max_in_flight must be 1 to 1000000 (from {file})"),
        "saga.payment_timeout is no setting: did you mean saga.payment_timeout_ms? (from PAYMENTS_SAGA__PAYMENT_TIMEOUT)"
            .to_owned(),
        "kafka.client.sasl_pasword is refused".to_owned(),
    ];
    let (status, found, _) = payments(&["config", "check", "--config", file], &variables);
    assert_eq!((status, found.lines().count()), (Some(2), 3), "{found}");
    let data = folder.path().join("data");
    let dev = ["dev", "--port", "0", "--data-dir", data.to_str().unwrap(), "--config", file];
    let (status, _, said) = payments(&dev, &variables);
    assert_eq!(status, Some(1), "{said}");
    for expected in expected {
        assert!(found.contains(&expected) && said.contains(&expected), "{expected}: {found} {said}");
    }
    assert!(!found.contains("hunter2") && !said.contains("hunter2") && !data.exists(), "{said}");
}

#[test]
fn what_is_shown_can_be_given_again() {
    let folder = folder("config-show");
    let file = folder.path().join("payments.toml");
    let path = file.to_str().unwrap();
    let variables = [
        ("PAYMENTS_HTTP__DRAIN_TIMEOUT_MS", "1234"),
        ("PAYMENTS_SAGA__DEGRADED_LIMITS__JPY", "900"),
        ("PAYMENTS_WEBHOOKS__ALLOWED_NETWORKS", "[\"10.1.0.0/16\"]"),
        ("PAYMENTS_KAFKA__CLIENT__SSL_KEY_PASSWORD", "hunter2"),
    ];
    let shown = |arguments: &[&str], variables: &[(&str, &str)]| {
        let (status, shown, said) = payments(&[&["config", "show"], arguments].concat(), variables);
        assert_eq!((status, said.as_str()), (Some(0), ""), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        shown
    };
    fs::write(&file, shown(&["--toml"], &variables)).unwrap();
    let values = |json: &str| -> Vec<(String, Value)> {
        let settings: serde_json::Map<String, Value> = serde_json::from_str(json).unwrap();
        settings.into_iter().map(|(name, told)| (name, told["value"].clone())).collect()
    };
    let before = shown(&["--json"], &variables);
    let again = shown(&["--json", "--config", path], &variables[3..]);
    assert_eq!(values(&before), values(&again));
    let before: Value = serde_json::from_str(&before).unwrap();
    let drain = &before["http.drain_timeout_ms"];
    assert_eq!((&drain["value"], &drain["from"]["environment"]), (&1234.into(), &variables[0].0.into()));
    assert_eq!(before["kafka.client.ssl_key_password"]["hidden"], true);
    assert_eq!(before["http.max_in_flight"]["from"]["default"], true);
    let table = shown(&["--config", path], &[]);
    assert!(
        table.lines().any(|line| line.starts_with("http.drain_timeout_ms") && line.ends_with(path)),
        "{table}"
    );
}

#[test]
fn a_database_that_is_named_by_a_file_is_told_apart_from_none() {
    let (_, _, said) = payments(&["events", "list"], &[("DATABASE_URL_FILE", "/nowhere/url")]);
    assert!(said.contains("DATABASE_URL_FILE: /nowhere/url cannot be used: "), "{said}");
    let serve = ["serve", "--risk-url", "http://127.0.0.1:1", "--channel-url", "http://127.0.0.1:1"];
    let (status, _, said) = payments(&serve, &[]);
    assert!(status == Some(1) && said.contains("which database?"), "{said}");
}
