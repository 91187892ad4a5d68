//! The document says what the router, the handlers and the source say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Method, Request};
use commands::webhooks::known_events;
use serde_json::Value;

use super::{get, request, send};
use crate::openapi::document;
use crate::openapi::problems::KINDS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path of the document with something in place of its parameters.
fn concrete(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

/// `(path, method)` of every operation of the document, with the operation.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let item = item.as_object().unwrap().iter();
            item.map(|(method, operation)| ((path.clone(), method.clone()), operation.clone()))
        })
        .collect()
}

/// The methods that the router has at a path, by its own `Allow`.
async fn methods_at(path: &str) -> BTreeSet<String> {
    let got = send(request(Method::from_bytes(b"BREW").unwrap(), &concrete(path), "")).await;
    got.is_problem(405, "method_not_allowed", None);
    got.header("allow").split(',').filter(|method| *method != "HEAD").map(str::to_lowercase).collect()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_the_reverse() {
    let document = document();
    let documented: BTreeSet<_> = operations(&document).into_keys().collect();
    // A route is a text that begins with a slash, where the routes are.
    let source = include_str!("../router.rs");
    let paths = source.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with('/'));
    let mut routed = BTreeSet::new();
    for path in paths {
        for method in methods_at(path).await {
            routed.insert((path.to_owned(), method));
        }
    }
    assert_eq!(routed, documented, "left: what is routed, right: what `openapi/operations` describes");
}

