//! `payments review`: payments whose outcome nobody could tell, for an operator.
//!
//! The list is read from the read model of payments, so it says as of which position it is.
//! Resolving has the event store and nothing else: neither the channel nor the risk service is within
//! reach.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::projections::PaymentRow;
use ::projections::ports::{AsOf, PaymentFilter, Projection, ProjectionStatus, ReadModels};
use adapter_postgres::database::Database;
use adapter_postgres::projector::Progress;
use adapter_postgres::read_models::PostgresReadModels;
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use chrono::{SecondsFormat, TimeDelta, Utc};
use commands::context::TraceContext;
use commands::ports::StoreError;
use commands::saga::{Resolution, Resolved, ReviewDesk, ReviewError};
use commands::system_accounts::SystemAccounts;
use domain::payment::{PaymentStatus, ReviewOutcome};
use serde_json::json;

use crate::Failure;
use crate::arguments::{ResolveArguments, ReviewArguments, ReviewTool};
use crate::connect::connect;
use crate::engine::random_shard;
use crate::settings::Settings;

/// Payments that one query reads.
const PAGE: u32 = 1_000;
/// A list that lacks less than this is as good as one of now: the projector follows within milliseconds.
const LAG_WORTH_TELLING_MS: u64 = 1_000;

pub(crate) async fn run(options: ReviewArguments, settings: Settings) -> Result<ExitCode, Failure> {
    let database = connect(&options.database).await?;
    match options.tool {
        ReviewTool::List { json } => list(&database, json).await?,
        ReviewTool::Resolve(resolve) => resolve_one(&database, resolve, settings).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(database: &Database, json: bool) -> Result<(), Failure> {
    let read_models = PostgresReadModels::new(database, Progress::default());
    // Asked for first: what is read after it can only be newer than it says.
    let status = read_models.status().await?;
    let waiting = in_review(&read_models).await?;
    let of_payments = status.iter().find(|status| status.name == Projection::Payments.name());
    if let Some(doubt) = of_payments.and_then(doubt) {
        writeln!(io::stderr(), "this may not be all: {doubt}; look at: payments projections list")?;
    }
    match write_list(&waiting, json) {
        // Nobody reads on, `head` for instance.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The payments in review, those that wait longest first, as of the first page's position.
async fn in_review(read_models: &dyn ReadModels) -> Result<AsOf<Vec<PaymentRow>>, Failure> {
    let filter = PaymentFilter { statuses: vec![PaymentStatus::NeedsReview], ..PaymentFilter::default() };
    let mut waiting = read_models.payments(&filter, None, PAGE).await?;
    let mut more = waiting.value.len() == usize::try_from(PAGE)?;
    while more {
        let before = waiting.value.last().map(|row| row.initiated_position);
        let page = read_models.payments(&filter, before, PAGE).await?.value;
        more = page.len() == usize::try_from(PAGE)?;
        waiting.value.extend(page);
    }
    // Nothing but its resolution follows on a payment in review: its last event required it.
    waiting.value.sort_unstable_by_key(|row| row.position);
    Ok(waiting)
}

fn write_list(waiting: &AsOf<Vec<PaymentRow>>, json: bool) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a tool for people tells them ages")]
    let now = Utc::now();
    let mut output = io::stdout().lock();
    for row in &waiting.value {
        let (payment_id, user_id) = (row.payment_id.as_str(), row.user_id.as_str());
        let (amount, currency) = (row.amount.to_string(), row.amount.currency.code());
        let reason = row.review_reason.as_deref().unwrap_or_default();
        let age = now - row.updated_at;
        if json {
            let line = json!({
                "payment_id": payment_id, "user_id": user_id, "amount": amount, "currency": currency,
                "reason": reason, "age_seconds": age.num_seconds().max(0),
                "required_at": row.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            });
            writeln!(output, "{line}")?;
        } else {
            let (age, money) = (age_text(age), format!("{amount} {currency}"));
            writeln!(output, "{payment_id:<24} {age:>8}  {user_id:<16} {money:>16}  {reason}")?;
        }
    }
    match (json, waiting.value.len()) {
        (true, _) => Ok(()),
        (false, 0) => writeln!(output, "no payment is in review as of position {}", waiting.position),
        (false, count) => writeln!(output, "{count} in review as of position {}", waiting.position),
    }
}

/// Why the rows of a projection may not be those of now, if so.
fn doubt(status: &ProjectionStatus) -> Option<String> {
    let ProjectionStatus { name, position, lag, lag_ms, .. } = status;
    if let Some(failure) = &status.failure {
        let (at, reason) = (failure.position, &failure.reason);
        return Some(format!(
            "the projection {name} stopped at position {at}, which it cannot fold: {reason}"
        ));
    }
    if status.outdated {
        return Some(format!("the projection {name} was made by another version and is to be rebuilt"));
    }
    (*lag_ms >= LAG_WORTH_TELLING_MS).then(|| {
        let age = age_text(TimeDelta::milliseconds(i64::try_from(*lag_ms).unwrap_or(i64::MAX)));
        format!("the projection {name} is at position {position}, {lag} events and {age} behind")
    })
}

/// The two largest units of an age: `3d 4h`, `12m 5s`.
fn age_text(age: TimeDelta) -> String {
    let seconds = age.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

async fn resolve_one(
    database: &Database,
    options: ResolveArguments,
    settings: Settings,
) -> Result<(), Failure> {
    let ResolveArguments { payment_id, transaction_id, reason, operator, json, .. } = options;
    let operator = match operator {
        Some(operator) => operator,
        None => system_user().await?,
    };
    // The command line lets a transaction id through with --paid and with nothing else.
    let outcome = transaction_id
        .map_or(ReviewOutcome::NotPaid, |transaction_id| ReviewOutcome::Paid { transaction_id });
    let store_settings = StoreSettings {
        timeout: Duration::from_millis(settings.store.timeout_ms),
        cached_accounts: 100,
        cached_payments: 100,
        ..StoreSettings::default()
    };
    let store = PostgresEventStore::start(database, store_settings);
    let system = Arc::new(SystemAccounts::starting_at(random_shard()));
    let desk = ReviewDesk::new(Arc::new(store), system, settings.saga.channel_name);
    let resolution = Resolution { payment_id, outcome, operator, reason, trace: new_trace() };
    let resolved = desk.resolve(&resolution).await.map_err(advised)?;
    tell(&resolution, &resolved, json)
}

fn tell(resolution: &Resolution, resolved: &Resolved, json: bool) -> Result<(), Failure> {
    let (payment_id, status) = (&resolution.payment_id, resolved.payment.status.name());
    let mut output = io::stdout();
    match (json, resolved.position) {
        (true, position) => {
            let line = json!({
                "payment_id": payment_id.as_str(), "status": status,
                "resolved_now": position.is_some(), "position": position,
            });
            writeln!(output, "{line}")?;
        }
        (false, Some(position)) => {
            writeln!(output, "payment {payment_id} is {status} now, recorded up to position {position}")?;
        }
        (false, None) => {
            writeln!(
                output,
                "payment {payment_id} is {status}: it had ended so before, nothing was changed"
            )?;
        }
    }
    Ok(())
}

/// What to do next, where the error itself does not say it.
fn advised(error: ReviewError) -> Failure {
    match error {
        ReviewError::Store(
            error @ (StoreError::OutcomeUnknown | StoreError::Unavailable | StoreError::Contended),
        ) => format!("{error}; give the same command again, which is safe").into(),
        error => error.into(),
    }
}

/// The name of the user who runs this program, wherever the system keeps its users.
async fn system_user() -> Result<String, Failure> {
    let asked = tokio::process::Command::new("id").arg("-un").output().await;
    let name = asked.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let name = name.and_then(|name| String::from_utf8(name).ok()).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| "who are you? The system does not say; name yourself by --operator".into())
}

/// A trace that begins here, not sampled: no collector is told of a tool's run.
#[expect(clippy::disallowed_methods, reason = "the composition root may draw its own number")]
fn new_trace() -> TraceContext {
    let (trace_id, (_, span_id)) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4().as_u64_pair());
    TraceContext {
        traceparent: format!("00-{}-{span_id:016x}-00", trace_id.simple()),
        tracestate: None,
        baggage: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_by_its_two_largest_units() {
        for (seconds, told) in [
            (-1, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_599, "59m 59s"),
            (3_600, "1h 0m"),
            (86_399, "23h 59m"),
            (273_600, "3d 4h"),
        ] {
            assert_eq!(age_text(TimeDelta::seconds(seconds)), told);
        }
    }
}
