//! The engine answers as its OpenAPI document says, to whatever that document lets a client send.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::files::root;
use crate::support::{Payment, Scene};

/// Of each operation; the document has some 30.
const EXAMPLES: &str = "8";

/// Runs schemathesis with every check against the document that an engine serves; its report when it fails.
///
/// With an API key, every request carries it, and what comes without it must be refused.
async fn ask_everything(scene: &Scene, key: Option<&str>) -> Result<(), String> {
    let program = root().join(".dev/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run ./dev test", program.display());
    let mut document = scene.client.get("/openapi.json").await.body;
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
        .args([
            "--phases",
            "examples,coverage,fuzzing,stateful",
            "--max-examples",
            EXAMPLES,
            "--workers",
            "2",
        ])
        .args(["--generation-deterministic", "--generation-database", "none", "--seed", "42", "--no-shrink"])
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

/// An engine that asks for no key is what the document says but for that.
fn make_keys_optional(document: &mut Value) {
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            if let Some(ways) = operation["security"].as_array_mut() {
                ways.push(json!({}));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_answers_as_its_document_says() {
    let scene = Scene::start("contract");
    // What the document's examples name is there.
    let account = scene.account("USER_7", "USD", "1000.00").await;
    let document = scene.client.get("/openapi.json").await.body;
    let example = &document["components"]["schemas"]["AccountId"]["examples"][0];
    assert_eq!(example.as_str(), Some(account.as_str()), "the account of the document's examples");
    scene.client.pay(&Payment::of("USER_7", "PAY_42", "7.53")).await;
    if let Err(report) = ask_everything(&scene, None).await {
        panic!("the engine does not answer as its document says:\n{report}");
    }
    // All that was asked has left the books in order.
    scene.settled().await;
    scene.end().await;
}
