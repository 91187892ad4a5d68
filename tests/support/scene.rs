//! A whole stage for one test: a sandbox, an engine on a folder of its own, a client, the books.

use std::path::Path;
use std::time::{Duration, Instant};

use adapter_postgres::embedded::EmbeddedPostgres;
use serde_json::{Value, json};

use super::books::settled;
use super::folder::Folder;
use super::process::IMPATIENT;
use super::{Books, Client, Engine, SandboxProcess};

/// How long a test waits for what should come within a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Real parts that belong together. They end with it, whatever becomes of the test.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) client: Client,
    engine: Engine,
    sandbox: SandboxProcess,
    settings: Vec<(&'static str, &'static str)>,
    // The last to go: it ends the PostgreSQL of an engine that was killed.
    folder: Folder,
}

impl Scene {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Starts an engine with the settings of a test, and these on top.
    pub(crate) fn start_with(name: &str, settings: &[(&'static str, &'static str)]) -> Self {
        let folder = Folder::new(name);
        let settings = [IMPATIENT, settings].concat();
        // The sandbox tells of itself where the engine does.
        let traces: Vec<_> = settings.iter().filter(|(name, _)| name.starts_with("OTEL_")).copied().collect();
        let sandbox = SandboxProcess::start_with(folder.path(), &traces);
        let engine = Engine::start_with(folder.path(), &sandbox, &settings);
        let client = Client::new(engine.url());
        Self { client, engine, sandbox, settings, folder }
    }

    /// `kill -9` to the engine, and another one on the same folder.
    pub(crate) fn killed_and_started_again(self) -> Self {
        let Self { engine, sandbox, settings, folder, .. } = self;
        engine.kill();
        let engine = Engine::start_with(folder.path(), &sandbox, &settings);
        let client = Client::new(engine.url());
        Self { client, engine, sandbox, settings, folder }
    }

    /// SIGTERM to the engine, and another one on the same folder when it has ended.
    pub(crate) fn stopped_and_started_again(self) -> Self {
        self.started_again_with(&[])
    }

    /// The same with these settings on top.
    pub(crate) fn started_again_with(self, on_top: &[(&'static str, &'static str)]) -> Self {
        let Self { engine, sandbox, settings, folder, .. } = self;
        let settings = [settings.as_slice(), on_top].concat();
        engine.stop();
        let engine = Engine::start_with(folder.path(), &sandbox, &settings);
        let client = Client::new(engine.url());
        Self { client, engine, sandbox, settings, folder }
    }

    /// Where the engine is.
    pub(crate) fn url(&self) -> &str {
        self.engine.url()
    }

    pub(crate) fn engine_pid(&self) -> u32 {
        self.engine.pid()
    }

    pub(crate) fn postmaster_pid(&self) -> u32 {
        self.engine.postmaster_pid()
    }

    pub(crate) fn sandbox(&self) -> &SandboxProcess {
        &self.sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database_url(&self) -> String {
        EmbeddedPostgres::database_url_for(self.path()).unwrap()
    }

    /// Opens and fills the accounts of users `PREFIX0..PREFIX{users}`.
    pub(crate) async fn fund(&self, prefix: &str, users: u64) {
        for user in 0..users {
            self.client.funded(&format!("{prefix}{user}"), "1000000.00").await;
        }
    }

    /// Waits until no payment is under way.
    pub(crate) async fn settled(&self) {
        settled(&self.database_url()).await;
    }

    /// Replaces the sandbox's behaviour.
    pub(crate) async fn sandbox_behaves(&self, behaviour: &Value) {
        let url = format!("{}/v1/behaviour", self.sandbox.url());
        let answer = reqwest::Client::new().put(url).json(behaviour).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// The channel's own record of a payment, under the key that the engine gave it.
    pub(crate) async fn charge(&self, payment_id: &str) -> Option<Value> {
        let url = format!("{}/v1/charges", self.sandbox.url());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let charges = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut charges: Vec<Value> = charges.filter(|charge| charge["payment_id"] == payment_id).collect();
        assert!(charges.len() <= 1, "one payment was asked for under several keys: {charges:?}");
        charges.pop()
    }

    /// How often the channel moved money for a payment.
    pub(crate) async fn charged_times(&self, payment_id: &str) -> u64 {
        self.charge(payment_id).await.map_or(0, |charge| charge["charged_times"].as_u64().unwrap())
    }

    /// Opens an account and fills it; returns its id.
    pub(crate) async fn account(&self, user_id: &str, currency: &str, amount: &str) -> String {
        let opening = json!({ "user_id": user_id, "currency": currency });
        let key = format!("open-{user_id}-{currency}");
        let opened = self.client.post("/api/v1/accounts", &key, &opening).await;
        assert_eq!(opened.status, 201, "{}", opened.text);
        let id = opened.body["account_id"].as_str().unwrap().to_owned();
        let deposit = json!({ "amount": amount, "currency": currency });
        let key = format!("fill-{user_id}-{currency}");
        let filled = self.client.post(&format!("/api/v1/accounts/{id}/deposits"), &key, &deposit).await;
        assert_eq!(filled.status, 201, "{}", filled.text);
        id
    }

    /// `(posted, held, available)` of an account.
    pub(crate) async fn balance(&self, account_id: &str) -> [String; 3] {
        let account = self.client.account(account_id).await;
        assert_eq!(account.status, 200, "{}", account.text);
        ["posted", "held", "available"].map(|field| account.body[field].as_str().unwrap().to_owned())
    }

    /// A payment's story, as `(type, position)`.
    pub(crate) async fn story(&self, payment_id: &str) -> Vec<(String, i64)> {
        let story = self.client.get(&format!("/api/v1/payments/{payment_id}/events")).await;
        assert_eq!(story.status, 200, "{}", story.text);
        let events = story.body["data"].as_array().unwrap().iter();
        events
            .map(|event| (event["type"].as_str().unwrap().to_owned(), event["position"].as_i64().unwrap()))
            .collect()
    }

    /// The names of a payment's events.
    pub(crate) async fn events(&self, payment_id: &str) -> Vec<String> {
        self.story(payment_id).await.into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) async fn books(&self) -> Books {
        Books::audit(&self.database_url()).await
    }

    /// Ends a test in which every payment should be settled: the books are in order, nothing is
    /// held, and the channel's record agrees. Returns the books.
    pub(crate) async fn end_settled(self) -> Books {
        let books = self.books().await;
        books.all_settled();
        books.agree_with_channel(&self.sandbox, true).await;
        self.engine.stop();
        books
    }

    /// Stops the engine in order, and returns its log.
    pub(crate) fn stopped(self) -> String {
        let Self { engine, folder, .. } = self;
        engine.stop();
        std::fs::read_to_string(folder.path().join("engine.log")).unwrap()
    }

    /// Ends a test in which payments stay open.
    pub(crate) async fn end(self) -> Books {
        let books = self.books().await;
        books.agree_with_channel(&self.sandbox, false).await;
        self.engine.stop();
        books
    }
}

/// Asks again until it is so; what never is fails the test.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "it never came to be: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
