//! `append`: commands through `CqrsFramework` on our store, beside stock postgres-es on the same
//! aggregate and a raw writer that only sends the batch statement.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adapter_postgres::database::Database;
use adapter_postgres::store::framework::{AggregateStore, execute};
use adapter_postgres::store::{APPEND, PostgresEventStore, StoreSettings};
use clap::Args;
use commands::ports::EventStore;
use cqrs_es::{AggregateError, CqrsFramework};
use domain::account::{Opening, Owner};
use domain::{Account, AccountCommand, AccountId, Currency, Money, PostingId, UserId};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Failure;
use crate::cluster::BenchDatabase;
use crate::report::{Report, grouped, per_second, ratio};
use crate::stock::stock;

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct AppendArguments {
    /// An empty database to run on instead of a private cluster.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Commands under way at once.
    #[arg(long, default_value_t = 256)]
    callers: u64,
    /// Accounts of the uniform load.
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// Events of the account that is loaded cold.
    #[arg(long, default_value_t = 1_000_000)]
    long_stream: u64,
}

pub(crate) async fn run(options: &AppendArguments) -> Result<Report, Failure> {
    let cluster = BenchDatabase::start(options.database_url.as_deref()).await?;
    let database = Database::open(&cluster.url, 32).await?;
    let store = PostgresEventStore::start(&database, StoreSettings::default());
    let accounts = open_accounts(&store, options.accounts).await?;
    let stock_pool = stock(&cluster.url, i64::MAX).await?;

    let mut report = Report::new("append: commands a second through CqrsFramework, 256 callers, fsync on");
    let mut ours_uniform = 0;
    for (label, key, count) in [
        ("100,000 accounts", "uniform", accounts.len()),
        ("10 accounts", "hot10", 10),
        ("1 account", "hot1", 1),
    ] {
        let some: Arc<[AccountId]> = accounts.iter().take(count.min(accounts.len())).cloned().collect();
        let stock = measure_stock(&stock_pool, &some, options).await?;
        let ours = measure_ours(&store, &some, options).await?;
        if key == "uniform" {
            ours_uniform = ours;
        }
        let note = format!("stock postgres-es {}", grouped(stock));
        report.row(&format!("our store, {label}"), grouped(ours), note);
        report.key(&format!("commands_per_s_{key}"), ours);
        report.key(&format!("stock_per_s_{key}"), stock);
        report.key(&format!("vs_stock_{key}"), ratio(ours, stock));
    }
    let raw = measure_raw(&cluster.url, &accounts, options).await?;
    report.row("raw writer of the batch statement", grouped(raw), "events a second, batches of 256");
    report.key("raw_per_s", raw);
    report.key("append_vs_raw", ratio(ours_uniform, raw));

    let load = measure_cold_load(&database, options.long_stream).await?;
    report.row(
        "cold load of a long account",
        format!("{} ms", load.as_millis()),
        grouped(options.long_stream) + " events",
    );
    report.key("load_ms", u64::try_from(load.as_millis())?);
    drop(store);
    cluster.stop().await?;
    Ok(report)
}

fn account(number: u64) -> Result<(AccountId, AccountCommand), Failure> {
    let user_id = UserId::parse(&format!("USER_{number}"))?;
    let account_id = AccountId::of_user(&user_id, Currency::USD);
    let opening =
        Opening { account_id: account_id.clone(), owner: Owner::User { user_id }, currency: Currency::USD };
    Ok((account_id, AccountCommand::Open(opening)))
}

fn deposit(number: u64) -> AccountCommand {
    // The id fits the alphabet by construction; a benchmark that cannot name its postings may stop.
    let posting_id = PostingId::parse(&format!("dep_{number:016x}")).unwrap_or_else(|_| unreachable!());
    AccountCommand::Deposit {
        posting_id,
        amount: Money::new(100, Currency::USD),
        reference: "bench".to_owned(),
    }
}

fn accounts_framework(store: &PostgresEventStore) -> CqrsFramework<Account, AggregateStore> {
    CqrsFramework::new(AggregateStore::new(store.clone()), vec![], ())
}

