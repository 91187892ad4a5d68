//! The tree of settings: its layers, what is told of wrong ones, and its page.

mod page;
mod wrong_values;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::read::Loaded;
use super::{Source, WrongSettings, load, shown};

/// Reads settings from these variables of the environment, and from this file.
fn read(variables: &[(&str, &str)], file: Option<&Path>) -> Result<Loaded, WrongSettings> {
    load(file, variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// What is told of wrong settings, a line each.
fn told(variables: &[(&str, &str)], toml: &str) -> Vec<String> {
    let file = file(toml);
    let wrong = read(variables, Some(file.path())).unwrap_err();
    let path = file.path().display().to_string();
    wrong.0.iter().map(|fault| fault.to_string().replace(&path, "FILE")).collect()
}

#[test]
fn the_environment_comes_before_the_file_and_the_file_before_the_defaults() {
    let file =
        file("[http]\nmax_in_flight = 5\nbody_limit_bytes = 2048\n[saga.degraded_limits]\nJPY = \"900\"\n");
    let variables = [("PAYMENTS_HTTP__MAX_IN_FLIGHT", "7"), ("PAYMENTS_SAGA__DEGRADED_LIMITS__USD", "5.00")];
    let loaded = read(&variables, Some(file.path())).unwrap();
    let http = &loaded.settings.http;
    assert_eq!((http.max_in_flight, http.body_limit_bytes, http.request_timeout_ms), (7, 2_048, 10_000));
    let limits = &loaded.settings.saga.degraded_limits;
    assert_eq!(
        (limits["USD"].as_str(), limits["JPY"].as_str(), limits["EUR"].as_str()),
        ("5.00", "900", "10.00")
    );
    let from = |name: &str| {
        shown(&loaded).into_iter().find(|setting| setting.path.join(".") == name).unwrap().source
    };
    assert_eq!(from("http.max_in_flight"), Source::Environment("PAYMENTS_HTTP__MAX_IN_FLIGHT".to_owned()));
    assert_eq!(from("http.body_limit_bytes"), Source::File(file.path().to_owned()));
    assert_eq!(from("saga.degraded_limits.JPY"), Source::File(file.path().to_owned()));
    assert_eq!(from("http.request_timeout_ms"), Source::Default);
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_where_it_comes_from() {
    let variables =
        [("PAYMENTS_STORE__CONNECTIONS", "1"), ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "9000"), ("HOME", "/")];
    let told = told(&variables, "[http]\nmax_in_flight = 0\nbody_limit_bytes = \"big\"\n");
    assert_eq!(
        told,
        [
            "http.body_limit_bytes must be a whole number, 0 or more, not \"big\" (from FILE)",
            "http.max_in_flight must be 1 to 1000000 (from FILE)",
            "saga.takeover_after_ms must be longer than saga.payment_timeout_ms, so that a payment is not taken from \
             a process that is still at it (from the default; saga.payment_timeout_ms from \
             PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS)",
            "store.connections must be 2 to 10000 (from PAYMENTS_STORE__CONNECTIONS)",
        ]
    );
}

#[test]
fn a_name_that_is_none_leads_to_the_one_that_was_meant() {
    let variables = [
        ("PAYMENTS_HTTP_MAX_IN_FLIGHT", "5"),
        ("PAYMENTS_SAGA__KEEP_HOURS", "48"),
        // They belong to the command line, and to other programs.
        ("PAYMENTS_DATA_DIR", "x"),
        ("PAYMENTS_API_SERVICE_HOST", "10.0.0.1"),
    ];
    let told =
        told(&variables, "[htp]\nbody_limit_bytes = 1\n[http]\nbody_limit_byte = 1\n[zoo]\nlion = 1\n");
    assert_eq!(
        told,
        [
            "htp.body_limit_bytes is no setting: did you mean http.body_limit_bytes? (from FILE)",
            "http.body_limit_byte is no setting: did you mean http.body_limit_bytes? (from FILE)",
            "zoo.lion is no setting (from FILE)",
            "PAYMENTS_HTTP_MAX_IN_FLIGHT is no setting: did you mean PAYMENTS_HTTP__MAX_IN_FLIGHT? (from \
             PAYMENTS_HTTP_MAX_IN_FLIGHT)",
            "saga.keep_hours is no setting: did you mean idempotency.keep_hours? (from PAYMENTS_SAGA__KEEP_HOURS)",
        ]
    );
}

#[test]
fn text_in_the_environment_stays_text_whatever_it_looks_like() {
    for text in ["00123", "true", "1.50", "[1, 2]", "{a=b}"] {
        let variables =
            [("PAYMENTS_SAGA__CHANNEL_NAME", "123"), ("PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD", text)];
        let loaded = read(&variables, None).unwrap().settings;
        assert_eq!(loaded.saga.channel_name, "123");
        let kafka = super::Kafka { brokers: "a:1".to_owned(), ..loaded.kafka }.connection().unwrap().unwrap();
        assert_eq!(kafka.client["sasl.password"], text);
    }
    let quoted =
        [("PAYMENTS_SAGA__CHANNEL_NAME", "\"card\""), ("PAYMENTS_WEBHOOKS__RETRY_PAUSES_MS", "[1, 2]")];
    let loaded = read(&quoted, None).unwrap().settings;
    assert_eq!(
        (loaded.saga.channel_name.as_str(), &loaded.webhooks.retry_pauses_ms[..]),
        ("card", &[1, 2][..])
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_its_lines() {
    let broken = told(&[], "[kafka.client]\nsasl_username = \"x\"\nsasl_password = \"hunter2\n");
    assert!(broken[0].starts_with("the file of settings is no TOML: line 3: "), "{broken:?}");
    assert!(!broken[0].contains("hunter2"), "{broken:?}");
    let missing = read(&[], Some(Path::new("/nowhere/payments.toml"))).unwrap_err().to_string();
    assert!(missing.contains("cannot be read") && missing.contains("/nowhere/payments.toml"), "{missing}");
    assert!(read(&[], Some(file("").path())).is_ok(), "an empty file sets nothing");
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let secret = file("hunter2\n");
    let path = secret.path().to_str().unwrap();
    let variables = [
        ("PAYMENTS_KAFKA__BROKERS", "a:1"),
        ("PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD_FILE", path),
        ("PAYMENTS_KAFKA__CLIENT__SSL_KEY_PASSWORD", "hunter3"),
    ];
    let loaded = read(&variables, None).unwrap();
    let kafka = loaded.settings.kafka.connection().unwrap().unwrap();
    assert_eq!(
        (kafka.client["sasl.password"].as_str(), kafka.client["ssl.key.password"].as_str()),
        ("hunter2", "hunter3")
    );
    let all = format!("{:?} {:?} {kafka:?}", shown(&loaded), loaded.settings);
    assert!(all.contains(path) && !all.contains("hunter"), "{all}");
}

#[test]
fn a_secret_that_cannot_be_had_is_named_and_its_value_is_not() {
    let (secret, empty) = (file("hunter2\n"), file("\n"));
    let path = secret.path().to_str().unwrap();
    let name = "PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD_FILE";
    for (variables, expected) in [
        (
            [(name, "/nowhere/secret"), ("A", "")],
            "kafka.client.sasl_password_file names a file that cannot be used: ",
        ),
        ([(name, empty.path().to_str().unwrap()), ("A", "")], "it is empty"),
        (
            [(name, path), ("PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD", "hunter3")],
            "kafka.client.sasl_password_file is one of two that say what sasl.password is",
        ),
        (
            [
                ("PAYMENTS_KAFKA__CLIENT__SASL_MECHANISM", "SCRAM"),
                ("PAYMENTS_KAFKA__CLIENT__SASL_PASWORD", "hunter2"),
            ],
            "kafka.client.sasl_pasword is refused",
        ),
        (
            [
                ("PAYMENTS_KAFKA__CLIENT__SSL_KEY_PASSWORD", "hunter2"),
                ("PAYMENTS_KAFKA__CLIENT__SECURITY_PROTOCOL", "hunter2"),
            ],
            "kafka.client.security_protocol is refused",
        ),
        (
            [("PAYMENTS_KAFKA__CLIENTS__SASL_PASSWORD", "hunter2"), ("A", "")],
            "kafka.clients.sasl_password is no setting",
        ),
    ] {
        let wrong = read(&variables, None).unwrap_err().to_string();
        assert!(wrong.contains(expected) && !wrong.contains("hunter"), "{wrong}");
    }
}
