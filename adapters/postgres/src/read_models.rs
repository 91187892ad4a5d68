//! Reading the read models.
//!
//! **Invariant:** rows and the position up to which the log is folded are read by one statement, so
//! they are of one moment, also while a rebuild swaps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::AccountId;
use domain::payment::PaymentStatus;
use projections::ports::{
    AsOf, PaymentFilter, Projection, ProjectionFailure, ProjectionStatus, ReadError, ReadModels,
};
use projections::{AccountBalance, AccountEntry, PaymentRow};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres, Row};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::database::{Database, fetch_all};
use crate::projector::{Progress, balance, entry, fold_hash, payment};

/// How old the positions may be that waiting readers share.
const FRESH: Duration = Duration::from_millis(10);

/// Reads the read models of a database.
#[derive(Debug, Clone)]
pub struct PostgresReadModels {
    pool: PgPool,
    progress: Progress,
    shared: Arc<Mutex<Option<Positions>>>,
}

/// The position of each projection by name, and when they were read.
#[derive(Debug)]
struct Positions {
    read_at: Instant,
    by_name: Vec<(String, i64)>,
}

impl PostgresReadModels {
    /// A reader; `progress` tells it of the projector in this process, if there is one.
    #[must_use]
    pub fn new(database: &Database, progress: Progress) -> Self {
        Self { pool: database.pool.clone(), progress, shared: Arc::default() }
    }

