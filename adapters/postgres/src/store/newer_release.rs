//! A second version made for real: a log that this program has written is read, and written on, by
//! a release to come in which one event has changed its payload and another its name.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, CqrsFramework, DomainEvent};
use domain::account::{Opening, Owner};
use domain::versions::{Shape, Upcaster, VersionedEvent};
use domain::{Account, AccountCommand, AccountId, Currency, Money, PaymentId, PostingId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Error, Value};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::framework::{AggregateStore, execute};
use super::load::PAGE;
use super::lookup::ReadStreams;
use super::slot::SlotCache;
use super::{Keeps, PostgresEventStore, StoreSettings, StoredAggregate, decode};
use crate::database::Database;
use crate::embedded::{ClusterSettings, EmbeddedPostgres};

/// The account of that release, as far as these tests look at it. It could read a snapshot of
/// today's account, and would then miss what its holds are for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Newer {
    posted: i64,
    purposes: BTreeMap<PaymentId, String>,
    blocked: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum NewerEvent {
    AccountOpened(Opening),
    FundsDeposited { posting_id: PostingId, amount: Money, reference: String },
    FundsHeld { payment_id: PaymentId, amount: Money, purpose: String },
    AccountBlocked { reason: String },
}

impl DomainEvent for NewerEvent {
    fn event_type(&self) -> String {
        self.event_name().to_owned()
    }

    fn event_version(&self) -> String {
        self.written_version().to_owned()
    }
}

impl VersionedEvent for NewerEvent {
    const UPCASTERS: &'static [Upcaster] = &[
        Upcaster { from: Shape("FundsHeld", "1"), to: Shape("FundsHeld", "2"), rewrite: funds_held_2 },
        Upcaster { from: Shape("AccountFrozen", "1"), to: Shape("AccountBlocked", "2"), rewrite: Ok },
    ];

    fn event_name(&self) -> &'static str {
        match self {
            Self::AccountOpened(_) => "AccountOpened",
            Self::FundsDeposited { .. } => "FundsDeposited",
            Self::FundsHeld { .. } => "FundsHeld",
            Self::AccountBlocked { .. } => "AccountBlocked",
        }
    }
}

/// 2: a hold says what it is for. Until then only payments could hold.
fn funds_held_2(mut fields: Value) -> Result<Value, Error> {
    fields["purpose"] = "payment".into();
    Ok(fields)
}

impl Aggregate for Newer {
    const TYPE: &'static str = Account::TYPE;
    type Command = NewerEvent;
    type Event = NewerEvent;
    type Error = std::fmt::Error;
    type Services = ();

    async fn handle(
        &mut self,
        happens: NewerEvent,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        sink.write(happens, self).await;
        Ok(())
    }

    fn apply(&mut self, event: NewerEvent) {
        match event {
            NewerEvent::AccountOpened(_) => {}
            NewerEvent::FundsDeposited { amount, .. } => self.posted += amount.minor,
            NewerEvent::FundsHeld { payment_id, purpose, .. } => {
                self.purposes.insert(payment_id, purpose);
            }
            NewerEvent::AccountBlocked { reason } => self.blocked = Some(reason),
        }
    }
}

impl StoredAggregate for Newer {
    type Id = AccountId;
    const SNAPSHOT_EVERY: i64 = Account::SNAPSHOT_EVERY;
    const FOLD_SOURCE: &'static str = include_str!("newer_release.rs");
}

impl Keeps<Newer> for PostgresEventStore {
    fn cache(&self) -> &SlotCache<Newer> {
        static CACHE: LazyLock<SlotCache<Newer>> = LazyLock::new(|| SlotCache::new(1_000));
        &CACHE
    }
}

