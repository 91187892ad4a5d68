//! The engine answers as its OpenAPI document says, to whatever that document lets a client send.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::files::root;
use crate::support::parts::tool;
use crate::support::webhooks::{self, EAGER, register};
use crate::support::{Client, Payment, Scene, eventually};

/// Of each operation; the document has some 30. One worker asks: with several, the order is another each time, and
/// the library that makes the examples has fallen over itself.
const EXAMPLES: &str = "8";

/// Nobody listens there.
const RECEIVER: &str = "http://127.0.0.1:9/hooks";

/// Runs schemathesis with every check against the document that an engine serves; its report when it fails.
///
/// `there` has names of the document's values with one that this engine knows: the examples name it, so that not
/// only refusals are looked at. With an API key, every request carries it, and what comes without it must be refused.
async fn ask_everything(scene: &Scene, there: &[(&str, &str)], key: Option<&str>) -> Result<(), String> {
    let program = root().join(".dev/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run ./dev test", program.display());
    let mut document = scene.client.get("/openapi.json").await.body;
    name_what_is_there(&mut document, there);
    if key.is_none() {
        make_keys_optional(&mut document);
    }
    let file = scene.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(scene.path())
        .arg("--config-file")
        .arg(root().join("tests/peers/schemathesis.toml"))
        .args(["run", file.to_str().unwrap(), "--url", scene.url(), "--checks", "all"])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES])
        .args(["--generation-deterministic", "--seed", "42", "--no-shrink"])
        .args(["--continue-on-failure", "--request-timeout", "15", "--no-color"]);
    if let Some(key) = key {
        command.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        // Whoever looks at the test's output sees what was asked.
        assert!(report.contains("Tested:"), "{report}");
        return Ok(());
    }
    Err(format!("{report}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Replaces the examples of some values, wherever they stand.
fn name_what_is_there(document: &mut Value, there: &[(&str, &str)]) {
    let mut text = document.to_string().replace("https://shop.example/hooks", RECEIVER);
    for (value, known) in there {
        let example = document["components"]["schemas"][value]["examples"][0].as_str().unwrap();
        text = text.replace(example, known);
    }
    *document = serde_json::from_str(&text).unwrap();
}

/// An engine that asks for no key is what the document says but for that.
fn make_keys_optional(document: &mut Value) {
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            if let Some(Value::Array(ways)) = operation.get_mut("security") {
                ways.push(json!({}));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_answers_as_its_document_says() {
    let scene = Scene::start_with("contract", EAGER);
    // What the document's examples name is there.
    let hook = register(&scene.client, RECEIVER, &["*"]).await;
    let account = scene.account("USER_7", "USD", "1000.00").await;
    let paid = scene.client.pay(&Payment::of("USER_7", "PAY_42", "7.53")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let story = scene.client.get("/api/v1/payments/PAY_42/events").await.body;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (event, trace) = (text(&story["data"][0]["event_id"]), text(&story["data"][0]["trace_id"]));
    let mut delivery = String::new();
    eventually("a delivery is there", async || {
        let deliveries = webhooks::list(&scene.client, "/api/v1/deliveries").await;
        delivery = deliveries.first().map(|first| text(&first["delivery_id"])).unwrap_or_default();
        !delivery.is_empty()
    })
    .await;
    let there = [
        ("AccountId", account.as_str()),
        ("EndpointId", &hook.id),
        ("DeliveryId", &delivery),
        ("EventId", &event),
        ("TraceId", &trace),
    ];
    if let Err(report) = ask_everything(&scene, &there, None).await {
        panic!("the engine does not answer as its document says:\n{report}");
    }
    // All that was asked has left the books in order.
    scene.settled().await;
    scene.end().await;
}

/// Whoever asks without the key, or with another one, must be refused: schemathesis tries that, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_answers_a_caller_with_a_key_as_its_document_says() {
    let scene = Scene::start_with("contract-key", &[("PAYMENTS_HTTP__AUTHENTICATION", "required")]);
    let create = ["keys", "create", "--caller", "shop", "--scope", "read,write,operate"];
    let (status, key, said) = tool(&scene.database_url(), &create);
    assert_eq!(status, Some(0), "{said}");
    let key = key.trim();
    let client = Client::with_key(scene.url(), key);
    let account = client.funded("USER_7", "1000.00").await;
    assert_eq!(client.pay(&Payment::of("USER_7", "PAY_42", "7.53")).await.status, 201);
    if let Err(report) = ask_everything(&scene, &[("AccountId", &account)], Some(key)).await {
        panic!("the engine does not answer as its document says:\n{}", report.replace(key, "***"));
    }
    scene.settled().await;
    scene.end().await;
}

#[test]
fn the_document_is_openapi_and_its_examples_fit() {
    let python = root().join(".dev/schemathesis/bin/python");
    assert!(python.exists(), "{} is missing: run ./dev test", python.display());
    let output = Command::new(python)
        .current_dir(root())
        .args(["tests/peers/document.py", "docs/openapi.json"])
        .output()
        .unwrap();
    let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("examples fit"), "{told}{log}");
}
