//! `docs/api.md` shows real answers: each of its commands is run, and must be answered as the page says.
//!
//! `UPDATE_DOCS=1` writes the answers of this run into the page.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::Scene;
use crate::support::files::{root, text};

const PAGE: &str = "docs/api.md";
/// What the page starts its engine with.
const SETTINGS: &[(&str, &str)] = &[("PAYMENTS_WEBHOOKS__ALLOWED_NETWORKS", r#"["127.0.0.0/8"]"#)];
/// Where the page's engine is.
const HERE: &str = "localhost:8080";
/// What an answer names and a later command uses, as the variable of its name in capitals.
const NAMED: [&str; 5] = ["delivery_id", "endpoint_id", "event_id", "refund_id", "trace_id"];

/// A command of the page, and what it says that is answered.
struct Call {
    command: String,
    shown: String,
}

/// An answer as `curl -i` shows it.
#[derive(Debug)]
struct Shown {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Shown {
    fn read(text: &str) -> Self {
        let text = text.replace('\r', "");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.trim().to_owned() }
    }

    /// As the page shows it: the headers that a client looks at, the body over several lines.
    fn as_shown(&self) -> String {
        let mut shown = format!("{}\n", self.status);
        for name in ["retry-after", "idempotency-replayed", "allow"] {
            if let Some(value) = self.headers.get(name) {
                shown.push_str(&format!("{name}: {value}\n"));
            }
        }
        let body = match serde_json::from_str::<Value>(&self.body) {
            Ok(body) => serde_json::to_string_pretty(&body).unwrap(),
            Err(_) => self
                .body
                .lines()
                .take(4)
                .map(|line| line.chars().take(160).collect::<String>() + "\n")
                .collect(),
        };
        format!("{shown}\n{}\n", body.trim_end())
    }
}

/// The commands of the page: each `sh` block that is followed by an `http` block.
fn calls(page: &str) -> Vec<Call> {
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let pairs = blocks.windows(2).filter_map(|pair| {
        let (command, shown) = (pair[0].strip_prefix("sh\n")?, pair[1].strip_prefix("http\n")?);
        Some(Call { command: command.to_owned(), shown: shown.to_owned() })
    });
    pairs.collect()
}

/// Names and types of a value, without what they are.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), shape(member)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        // One entry stands for all.
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

fn differs(shown: &Shown, got: &Shown) -> Option<String> {
    if shown.status != got.status {
        return Some(format!("{} is shown, {} is answered: {}", shown.status, got.status, got.body));
    }
    if let Some(missing) = shown.headers.keys().find(|name| !got.headers.contains_key(*name)) {
        return Some(format!("the header {missing} is shown, and not answered"));
    }
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (json(&shown.body), json(&got.body)) {
        (Some(shown), Some(got)) if shape(&shown) != shape(&got) => {
            Some(format!("shown: {:#}\nanswered: {:#}", shape(&shown), shape(&got)))
        }
        (Some(_), None) | (None, Some(_)) => {
            Some(format!("{} is shown, {} is answered", shown.body, got.body))
        }
        _ => None,
    }
}

/// Runs a command against an engine.
fn run(command: &str, url: &str, named: &BTreeMap<String, String>) -> Shown {
    let here = url.trim_start_matches("http://");
    let command = command.replace(HERE, here).replace("curl ", "curl -s -i ");
    let output = Command::new("sh").arg("-c").arg(&command).envs(named).output().unwrap();
    Shown::read(&String::from_utf8_lossy(&output.stdout))
}

/// Remembers what an answer names.
fn remember(value: &Value, named: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| NAMED.contains(&name.as_str())) {
                    Some(text) => drop(named.insert(name.to_uppercase(), text.to_owned())),
                    None => remember(member, named),
                }
            }
        }
        Value::Array(items) => items.iter().rev().for_each(|item| remember(item, named)),
        _ => {}
    }
}

/// `GET /api/v1/...` of a command, its path without a query.
fn asked(command: &str) -> (String, String) {
    let path = command.split_once(HERE).unwrap().1;
    let path = path.split(|end: char| end.is_whitespace() || "?'\"".contains(end)).next().unwrap();
    let method = match command.split_once("-X ") {
        Some((_, rest)) => rest.split_whitespace().next().unwrap().to_lowercase(),
        None if command.contains(" -d ") => "post".to_owned(),
        None => "get".to_owned(),
    };
    (method, path.to_owned())
}

fn is_at(path: &str, template: &str) -> bool {
    let (path, template): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len()
        && path.iter().zip(template).all(|(part, of)| *part == of || of.starts_with('{'))
}

#[test]
fn every_call_of_the_document_has_a_command() {
    let document: Value = serde_json::from_str(&text("docs/openapi.json")).unwrap();
    let asked: BTreeSet<_> = calls(&text(PAGE)).iter().map(|call| asked(&call.command)).collect();
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| template.starts_with("/api/")) {
            // Where one path has a name of its own, it is that one's and not an identifier.
            let there = asked.iter().any(|(asked, path)| asked == method && is_at(path, template));
            assert!(there, "{PAGE} has no command for {method} {template}");
        }
    }
}

#[test]
fn every_problem_of_the_document_is_explained() {
    let document: Value = serde_json::from_str(&text("docs/openapi.json")).unwrap();
    let page = text(PAGE);
    for example in document["components"]["examples"].as_object().unwrap().values() {
        let (code, then) = (example["value"]["code"].as_str().unwrap(), example["summary"].as_str().unwrap());
        let line = format!("| {} | `{code}` | {then} |", example["value"]["status"]);
        assert!(page.contains(&line), "{PAGE} lacks the line: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_is_answered_as_the_page_shows() {
    let mut page = text(PAGE);
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let scene = Scene::start_with("api-page", SETTINGS);
    let mut named = BTreeMap::new();
    for call in calls(&page) {
        let shown = Shown::read(&call.shown);
        // A repeat of a reading may find what was under way.
        let mut tries = if call.command.contains(" -d ") || call.command.contains("-X ") { 1 } else { 40 };
        let mut got = run(&call.command, scene.url(), &named);
        while tries > 1 && differs(&shown, &got).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            got = run(&call.command, scene.url(), &named);
            tries -= 1;
        }
        if let Ok(body) = serde_json::from_str(&got.body) {
            remember(&body, &mut named);
        }
        match differs(&shown, &got) {
            Some(_) if update => {
                let before = format!("```sh\n{}```\n\n```http\n{}```", call.command, call.shown);
                let after = format!("```sh\n{}```\n\n```http\n{}```", call.command, got.as_shown());
                assert!(
                    page.contains(&before),
                    "between command and answer is an empty line: {}",
                    call.command
                );
                page = page.replacen(&before, &after, 1);
            }
            Some(difference) => {
                panic!("{PAGE}: {}\n{difference}\nUPDATE_DOCS=1 writes the answers anew", call.command)
            }
            None => {}
        }
    }
    if update {
        std::fs::write(root().join(PAGE), page).unwrap();
    }
    scene.stopped();
}