#[tokio::test]
async fn every_field_of_a_request_is_one_that_its_handler_reads() {
    let document = document();
    let mut seen = 0;
    for ((path, method), operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let Some(schema) = schema.as_str().and_then(|to| document.pointer(&to[1..])) else { continue };
        let path = path.replace("{delivery_id}", "whd_1").replace("{endpoint_id}", "whe_1");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let got = send(request(method, &concrete(&path), r#"{"no_such_field":1}"#)).await;
        got.is_problem(422, "unknown_field", Some("no_such_field"));
        let told = got.body["detail"].as_str().unwrap().split_once("the fields are").unwrap().1.to_owned();
        let known: BTreeSet<_> = told.split('`').skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
        let documented: BTreeSet<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(known, documented, "{path}: left: what the handler reads, right: what is documented");
        seen += 1;
    }
    assert!(seen > 8, "{seen} operations have bodies");
}

#[tokio::test]
async fn a_path_that_is_not_text_is_a_problem_everywhere() {
    let document = document();
    for ((path, method), _) in operations(&document).into_iter().filter(|((path, _), _)| path.contains('{')) {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let path = concrete(&path).replace("/x", "/%ff");
        send(request(method, &path, "{}")).await.is_problem(400, "malformed_path", None);
    }
}

/// The codes that problems are made with, by the text of the source.
fn codes_in_the_source() -> BTreeSet<String> {
    let mut files = vec![root().join("adapters/http/src")];
    let mut codes = BTreeSet::new();
    while let Some(path) = files.pop() {
        if path.ends_with("src/tests") || path.ends_with("src/openapi") {
            continue;
        }
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = text(&path);
        let code = source.split("#[cfg(test)]").next().unwrap();
        codes.extend(made_in(code));
    }
    // What a payment failed for is a code, too.
    let domain = text(&root().join("domain/src/payment/event.rs"));
    let reasons = domain.split("impl FailureReason").nth(1).unwrap().split("\n}").next().unwrap();
    codes.extend(reasons.split('"').skip(1).step_by(2).map(str::to_owned));
    codes
}

/// The texts that stand first in a call which makes a problem, behind its status.
fn made_in(source: &str) -> BTreeSet<String> {
    let makers = [
        "Problem::new(",
        "Self::new(",
        "bad_request(",
        "unprocessable(",
        "unavailable(",
        "conflict(",
        "refused(",
        "Problem::unauthenticated(",
    ];
    let mut codes = BTreeSet::new();
    for maker in makers {
        for call in source.split(maker).skip(1) {
            let call = call.trim_start().trim_start_matches("axum::http::");
            let call = match call.strip_prefix("StatusCode::") {
                Some(rest) => rest.split_once(',').map_or("", |(_, rest)| rest).trim_start(),
                None => call,
            };
            if let Some(code) = call.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                codes.insert(code.to_owned());
            }
        }
    }
    codes
}

#[test]
fn every_problem_in_the_source_is_in_the_document_and_the_reverse() {
    let documented: BTreeSet<_> = KINDS.iter().map(|kind| kind.code.to_owned()).collect();
    let made = codes_in_the_source();
    let missing: Vec<_> = made.difference(&documented).collect();
    assert!(missing.is_empty(), "not in openapi/problems.rs: {missing:?}");
    // Some codes are chosen before the problem is made.
    let mut source = String::new();
    for file in ["fields.rs", "keyed.rs", "payments.rs", "path.rs", "problem.rs"] {
        source.push_str(&text(&root().join("adapters/http/src").join(file)));
    }
    let stale: Vec<_> =
        documented.difference(&made).filter(|code| !source.contains(&format!("\"{code}\""))).collect();
    assert!(stale.is_empty(), "in openapi/problems.rs, and nothing answers it: {stale:?}");
}

#[test]
fn every_problem_is_answered_by_an_operation_or_told_at_the_beginning() {
    let document = document();
    let mut answered = BTreeSet::new();
    for operation in operations(&document).into_values() {
        for response in operation["responses"].as_object().unwrap().values() {
            let shared = response["$ref"].as_str().and_then(|to| document.pointer(&to[1..]));
            let response = shared.unwrap_or(response);
            let examples = &response["content"]["application/problem+json"]["examples"];
            answered.extend(examples.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
    }
    let about = document["info"]["description"].as_str().unwrap();
    // Refusals of the domain that no request can lead to: the saga's steps do not offend.
    let unreachable = ["hold_exists", "hold_not_found", "refund_conflict", "system_account"];
    let lost: Vec<_> = KINDS
        .iter()
        .map(|kind| kind.name)
        .filter(|name| !answered.contains(*name) && !about.contains(&format!("`{name}`")))
        .filter(|name| !unreachable.contains(name))
        .collect();
    assert!(lost.is_empty(), "no operation answers {lost:?}");
}

/// The names of a payload's fields: those that are there, and those that are always there.
type Fields = (BTreeSet<String>, BTreeSet<String>);

/// What the golden files of the newest versions have, by event.
fn golden_payloads() -> BTreeMap<String, Fields> {
    let mut newest: BTreeMap<String, (u32, PathBuf)> = BTreeMap::new();
    for entry in fs::read_dir(root().join("domain/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((event, version)) = name.strip_suffix(".json").and_then(|name| name.split_once(".v")) else {
            continue;
        };
        let version = version.parse().unwrap();
        if newest.get(event).is_none_or(|(other, _)| *other < version) {
            newest.insert(event.to_owned(), (version, path));
        }
    }
    let fields = |(event, (_, path)): (String, (u32, PathBuf))| {
        let examples: Vec<Value> = serde_json::from_str(&text(&path)).unwrap();
        let names = examples.iter().map(|example| {
            let shown = commands::shown::payload(&example.to_string()).unwrap();
            shown.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
        });
        let (all, always) = names.fold(
            (BTreeSet::new(), None),
            |(all, always): (BTreeSet<_>, Option<BTreeSet<_>>), names| {
                let always = always.map_or_else(|| names.clone(), |always| &always & &names);
                (&all | &names, Some(always))
            },
        );
        (event, (all, always.unwrap()))
    };
    newest.into_iter().map(fields).collect()
}

#[test]
fn every_event_says_what_its_golden_file_says() {
    let document = document();
    let documented: BTreeMap<String, Fields> = known_events()
        .into_iter()
        .map(|event| {
            let schema = &document["components"]["schemas"][format!("{event}Payload")];
            let all = schema["properties"].as_object().unwrap().keys().cloned().collect();
            let required = schema["required"].as_array().unwrap().iter();
            (event.to_owned(), (all, required.map(|name| name.as_str().unwrap().to_owned()).collect()))
        })
        .collect();
    assert_eq!(golden_payloads(), documented, "left: golden files, right: `openapi/payloads.rs`");
}

/// Everywhere in a value.
fn walk(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                visit(name, member);
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

#[test]
fn the_document_is_sound() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &mut |name, value| {
        if name == "$ref" {
            let to = value.as_str().unwrap();
            assert!(document.pointer(&to[1..]).is_some(), "{to} leads nowhere");
            used.insert(to.to_owned());
        }
    });
    // Some problems are told at the beginning, and no operation refers to their examples.
    let free = ["examples", "securitySchemes"];
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys().filter(|_| !free.contains(&kind.as_str())) {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is not used");
        }
    }
    let mut ids = BTreeSet::new();
    for ((path, method), operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].to_string()), "{path}: {}", operation["operationId"]);
        assert!(!operation["tags"][0].as_str().unwrap().is_empty(), "{method} {path} is in no chapter");
        assert_eq!(method == "post", operation.to_string().contains("/IdempotencyKey"), "{method} {path}");
        for response in operation["responses"].as_object().unwrap().values() {
            let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described || response["$ref"].is_string(), "{method} {path}");
        }
    }
}

#[test]
fn the_committed_document_is_this_one() {
    let path = root().join("docs/openapi.json");
    let committed: Value = serde_json::from_str(&text(&path)).unwrap();
    let same = committed == document();
    assert!(
        same,
        "docs/openapi.json is out of date: cargo run --release -p payments -- openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn the_document_is_served() {
    let got = get("/openapi.json").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.body, document());
}

#[tokio::test]
async fn the_page_asks_this_engine_alone() {
    let page = get("/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("http"), "{policy}");
    for (accepted, encoding) in [("gzip, deflate, br", "gzip"), ("", ""), ("gzip;q=0", ""), ("br", "")] {
        let asked = Request::builder().uri("/docs/redoc.js").header("accept-encoding", accepted);
        let program = send(asked.body(Body::empty()).unwrap()).await;
        assert_eq!(program.status, 200);
        assert_eq!(program.header("content-encoding"), encoding, "{accepted:?}");
    }
}
