//! Webhooks as a test registers and looks at them.

use serde_json::{Value, json};

use super::{Client, Scene};

/// Settings of a notifier that may send to this machine and does not wait for days.
pub(crate) const EAGER: &[(&str, &str)] = &[
    ("PAYMENTS_WEBHOOKS__ALLOWED_NETWORKS", r#"["127.0.0.0/8"]"#),
    ("PAYMENTS_WEBHOOKS__TIMEOUT_MS", "800"),
    ("PAYMENTS_WEBHOOKS__RETRY_PAUSES_MS", "[50, 100, 200]"),
    ("PAYMENTS_WEBHOOKS__POLL_MS", "30"),
];

/// An engine with [`EAGER`].
pub(crate) fn start(name: &str) -> Scene {
    Scene::start_with(name, EAGER)
}

/// A registered endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Registers a URL for events.
pub(crate) async fn register(client: &Client, url: &str, event_types: &[&str]) -> Hook {
    let body = json!({ "url": url, "event_types": event_types });
    let key = format!("register {url} {event_types:?}");
    let registered = client.post("/api/v1/webhooks", &key, &body).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    let text = |field: &str| registered.body[field].as_str().unwrap().to_owned();
    Hook { id: text("endpoint_id"), secret: text("secret") }
}

impl Hook {
    pub(crate) fn path(&self) -> String {
        format!("/api/v1/webhooks/{}", self.id)
    }

    /// Its deliveries, the oldest first.
    pub(crate) async fn deliveries(&self, client: &Client) -> Vec<Value> {
        let mut found = list(client, &format!("{}/deliveries?limit=1000", self.path())).await;
        found.reverse();
        found
    }

    /// How many of its deliveries have a status.
    pub(crate) async fn count(&self, client: &Client, status: &str) -> usize {
        list(client, &format!("{}/deliveries?limit=1000&status={status}", self.path())).await.len()
    }
}

/// The first page of a list.
pub(crate) async fn list(client: &Client, path: &str) -> Vec<Value> {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["data"].as_array().unwrap().clone()
}
