//! The engine under test, and accounts for its payments.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use adapter_postgres::database::Database;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use commands::context::{CommandContext, TraceContext};
use commands::ports::{EventStore, StoreError};
use commands::unit::{Step, Unit};
use domain::account::{Opening, Owner};
use domain::{AccountCommand, AccountId, Currency, Money, PostingId, UserId};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::Failure;

/// The engine under test: `payments dev` as a user starts it.
pub(crate) struct Engine {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) data: Arc<TempDir>,
    /// What the load says who it is by, where the engine asks.
    pub(crate) key: Option<String>,
}

impl Engine {
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::start_on(folder()?, &[])
    }

    /// Starts it on a folder that has been its own before, with these variables.
    pub(crate) fn start_on(data: Arc<TempDir>, environment: &[(&str, &str)]) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("payments");
        let mut process = Command::new(&program)
            .args(["dev", "--port", "0", "--data-dir"])
            .arg(data.path())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}; build it with ./dev bench", program.display())
            })?;
        let output = process.stdout.take().ok_or("the engine has no stdout")?;
        for line in BufReader::new(output).lines() {
            if let Some(url) = line?.strip_prefix("ready ") {
                return Ok(Self { process, url: url.to_owned(), data, key: None });
            }
        }
        Err("the engine ended before it was ready; its log is above".into())
    }

    pub(crate) fn rss_mb(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1_024)
    }

    /// Ends the engine as a user does, and waits for it to stop its PostgreSQL.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        Command::new("kill").arg(self.process.id().to_string()).status()?;
        self.process.wait()?;
        Ok(())
    }
}

/// A folder for an engine's data.
pub(crate) fn folder() -> Result<Arc<TempDir>, Failure> {
    Ok(Arc::new(tempfile::Builder::new().prefix("payments-bench-").tempdir()?))
}

impl Drop for Engine {
    fn drop(&mut self) {
        // After a failure: SIGTERM lets it stop its PostgreSQL before the folder goes.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.process.id().to_string()).status();
            let _ = self.process.wait();
        }
    }
}

/// Opens and fills the accounts through the event store itself: the load is what is measured.
pub(crate) async fn seed(database: &Database, users: u64) -> Result<(), Failure> {
    let store = PostgresEventStore::start(database, StoreSettings::default());
    let funding = AccountId::of_system("funding", Currency::USD, 15)?;
    let owner = Owner::System { purpose: "funding".to_owned() };
    store.execute(Unit::led_by(open(&funding, owner), context("seed"))).await?;
    let mut seeding: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for number in 0..users {
        let user_id = UserId::parse(&format!("USER_{number}"))?;
        let posting_id = PostingId::parse(&format!("seed_{number}"))?;
        let (store, funding) = (store.clone(), funding.clone());
        seeding.spawn(async move {
            let account = AccountId::of_user(&user_id, Currency::USD);
            let amount = Money::new(100_000_000, Currency::USD);
            let deposit = AccountCommand::Deposit {
                posting_id: posting_id.clone(),
                amount,
                reference: "seed".to_owned(),
            };
            let unit = Unit::led_by(open(&account, Owner::User { user_id }), context(posting_id.as_str()))
                .then(Step::Account(account, deposit))
                .then(Step::Account(funding, AccountCommand::Debit { posting_id, amount, payment_id: None }))
                .expecting_new();
            store.execute(unit).await.map(|_| ())
        });
        if seeding.len() >= 1_000 {
            seeding.join_next().await.transpose()?.transpose()?;
        }
    }
    while let Some(seeded) = seeding.join_next().await {
        seeded??;
    }
    Ok(())
}

fn open(account_id: &AccountId, owner: Owner) -> Step {
    let opening = Opening { account_id: account_id.clone(), owner, currency: Currency::USD };
    Step::Account(account_id.clone(), AccountCommand::Open(opening))
}

fn context(correlation_id: &str) -> CommandContext {
    CommandContext {
        correlation_id: Arc::from(correlation_id),
        causation_id: Arc::from("bench"),
        actor: Arc::from("bench"),
        trace: Arc::new(TraceContext {
            traceparent: "00-00000000000000000000000000000001-0000000000000001-00".to_owned(),
            tracestate: None,
            baggage: None,
        }),
    }
}
