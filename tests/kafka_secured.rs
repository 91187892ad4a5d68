//! A cluster that asks who is there and speaks TLS: settings pass through, and a password is told to nobody.

use std::fs;

use crate::relay::{TOPICS, is_whole, status};
use crate::support::authority::Authority;
use crate::support::kafka::Broker;
use crate::support::parts::Parts;
use crate::support::process::Server;
use crate::support::receiver::Receiver;
use crate::support::webhooks::{EAGER, register};
use crate::support::{Payment, eventually};

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "tr0ub4dor-and-3";

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_through_tls_and_sasl_and_no_password_is_logged() {
    let parts = Parts::start_with("secured", EAGER).await;
    let authority = Authority::new();
    let (broker, address) = Broker::start_secured("secured", &authority);
    // Its users are kept in the cluster itself, and made by its own tool.
    let scram = format!("SCRAM-SHA-512=[password={PASSWORD}]");
    let user = ["--alter", "--entity-type", "users", "--entity-name", "engine", "--add-config"];
    let made = [&user[..], &[scram.as_str()]].concat();
    assert!(broker.tool("kafka.admin.ConfigCommand", &made).status().unwrap().success());

    let folder = parts.database.folder();
    let trusted = authority.file(folder);
    let password = folder.join("password");
    let process = |role: &str, log: &str, given: &str| {
        fs::write(&password, format!("{given}\n")).unwrap();
        let secured = [
            ("PAYMENTS_KAFKA__BROKERS", address.as_str()),
            ("PAYMENTS_KAFKA__CLIENT__SECURITY_PROTOCOL", "SASL_SSL"),
            ("PAYMENTS_KAFKA__CLIENT__SASL_MECHANISM", "SCRAM-SHA-512"),
            ("PAYMENTS_KAFKA__CLIENT__SASL_USERNAME", "engine"),
            ("PAYMENTS_KAFKA__CLIENT__SASL_PASSWORD_FILE", password.to_str().unwrap()),
            ("PAYMENTS_KAFKA__CLIENT__SSL_CA_LOCATION", trusted.to_str().unwrap()),
        ];
        let settings = [EAGER, &secured].concat();
        Server::start_with(role, &parts.database.url(), &parts.sandbox, &folder.join(log), &settings)
    };
    let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap();

    let receiver = Receiver::start().await;
    parts.client.funded("alice", "10.00").await;
    register(&parts.client, &receiver.url(), &["PaymentCompleted"]).await;
    let refused = process("relay", "refused.log", WRONG);
    eventually("the relay says that it was refused", async || {
        log("refused.log").contains("SASL authentication error")
    })
    .await;
    let url = parts.database.url();
    assert_eq!(status(&url)["position"], 0);
    refused.stop();

    let relay = process("relay", "relay.log", PASSWORD);
    let notifier = process("notifier", "notifier.log", PASSWORD);
    let paid = parts.client.pay(&Payment::of("alice", "secured", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let head = paid.body["position"].as_i64().unwrap();
    eventually("the payment is published", async || status(&url)["position"] == head).await;
    is_whole(&broker.read(TOPICS), head);
    eventually("who waits for it is told", async || receiver.count() == 1).await;
    relay.stop();
    notifier.stop();
    for name in ["refused.log", "relay.log", "notifier.log"] {
        assert!(!log(name).contains(PASSWORD) && !log(name).contains(WRONG), "{name}");
    }
}
