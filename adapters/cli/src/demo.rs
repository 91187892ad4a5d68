//! `payments demo`: real payments on a fresh `payments dev`, and the story of each, event by event.

use std::sync::Arc;
use std::time::Duration;

use adapter_telemetry::Meters;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::arguments::DemoArguments;
use crate::dev::Dev;
use crate::event_line::{event_line, text};
use crate::serve::announce;
use crate::settings::Settings;
use crate::signals::Shutdown;

/// How long the demo waits for the payment with a lost answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is paid, and what becomes of it.
const PAYMENTS: [Scene; 4] = [
    Scene { title: "A payment completes", user: "alice", amount: "25.00", method: "credit_card" },
    Scene {
        title: "The channel declines: the hold is released",
        user: "alice",
        amount: "40.00",
        method: "card_declined",
    },
    Scene {
        title: "The risk is too high: no money is touched",
        user: "bob",
        amount: "900.00",
        method: "card_high_risk",
    },
    Scene {
        title: "The channel charges, and its answer is lost: inquiry finds out",
        user: "bob",
        amount: "12.34",
        method: "card_lost_answer",
    },
];

struct Scene {
    title: &'static str,
    user: &'static str,
    amount: &'static str,
    method: &'static str,
}

pub(crate) async fn run(
    options: DemoArguments,
    mut settings: Settings,
    meters: Arc<Meters>,
) -> Result<(), Failure> {
    // A person watches: the lost answer is given up after a second, and only warnings are logged.
    settings.services.channel_timeout_ms = settings.services.channel_timeout_ms.min(1_000);
    // The visitor has no key and knows no authority.
    settings.http.for_visitor();
    let dev = Dev::start(options.dev, &settings, meters).await?;
    let address = dev.address()?;
    let shutdown = Shutdown::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine serves beside its own visitor; it is awaited below"
    )]
    let serving: JoinHandle<Result<(), Failure>> = {
        let (requested, at_once) = (shutdown.requested(), shutdown.at_once());
        let asked = async move {
            tokio::select! { () = requested => {}, _ = stopped => {} }
        };
        tokio::spawn(dev.serve(asked, at_once))
    };
    let visitor = Visitor { base: format!("http://{address}"), client: reqwest::Client::new() };
    let told = visitor.tell().await;
    if told.is_err() || options.once {
        drop(stop);
        serving.await??;
        return told;
    }
    visitor.invite();
    announce(address, false);
    let served = serving.await?;
    drop(stop);
    served
}

struct Visitor {
    base: String,
    client: reqwest::Client,
}

impl Visitor {
    async fn tell(&self) -> Result<(), Failure> {
        let run = run_id();
        say("\n  Two accounts are opened and filled.\n");
        let mut accounts = vec![];
        for user in ["alice", "bob"] {
            let user_id = format!("{user}-{run}");
            let body = json!({ "user_id": user_id, "currency": "USD" });
            let (_, account) = self.post("/api/v1/accounts", &format!("open-{user_id}"), &body).await?;
            let id = text(&account, "account_id").to_owned();
            let body = json!({ "amount": "1000.00", "currency": "USD", "reference": "demo" });
            let path = format!("/api/v1/accounts/{id}/deposits");
            let (_, account) = self.post(&path, &format!("fill-{user_id}"), &body).await?;
            say(&format!("    {user:<6} {id}  available {} USD", text(&account, "available")));
            accounts.push((user, user_id, id));
        }
        for (number, scene) in PAYMENTS.iter().enumerate() {
            let (_, user_id, _) =
                accounts.iter().find(|(user, _, _)| *user == scene.user).ok_or("the demo knows its users")?;
            self.play(number + 1, scene, user_id, &run).await?;
        }
        say("  What is left\n");
        for (user, _, id) in &accounts {
            let account = self.get(&format!("/api/v1/accounts/{id}")).await?;
            say(&format!(
                "    {user:<6} posted {:>8}  held {:>6}  available {:>8} USD",
                text(&account, "posted"),
                text(&account, "held"),
                text(&account, "available")
            ));
        }
        say("");
        Ok(())
    }

    async fn play(&self, number: usize, scene: &Scene, user_id: &str, run: &str) -> Result<(), Failure> {
        let payment_id = format!("demo-{number}-{run}");
        say(&format!("\n  {number}. {}", scene.title));
        say(&format!(
            "     POST /api/v1/payments  {} pays {} USD by {}",
            scene.user, scene.amount, scene.method
        ));
        let body = json!({
            "payment_id": payment_id, "user_id": user_id, "amount": scene.amount, "currency": "USD",
            "payment_method": scene.method,
        });
        let (status, answer) = self.post("/api/v1/payments", &format!("key-{payment_id}"), &body).await?;
        let said =
            answer.get("detail").or_else(|| answer.get("message")).and_then(Value::as_str).unwrap_or("");
        say(&format!("     {status}  {said}"));
        self.settled(&payment_id).await?;
        let story = self.get(&format!("/api/v1/payments/{payment_id}/events")).await?;
        let events = story["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            say(&format!("     {}", event_line(event)));
        }
        say("");
        Ok(())
    }

    async fn settled(&self, payment_id: &str) -> Result<(), Failure> {
        let started = std::time::Instant::now();
        loop {
            let payment = self.get(&format!("/api/v1/payments/{payment_id}")).await?;
            if text(&payment, "status") != "processing" {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("payment {payment_id} is still being processed").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Says how to go on by hand.
    fn invite(&self) {
        let base = &self.base;
        say(&format!(
            "  Go on by hand; stop with Ctrl-C.\n
    curl -X POST {base}/api/v1/accounts -H 'Content-Type: application/json' \\
         -H 'Idempotency-Key: open-carol' -d '{{\"user_id\":\"carol\",\"currency\":\"USD\"}}'
    curl -X POST {base}/api/v1/accounts/ACCOUNT_ID/deposits -H 'Content-Type: application/json' \\
         -H 'Idempotency-Key: fill-carol' -d '{{\"amount\":\"100.00\",\"currency\":\"USD\"}}'
    curl -X POST {base}/api/v1/payments -H 'Content-Type: application/json' \\
         -H 'Idempotency-Key: pay-carol-1' \\
         -d '{{\"user_id\":\"carol\",\"amount\":7.53,\"currency\":\"USD\",\"payment_method\":\"credit_card\"}}'
    curl {base}/api/v1/payments/PAYMENT_ID/events

  Other payment methods to try: card_declined, card_high_risk, card_lost_answer, card_timeout,
  card_server_error, card_slow; `payments sandbox --help` has them all.\n"
        ));
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let request =
            self.client.post(format!("{}{path}", self.base)).header("Idempotency-Key", key).json(body);
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        let response = self.client.get(format!("{}{path}", self.base)).send().await?;
        let status = response.status();
        let body: Value = response.json().await?;
        if status.is_success() { Ok(body) } else { Err(format!("GET {path}: {status} {body}").into()) }
    }
}

/// Names of an earlier demo in the same data folder are not taken again.
#[expect(clippy::disallowed_methods, reason = "names of a demo")]
fn run_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id.chars().take(6).collect()
}

#[expect(clippy::print_stdout, reason = "the demo talks to a person")]
fn say(line: &str) {
    println!("{line}");
}