/// A cluster of its own, which ends with the test however that ends.
struct Cluster {
    postgres: EmbeddedPostgres,
    _folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("payments-test-versions-").tempdir().unwrap();
        // The user that PostgreSQL runs as may be another one.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let settings = ClusterSettings { data_dir: folder.path().join("data"), bin_dir: None, run_as: None };
        Self { postgres: EmbeddedPostgres::start(settings).await.unwrap(), _folder: folder }
    }

    /// A store on it, as another process would have one.
    async fn store(&self) -> (PostgresEventStore, PgPool) {
        let database = Database::open(&self.postgres.database_url(), 4).await.unwrap();
        let settings = StoreSettings { timeout: Duration::from_secs(20), ..StoreSettings::default() };
        (PostgresEventStore::start(&database, settings), database.pool)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(pid) = self.postgres.postmaster_pid() {
            // One that has just ended by itself cannot be told.
            let _ = std::process::Command::new("kill").args(["-QUIT", &pid.to_string()]).status();
        }
    }
}

fn user(name: &str) -> (UserId, AccountId) {
    let user_id = UserId::parse(name).unwrap();
    let account_id = AccountId::of_user(&user_id, Currency::USD);
    (user_id, account_id)
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn payment(number: i64) -> PaymentId {
    PaymentId::parse(&format!("p{number}")).unwrap()
}

/// Has today's program write a stream of so many events: opened, deposits, every tenth a hold, and
/// frozen at its end.
async fn write_stream(store: &PostgresEventStore, name: &str, events: i64) -> AccountId {
    let framework = Arc::new(CqrsFramework::new(AggregateStore::new(store.clone()), vec![], ()));
    let (user_id, account_id) = user(name);
    let opening =
        Opening { account_id: account_id.clone(), owner: Owner::User { user_id }, currency: Currency::USD };
    execute::<Account>(&framework, store, account_id.as_str(), AccountCommand::Open(opening)).await.unwrap();
    let deposit = |number: i64, minor| AccountCommand::Deposit {
        posting_id: PostingId::parse(&format!("d{number}")).unwrap(),
        amount: usd(minor),
        reference: String::new(),
    };
    execute(&framework, store, account_id.as_str(), deposit(0, 1_000_000)).await.unwrap();
    let mut writing = JoinSet::new();
    for number in 3..events {
        let (framework, store, id) = (Arc::clone(&framework), store.clone(), account_id.clone());
        let command = match number % 10 {
            0 => AccountCommand::Hold { payment_id: payment(number), amount: usd(1) },
            _ => deposit(number, 1),
        };
        writing.spawn(async move { execute(&framework, &store, id.as_str(), command).await });
    }
    for written in writing.join_all().await {
        written.unwrap();
    }
    let freeze = AccountCommand::Freeze { reason: "stolen".to_owned() };
    execute(&framework, store, account_id.as_str(), freeze).await.unwrap();
    account_id
}

/// What the release to come must make of such a stream.
fn expected(events: i64) -> Newer {
    let holds = (3..events).filter(|number| number % 10 == 0);
    let purposes: BTreeMap<_, _> = holds.map(|number| (payment(number), "payment".to_owned())).collect();
    let deposits = events - 3 - i64::try_from(purposes.len()).unwrap();
    Newer { posted: 1_000_000 + deposits, purposes, blocked: Some("stolen".to_owned()) }
}

async fn snapshot_of(pool: &PgPool, id: &AccountId) -> Option<(i64, Vec<u8>)> {
    sqlx::query_as("select sequence, fold_hash from snapshots where aggregate_id = $1")
        .bind(id.as_str())
        .fetch_optional(pool)
        .await
        .unwrap()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to be: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_streams_of_every_length_are_read_through_the_upcasters() {
    let cluster = Cluster::start().await;
    let (today, pool) = cluster.store().await;
    // As long as the read of an end, the read by postgres-es, and the read in pages each take.
    for (name, events) in [("short", ReadStreams::TAIL), ("medium", 900), ("long", PAGE + 1_000)] {
        let id = write_stream(&today, name, events).await;
        let loaded = today.loader.load::<Newer>(id.as_str()).await.unwrap();
        assert_eq!((loaded.sequence, &*loaded.aggregate), (events, &expected(events)), "{name}");
        let envelopes = today.loader.events::<Newer>(id.as_str()).await.unwrap();
        let mut folded = Newer::default();
        envelopes.into_iter().for_each(|envelope| folded.apply(envelope.payload));
        assert_eq!(folded, expected(events), "{name}");
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select event_type, event_version, payload::text from events where aggregate_id = $1 order by sequence",
        )
        .bind(id.as_str())
        .fetch_all(&pool)
        .await
        .unwrap();
        assert!(rows.iter().all(|(_, version, _)| version == "1"), "{name} is of today");
        let mut folded = Newer::default();
        rows.iter().for_each(|(kind, version, payload)| {
            folded.apply(decode::<Newer>(kind, version, payload).unwrap());
        });
        assert_eq!(folded, expected(events), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_old_fold_is_not_used_and_one_of_the_new_fold_takes_its_place() {
    const EVENTS: i64 = 1_500;
    let cluster = Cluster::start().await;
    let (today, pool) = cluster.store().await;
    let id = write_stream(&today, "snapshot", EVENTS).await;
    eventually("today's fold has made a snapshot", async || {
        snapshot_of(&pool, &id).await.is_some_and(|(_, fold)| fold == Account::fold_hash())
    })
    .await;

    let loaded = today.loader.load::<Newer>(id.as_str()).await.unwrap();
    assert_eq!((loaded.sequence, &*loaded.aggregate), (EVENTS, &expected(EVENTS)));
    eventually("the new fold has made a snapshot", async || {
        snapshot_of(&pool, &id).await.is_some_and(|(_, fold)| fold == Newer::fold_hash())
    })
    .await;
    let loaded = today.loader.load::<Newer>(id.as_str()).await.unwrap();
    assert_eq!((loaded.sequence, &*loaded.aggregate), (EVENTS, &expected(EVENTS)));
    // That one is used: what it says is believed.
    sqlx::query("update snapshots set state = jsonb_set(state::jsonb, '{posted}', '0')::json")
        .execute(&pool)
        .await
        .unwrap();
    let loaded = today.loader.load::<Newer>(id.as_str()).await.unwrap();
    assert!(loaded.aggregate.posted < EVENTS, "{}", loaded.aggregate.posted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_written_on_in_the_new_version_and_the_old_program_says_to_upgrade() {
    let cluster = Cluster::start().await;
    let (today, pool) = cluster.store().await;
    let id = write_stream(&today, "mixed", 21).await;
    let tomorrow = cluster.store().await.0;
    let framework = CqrsFramework::new(AggregateStore::new(tomorrow.clone()), vec![], ());
    let happens = [
        NewerEvent::FundsHeld { payment_id: payment(1), amount: usd(1), purpose: "escrow".to_owned() },
        NewerEvent::AccountBlocked { reason: "again".to_owned() },
    ];
    for event in happens {
        execute::<Newer>(&framework, &tomorrow, id.as_str(), event).await.unwrap();
    }
    let versions: Vec<(String, String)> = sqlx::query_as(
        "select event_type, event_version from events where aggregate_id = $1 and sequence > 20
          order by sequence",
    )
    .bind(id.as_str())
    .fetch_all(&pool)
    .await
    .unwrap();
    let written = [("AccountFrozen", "1"), ("FundsHeld", "2"), ("AccountBlocked", "2")];
    assert_eq!(versions, written.map(|(kind, version)| (kind.to_owned(), version.to_owned())));

    let mut mixed = expected(21);
    mixed.purposes.insert(payment(1), "escrow".to_owned());
    mixed.blocked = Some("again".to_owned());
    let loaded = cluster.store().await.0.loader.load::<Newer>(id.as_str()).await.unwrap();
    assert_eq!((loaded.sequence, &*loaded.aggregate), (23, &mixed));

    // Today's program must not decide on what it cannot read, nor guess at it.
    let refused = today.loader.load::<Account>(id.as_str()).await.unwrap_err().to_string();
    let told = format!("account {id}: event FundsHeld has version 2, this program reads it up to version 1");
    assert!(refused.contains(&told) && refused.ends_with("upgrade this one"), "{refused}");
    let framework = CqrsFramework::new(AggregateStore::new(today.clone()), vec![], ());
    let unfreeze = execute::<Account>(&framework, &today, id.as_str(), AccountCommand::Unfreeze).await;
    assert!(unfreeze.unwrap_err().to_string().contains("upgrade this one"));
}