async fn open_accounts(store: &PostgresEventStore, count: u64) -> Result<Vec<AccountId>, Failure> {
    let mut accounts = vec![];
    let mut opening = JoinSet::new();
    let framework = Arc::new(accounts_framework(store));
    for number in 0..count {
        let (account_id, command) = account(number)?;
        accounts.push(account_id.clone());
        let (framework, store) = (Arc::clone(&framework), store.clone());
        opening.spawn(async move { execute(&framework, &store, account_id.as_str(), command).await });
        if opening.len() >= 2_000 {
            opening.join_next().await.transpose()?.transpose()?;
        }
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    Ok(accounts)
}

/// Runs `command` from all callers until the time is over; counts those that succeed.
async fn closed_loop<F, Fut>(options: &AppendArguments, command: F) -> Result<u64, Failure>
where
    F: Fn(u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<bool, Failure>> + Send,
{
    let succeeded = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let end = started + Duration::from_secs(options.seconds);
    let mut callers = JoinSet::new();
    for caller in 0..options.callers {
        let (command, succeeded) = (command.clone(), Arc::clone(&succeeded));
        callers.spawn(async move {
            let mut number = caller << 40;
            while Instant::now() < end {
                if command(number).await? {
                    succeeded.fetch_add(1, Ordering::Relaxed);
                }
                number += 1;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(per_second(succeeded.load(Ordering::Relaxed), started.elapsed()))
}

/// Spreads numbers over accounts without a random generator's cost.
fn pick(accounts: &[AccountId], number: u64) -> AccountId {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let index = usize::try_from(mixed).unwrap_or(0) % accounts.len();
    accounts[index].clone()
}

async fn measure_ours(
    store: &PostgresEventStore,
    accounts: &Arc<[AccountId]>,
    options: &AppendArguments,
) -> Result<u64, Failure> {
    let framework = Arc::new(accounts_framework(store));
    let (accounts, store) = (Arc::clone(accounts), store.clone());
    closed_loop(options, move |number| {
        let (framework, store, account) = (Arc::clone(&framework), store.clone(), pick(&accounts, number));
        async move {
            execute::<Account>(&framework, &store, account.as_str(), deposit(number)).await?;
            Ok(true)
        }
    })
    .await
}

async fn measure_stock(
    pool: &PgPool,
    accounts: &Arc<[AccountId]>,
    options: &AppendArguments,
) -> Result<u64, Failure> {
    let cqrs: Arc<PostgresCqrs<Account>> = Arc::new(postgres_cqrs(pool.clone(), vec![], ()));
    let accounts = Arc::clone(accounts);
    closed_loop(options, move |number| {
        let (cqrs, account) = (Arc::clone(&cqrs), pick(&accounts, number));
        async move {
            match cqrs.execute(account.as_str(), deposit(number)).await {
                Ok(()) => Ok(true),
                Err(AggregateError::AggregateConflict) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }
    })
    .await
}

/// One connection, one batch after the other, with nothing to decide: what the statement can do.
async fn measure_raw(url: &str, accounts: &[AccountId], options: &AppendArguments) -> Result<u64, Failure> {
    const BATCH: u64 = 256;
    let mut connection = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
    let started = Instant::now();
    let (mut events, mut number) = (0, 0_u64);
    let payload = serde_json::to_string(&domain::AccountEvent::FundsDeposited {
        posting_id: PostingId::parse("dep_0000000000000000")?,
        amount: Money::new(100, Currency::USD),
        reference: "bench".to_owned(),
    })?;
    while started.elapsed() < Duration::from_secs(options.seconds) {
        let ids: Vec<AccountId> = (number..number + BATCH).map(|number| pick(accounts, number)).collect();
        let size = usize::try_from(BATCH)?;
        let texts = |text: &'static str| vec![text; size];
        let sequences: Vec<i64> =
            (number..number + BATCH).map(|n| i64::try_from(n + (1 << 40)).unwrap_or(0)).collect();
        number += BATCH;
        sqlx::query(APPEND)
            .bind(i64::try_from(BATCH)?)
            .bind((0..BATCH).map(|_| event_id()).collect::<Vec<_>>())
            .bind(texts("account"))
            .bind(ids.iter().map(AccountId::as_str).collect::<Vec<_>>())
            .bind(sequences)
            .bind(texts("FundsDeposited"))
            .bind(texts("1"))
            .bind(vec![payload.as_str(); size])
            .bind(ids.iter().map(AccountId::as_str).collect::<Vec<_>>())
            .bind(texts("command"))
            .bind(texts("engine"))
            .bind(texts("00-00000000000000000000000000000000-0000000000000000-00"))
            .bind(vec![None::<&str>; size])
            .bind(vec![None::<&str>; size])
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&[u8]>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<i16>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<Option<i64>>::new())
            .bind(vec![0_u8; size * 32])
            .fetch_all(&mut connection)
            .await?;
        events += BATCH;
    }
    Ok(per_second(events, started.elapsed()))
}

#[expect(clippy::disallowed_methods, reason = "the raw writer names its events as the store does")]
fn event_id() -> Uuid {
    Uuid::now_v7()
}

/// Grows one account through the store, then loads it in a store that has never seen it.
async fn measure_cold_load(database: &Database, events: u64) -> Result<Duration, Failure> {
    let store = PostgresEventStore::start(database, StoreSettings::default());
    let (account_id, open) = account(u64::MAX)?;
    let framework = Arc::new(accounts_framework(&store));
    execute::<Account>(&framework, &store, account_id.as_str(), open).await?;
    let mut callers = JoinSet::new();
    for caller in 0..512_u64 {
        let (framework, store, id) = (Arc::clone(&framework), store.clone(), account_id.clone());
        callers.spawn(async move {
            for number in 0..events / 512 {
                execute::<Account>(&framework, &store, id.as_str(), deposit((caller << 40) + number)).await?;
            }
            Ok::<_, AggregateError<domain::AccountError>>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let cold = PostgresEventStore::start(database, StoreSettings::default());
    let started = Instant::now();
    let stored = cold.account(&account_id).await?;
    let elapsed = started.elapsed();
    let expected = 100 * i64::try_from(events / 512 * 512)?;
    if stored.state.posted() != Some(Money::new(expected, Currency::USD)) {
        return Err(format!("the loaded account has {:?}, not {expected}", stored.state.posted()).into());
    }
    Ok(elapsed)
}
