//! A receiver of webhooks, as an integrator would write one, and as they misbehave.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::authority::Authority;

/// What a receiver says to a message.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Status(u16),
    /// A status and a header.
    With(u16, &'static str, String),
    /// Answers after a while.
    Late(Duration),
    /// Nothing, ever.
    Nothing,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The same as the reference library is given it.
    pub(crate) fn for_verification(&self, secret: &str) -> Value {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: Value = names.map(|name| (name, self.header(name))).into_iter().collect();
        json!({ "secret": secret, "headers": headers, "body": self.body })
    }
}

#[derive(Debug)]
struct Script {
    /// What is said next, one after the other; then `always`.
    next: VecDeque<Say>,
    always: Say,
    received: Vec<Received>,
}

/// Answers 200 until it is told otherwise, and remembers what came.
#[derive(Debug)]
pub(crate) struct Receiver {
    base: String,
    script: Arc<Mutex<Script>>,
    // Ends with it.
    _serving: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve("http", listener.local_addr().unwrap(), listener)
    }

    /// One that speaks TLS, with a certificate of this authority.
    pub(crate) async fn start_secured(authority: &Authority) -> Self {
        let listener = authority.listen().await;
        Self::serve("https", listener.local_addr().unwrap(), listener)
    }

    fn serve(scheme: &str, address: SocketAddr, listener: impl Listener<Addr = SocketAddr>) -> Self {
        let script = Script { next: VecDeque::new(), always: Say::Status(200), received: vec![] };
        let script = Arc::new(Mutex::new(script));
        let base = format!("{scheme}://{address}");
        let app = Router::new().fallback(take).with_state(Arc::clone(&script));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, script, _serving: serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/hook", self.base)
    }

    /// The same by a name, which has to be resolved.
    pub(crate) fn url_by_name(&self) -> String {
        self.url().replace("127.0.0.1", "localhost")
    }

    /// Says these, one to each message, and then what it said before.
    pub(crate) fn says(&self, answers: &[Say]) {
        self.script.lock().unwrap().next.extend(answers.iter().cloned());
    }

    pub(crate) fn always_says(&self, answer: Say) {
        self.script.lock().unwrap().always = answer;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.script.lock().unwrap().received.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.script.lock().unwrap().received.len()
    }
}

async fn take(
    State(script): State<Arc<Mutex<Script>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let answer = {
        let mut script = script.lock().unwrap();
        script.received.push(Received { at: Instant::now(), path: uri.path().to_owned(), headers, body });
        let next = script.next.pop_front();
        next.unwrap_or_else(|| script.always.clone())
    };
    match answer {
        Say::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Say::With(status, name, value) => {
            (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response()
        }
        Say::Late(after) => {
            tokio::time::sleep(after).await;
            StatusCode::OK.into_response()
        }
        Say::Nothing => std::future::pending().await,
    }
}

/// What the reference library says of messages, one line for each.
pub(crate) fn verify(messages: &[Value]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".dev/python/bin/python");
    assert!(python.exists(), "{} is missing: run ./dev test", python.display());
    let mut checking = Command::new(python)
        .arg(root.join("tests/peers/verify_webhook.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
    checking.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = checking.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
