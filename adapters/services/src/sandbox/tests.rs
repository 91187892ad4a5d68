//! The sandbox on a real socket, asked by a real client.

mod changes;
mod channel;
mod control;
mod durability;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{Behaviour, Sandbox, SandboxSettings};

/// How long a test waits where it expects an answer, and where it expects none.
const PATIENCE: Duration = Duration::from_secs(20);
const HASTE: Duration = Duration::from_millis(150);

fn settings(behaviour: Behaviour) -> SandboxSettings {
    SandboxSettings { address: (Ipv4Addr::LOCALHOST, 0).into(), record_dir: None, behaviour }
}

fn recorded_in(folder: &Path) -> SandboxSettings {
    SandboxSettings { record_dir: Some(folder.to_path_buf()), ..settings(Behaviour::default()) }
}

/// What a caller saw of an answer.
#[derive(Debug, PartialEq)]
enum Seen {
    Answer(u16, Value),
    Silence,
    Dropped,
}

impl Seen {
    async fn of(result: Result<Response, reqwest::Error>) -> Self {
        match result {
            Ok(response) => {
                let status = response.status().as_u16();
                Self::Answer(status, response.json().await.unwrap())
            }
            Err(error) if error.is_timeout() => Self::Silence,
            Err(_) => Self::Dropped,
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            Self::Silence | Self::Dropped => panic!("no answer but {self:?}"),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Answer(_, body) => body.to_string(),
            Self::Silence | Self::Dropped => panic!("no answer but {self:?}"),
        }
    }
}

fn answer(status: u16, body: Value) -> Seen {
    Seen::Answer(status, body)
}

fn succeeded(status: u16, key: &str) -> Seen {
    let transaction_id = super::behaviour::transaction_id(key);
    answer(status, json!({ "transaction_id": transaction_id, "status": "succeeded" }))
}

fn not_found() -> Seen {
    answer(404, json!({ "status": "not_found" }))
}

/// A caller of one sandbox.
#[derive(Clone)]
struct Caller {
    http: Client,
    url: String,
    patience: Duration,
}

impl Caller {
    fn of(sandbox: &Sandbox) -> Self {
        Self::at(sandbox.base_url())
    }

    fn at(url: String) -> Self {
        Self { http: Client::new(), url, patience: PATIENCE }
    }

    /// The same caller, where no answer is to be expected.
    fn hasty(&self) -> Self {
        Self { patience: HASTE, ..self.clone() }
    }

    async fn pay(&self, key: &str, payment_method: &str) -> Seen {
        self.pay_amount(key, payment_method, "7.53").await
    }

    async fn pay_amount(&self, key: &str, payment_method: &str, amount: &str) -> Seen {
        let body = json!({
            "payment_id": "PAY_42",
            "amount": amount,
            "currency": "USD",
            "payment_method": payment_method,
        });
        self.pay_body(key, &body).await
    }

    async fn pay_body(&self, key: &str, body: &Value) -> Seen {
        let url = format!("{}/v1/charges", self.url);
        let request = self.http.post(url).header("Idempotency-Key", key).json(body);
        Seen::of(request.timeout(self.patience).send().await).await
    }

    async fn inquire(&self, key: &str) -> Seen {
        let url = format!("{}/v1/charges/{key}", self.url);
        Seen::of(self.http.get(url).timeout(self.patience).send().await).await
    }

    async fn evaluate(&self, payment_id: &str, payment_method: &str) -> Seen {
        let body = json!({
            "payment_id": payment_id,
            "user_id": "USER_7",
            "amount": "7.53",
            "currency": "USD",
            "payment_method": payment_method,
        });
        let url = format!("{}/v1/risk/evaluations", self.url);
        Seen::of(self.http.post(url).json(&body).timeout(self.patience).send().await).await
    }

    async fn behave(&self, behaviour: &Value) -> Seen {
        let url = format!("{}/v1/behaviour", self.url);
        Seen::of(self.http.put(url).json(behaviour).send().await).await
    }

    /// The record's lines, by key.
    async fn record(&self) -> Vec<Value> {
        let url = format!("{}/v1/charges", self.url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|line| line["idempotency_key"].to_string());
        lines
    }

    /// `(charged_times, requests)` of the only key.
    async fn counts(&self) -> (u64, u64) {
        let record = self.record().await;
        let [line] = record.as_slice() else { panic!("one key, not {record:?}") };
        (line["charged_times"].as_u64().unwrap(), line["requests"].as_u64().unwrap())
    }
}

async fn started(behaviour: Behaviour) -> (Sandbox, Caller) {
    let sandbox = Sandbox::start(settings(behaviour)).await.unwrap();
    let caller = Caller::of(&sandbox);
    (sandbox, caller)
}