    async fn read(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, ReadError> {
        fetch_all(&self.pool, query).await.map_err(|error| {
            tracing::warn!(%error, "cannot read from the read models");
            ReadError::Unavailable
        })
    }

    /// The position of a projection, read at most every few milliseconds for all who wait.
    async fn position(&self, projection: Projection) -> Result<i64, ReadError> {
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_none_or(|positions| positions.read_at.elapsed() > FRESH) {
            let rows = self.read(sqlx::query("select name, position from projections")).await?;
            let by_name = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            let by_name = by_name.collect::<Result<_, _>>().map_err(damaged)?;
            *shared = Some(Positions { read_at: Instant::now(), by_name });
        }
        let positions = shared.iter().flat_map(|positions| &positions.by_name);
        Ok(positions.filter(|(name, _)| name == projection.name()).map(|(_, position)| *position).sum())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn damaged(error: sqlx::Error) -> ReadError {
    ReadError::Damaged(error.to_string())
}

/// Rows whose last two columns are the projection's position and its time; a row whose first column
/// is null says only that.
fn as_of<T>(
    rows: &[PgRow],
    read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<AsOf<Vec<T>>, sqlx::Error> {
    let Some(first) = rows.first() else {
        // The projector has never run on this database.
        return Ok(AsOf { value: vec![], position: 0, recorded_at: None });
    };
    let position = first.try_get(first.len() - 2)?;
    let recorded_at: Option<DateTime<Utc>> = first.try_get(first.len() - 1)?;
    let found = rows.iter().filter(|row| row.try_get::<Option<&str>, _>(0).is_ok_and(|key| key.is_some()));
    Ok(AsOf { value: found.map(read).collect::<Result<_, _>>()?, position, recorded_at })
}

#[async_trait]
impl ReadModels for PostgresReadModels {
    async fn balance(&self, account: &AccountId) -> Result<AsOf<Option<AccountBalance>>, ReadError> {
        let query = sqlx::query(
            "select b.account_id, b.user_id, b.currency, b.status, b.posted, b.held, b.position, b.event_id,
                    b.recorded_at, p.position, p.recorded_at
               from projections p left join read_models.account_balances b on b.account_id = $1
              where p.name = 'account_balances'",
        );
        let rows = self.read(query.bind(account.as_str())).await?;
        let AsOf { mut value, position, recorded_at } = as_of(&rows, balance).map_err(damaged)?;
        Ok(AsOf { value: value.pop(), position, recorded_at })
    }

    async fn entries(
        &self,
        account: &AccountId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AsOf<Vec<AccountEntry>>, ReadError> {
        let query = sqlx::query(
            "select e.account_id, e.position, e.event_id, e.event_type, e.posting_id, e.payment_id,
                    e.currency, e.amount, e.balance, e.reference, e.recorded_at, p.position, p.recorded_at
               from projections p left join lateral (
                    select * from read_models.account_entries e
                     where e.account_id = $1 and e.position < $2
                     order by e.position desc limit $3) as e on true
              where p.name = 'account_entries' order by e.position desc",
        );
        let query = query.bind(account.as_str()).bind(before.unwrap_or(i64::MAX)).bind(i64::from(limit));
        let rows = self.read(query).await?;
        as_of(&rows, entry).map_err(damaged)
    }

    async fn payments(
        &self,
        filter: &PaymentFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AsOf<Vec<PaymentRow>>, ReadError> {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.name()).collect();
        // One statement for each index, so that the right one is used whatever is asked for.
        let query = match (&filter.user_id, statuses.as_slice()) {
            (Some(_), _) => sqlx::query(PAYMENTS_BY_USER),
            (None, _) if filter.caller.is_some() => sqlx::query(PAYMENTS_BY_CALLER),
            (None, []) => sqlx::query(PAYMENTS_BY_TIME),
            (None, statuses) if statuses.contains(&PaymentStatus::Completed.name()) => {
                sqlx::query(PAYMENTS_BY_TIME)
            }
            (None, _) => sqlx::query(PAYMENTS_BY_STATUS),
        };
        let query = query
            .bind(filter.user_id.as_ref().map(|user| user.as_str()))
            .bind((!statuses.is_empty()).then_some(statuses))
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .bind(filter.from)
            .bind(filter.to)
            .bind(filter.caller.as_deref());
        let rows = self.read(query).await?;
        as_of(&rows, payment).map_err(damaged)
    }

    async fn reached(
        &self,
        projection: Projection,
        position: i64,
        patience: Duration,
    ) -> Result<bool, ReadError> {
        let mut here = self.progress.watch(projection);
        let end = Instant::now() + patience;
        loop {
            if *here.borrow_and_update() >= position || self.position(projection).await? >= position {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // A projector elsewhere tells nobody here: it is time to look again.
            let _ = tokio::time::timeout(left.min(FRESH), here.wait_for(|at| *at >= position)).await;
        }
    }

    async fn waiting_for_review(&self) -> Result<i64, ReadError> {
        let query = sqlx::query("select count(*) from read_models.payments where status = $1")
            .bind(PaymentStatus::NeedsReview.name());
        let rows = self.read(query).await?;
        rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(damaged)
    }

    async fn status(&self) -> Result<Vec<ProjectionStatus>, ReadError> {
        // Positions have no gaps: the first event that is not folded is at the next one. It is a query of
        // its own, so that no plan reads the whole log for it; where there is none, null gives way to 0.
        let query = sqlx::query(
            "select name, coalesce(p.position, 0), greatest(h.position - coalesce(p.position, 0), 0),
                    p.recorded_at, p.fold_hash, b.position,
                    to_regclass('read_models_old.' || name) is not null,
                    p.failed_position, p.failed_event_id, p.failed_reason, p.failed_traceparent, p.failed_at,
                    greatest(extract(epoch from clock_timestamp() - (
                        select recorded_at from events e where e.position = coalesce(p.position, 0) + 1
                    )) * 1000, 0)::bigint
               from unnest($1::text[]) with ordinality as known(name, number) cross join event_log_head h
               left join projections p using (name) left join projection_builds b using (name)
              order by number",
        );
        let rows = self.read(query.bind(Projection::ALL.map(Projection::name).as_slice())).await?;
        rows.iter().map(status).collect::<Result<_, _>>().map_err(damaged)
    }
}

fn status(row: &PgRow) -> Result<ProjectionStatus, sqlx::Error> {
    // Without a row no projector has run on this database yet.
    let (name, hash): (String, Option<&[u8]>) = (row.try_get(0)?, row.try_get(4)?);
    let ours = Projection::named(&name).map(fold_hash);
    let failure = match row.try_get::<Option<i64>, _>(7)? {
        None => None,
        Some(position) => Some(ProjectionFailure {
            position,
            event_id: row.try_get::<Uuid, _>(8)?.to_string(),
            reason: row.try_get(9)?,
            traceparent: row.try_get::<Option<String>, _>(10)?.unwrap_or_default(),
            since: row.try_get(11)?,
        }),
    };
    Ok(ProjectionStatus {
        outdated: hash.is_some_and(|hash| ours.is_none_or(|ours| ours != hash)),
        name,
        position: row.try_get(1)?,
        lag: row.try_get(2)?,
        // The query lets none below zero through.
        lag_ms: row.try_get::<i64, _>(12)?.unsigned_abs(),
        recorded_at: row.try_get(3)?,
        rebuilding: row.try_get(5)?,
        old_kept: row.try_get(6)?,
        failure,
    })
}

/// The columns of a payment and where the projection is; what differs is by which index it is found.
/// Parameters: user, statuses, before, limit, from, to, caller.
macro_rules! payments_by {
    ($found_by:literal) => {
        concat!(
            "select r.payment_id, r.user_id, r.payer, r.payee, r.currency, r.amount, r.payment_method,
                    r.capture, r.status, r.risk::text, r.transaction_id, r.failure::text, r.review_reason,
                    r.captured, r.refunded, r.metadata::text, r.initiated_position, r.initiated_at,
                    r.position, r.updated_at, r.caller, p.position, p.recorded_at
               from projections p left join lateral (
                    select * from read_models.payments r
                     where ",
            $found_by,
            " and r.initiated_position < $3
                       and ($5::timestamptz is null or r.initiated_at >= $5)
                       and ($6::timestamptz is null or r.initiated_at < $6)
                       and ($7::text is null or r.caller = $7)
                     order by r.initiated_position desc limit $4) as r on true
              where p.name = 'payments' order by r.initiated_position desc"
        )
    };
}

const PAYMENTS_BY_USER: &str = payments_by!("r.user_id = $1 and ($2::text[] is null or r.status = any($2))");
const PAYMENTS_BY_CALLER: &str =
    payments_by!("r.caller = $7 and ($2::text[] is null or r.status = any($2)) and $1::text is null");
const PAYMENTS_BY_STATUS: &str =
    payments_by!("r.status = any($2) and r.status <> 'completed' and $1::text is null");
const PAYMENTS_BY_TIME: &str =
    payments_by!("($2::text[] is null or r.status = any($2)) and $1::text is null");
