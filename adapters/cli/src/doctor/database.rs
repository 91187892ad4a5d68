//! PostgreSQL, its schema, its clock.

use std::time::Duration;

use adapter_postgres::checkup::Checkup;
use adapter_postgres::database::{Database, DatabaseError};
use chrono::{DateTime, Utc};

use super::report::Report;
use crate::arguments::DatabaseArguments;
use crate::connect;
use crate::settings::Settings;

/// The oldest PostgreSQL that the engine is tested on.
const OLDEST: i32 = 150_000;
/// How far two clocks may be apart before somebody should look.
const APART: Duration = Duration::from_secs(1);
/// How far before events would be told in an order that people do not believe.
const FAR_APART: Duration = Duration::from_secs(30);
/// How long a look may take, all questions together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of a process beside its pool: the log's, the lock's, the leads'.
const BESIDE_THE_POOL: u32 = 8;

pub(super) async fn look(arguments: &DatabaseArguments, settings: &Settings, report: &mut Report) {
    let database = match connect::without_schema(arguments).await {
        Ok(database) => database,
        Err(error) => {
            let next = if arguments.is_given() {
                "start it, or mend DATABASE_URL (DATABASE_URL_FILE, --data-dir), the user's rights in pg_hba.conf, or \
                 the network between"
            } else {
                "set DATABASE_URL to what the engine is to work on"
            };
            return report.failed("database", error.to_string(), next);
        }
    };
    let before = now();
    match tokio::time::timeout(PATIENCE, database.checkup()).await {
        Err(_) => {
            let told = format!("it took a connection and has not answered within {PATIENCE:?}");
            report.failed("database", told, "look at what it is busy with: select * from pg_stat_activity");
        }
        Ok(Err(error)) => {
            report.failed("database", format!("it does not answer: {error}"), "look into the server's log");
        }
        Ok(Ok(checkup)) => {
            server(&checkup, settings, report);
            durability(&checkup, report);
            rights(&checkup, report);
            migrations(&database, report).await;
            clock("clock", "the database's", before + checkup.took / 2, checkup.now, report);
        }
    }
}

fn server(checkup: &Checkup, settings: &Settings, report: &mut Report) {
    let wanted = i64::from(settings.store.connections.saturating_add(BESIDE_THE_POOL));
    let told = format!("PostgreSQL {} answers in {:.1?}", checkup.version, checkup.took);
    if checkup.is_standby {
        let next = "name the server that takes writes, or promote this one";
        report.failed("database", format!("{told}, and is a standby that takes no writes"), next);
    } else if checkup.version_number < OLDEST {
        report.failed("database", told, "take PostgreSQL 15 or later");
    } else if i64::from(checkup.max_connections) < wanted {
        let told =
            format!("{told}, and takes {} connections; one process wants {wanted}", checkup.max_connections);
        report.failed("database", told, "raise max_connections, or lower store.connections");
    } else {
        report.ok("database", told);
    }
}

fn durability(checkup: &Checkup, report: &mut Report) {
    let mut off = Vec::new();
    if !checkup.fsync {
        off.push("fsync is off");
    }
    if !checkup.full_page_writes {
        off.push("full_page_writes is off");
    }
    if !off.is_empty() {
        let told = format!("{}: a crash of the machine loses what was answered", off.join(" and "));
        report.failed("durability", told, "set it on in postgresql.conf and reload the server");
    } else if checkup.synchronous_commit == "off" {
        let told =
            "synchronous_commit is off: the log sets it on for itself, webhooks and read models do not";
        report.warning(
            "durability",
            told,
            "set it on for this user: alter role ... set synchronous_commit = on",
        );
    } else {
        let told = format!("fsync is on, synchronous_commit is {}", checkup.synchronous_commit);
        report.ok("durability", told);
    }
}

fn rights(checkup: &Checkup, report: &mut Report) {
    if !checkup.closed_tables.is_empty() {
        let told = format!("this user may not read or add to {}", checkup.closed_tables.join(", "));
        report.failed("rights", told, "grant it the rights, or make it the owner of the tables");
    } else if !checkup.foreign_tables.is_empty() {
        let told = format!(
            "{} belong to another role: this user can neither migrate nor rebuild read models",
            checkup.foreign_tables.join(", ")
        );
        report.warning("rights", told, "run `payments migrate` and rebuilds as their owner");
    } else {
        report.ok("rights", "this user may do what the engine does");
    }
}

async fn migrations(database: &Database, report: &mut Report) {
    match tokio::time::timeout(PATIENCE, database.must_be_current()).await {
        Err(_) => {
            report.failed("migrations", "the question was not answered", "look at the database's locks")
        }
        Ok(Ok(())) => report.ok("migrations", "the schema is this version's"),
        Ok(Err(DatabaseError::Outdated { missing, .. })) => {
            let told = format!("the schema lacks {}", missing.join(", "));
            report.failed("migrations", told, "run `payments migrate` of this version");
        }
        Ok(Err(DatabaseError::Newer { found, ours })) => {
            let told = format!("the schema is at migration {found}, this program knows {ours}");
            report.failed("migrations", told, "take the version of the program that made it, or a newer one");
        }
        Ok(Err(error)) => report.failed("migrations", error.to_string(), "look into the server's log"),
    }
}

/// Compares a clock with this machine's.
pub(super) fn clock(
    name: &'static str,
    whose: &str,
    here: DateTime<Utc>,
    there: DateTime<Utc>,
    report: &mut Report,
) {
    let apart = (there - here).abs().to_std().unwrap_or(Duration::MAX);
    let told = format!("this machine's clock and {whose} are {apart:.1?} apart");
    let next = "let both be set by NTP: look at `timedatectl` on each";
    match apart {
        apart if apart > FAR_APART => report.failed(name, told, next),
        apart if apart > APART => report.warning(name, told, next),
        _ => report.ok(name, told),
    }
}

#[expect(clippy::disallowed_methods, reason = "it is the clock that is looked at")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}
