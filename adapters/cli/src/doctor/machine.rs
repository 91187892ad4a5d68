//! This machine: the disk below the data, open files.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::report::Report;
use crate::settings::Settings;

const GIB: u64 = 1 << 30;
/// Less than this and the database may stand still before somebody has looked.
const SCARCE: u64 = 5 * GIB;
/// Less than this and it stands still soon.
const FULL: u64 = GIB / 2;
/// Files and sockets of a process beside its requests, its connections to the database, and its webhooks.
const BESIDE: u64 = 256;

/// The room that is left where a `payments dev` keeps its data.
pub(super) fn disk(folder: &Path, report: &mut Report) {
    let stat = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat,
        Err(error) => {
            let told = format!("{} cannot be looked at: {error}", folder.display());
            return report.failed("disk", told, "name the folder of a `payments dev` by --data-dir");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let told = format!("{} MiB are left in {}", free / (1 << 20), folder.display());
    let next = "make room, or move the folder: events are kept for good";
    match free {
        ..FULL => report.failed("disk", told, next),
        FULL..SCARCE => report.warning("disk", told, next),
        _ => report.ok("disk", told),
    }
}

/// Whether each request can have its sockets.
pub(super) fn open_files(settings: &Settings, report: &mut Report) {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let wanted = BESIDE
        .saturating_add(count(settings.http.max_in_flight).saturating_mul(2))
        .saturating_add(u64::from(settings.store.connections))
        .saturating_add(u64::from(settings.webhooks.max_in_flight));
    // Without a limit there is none to meet.
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return report.ok("open files", "there is no limit");
    };
    let told = format!("the limit is {limit}; full load may want {wanted}");
    if limit >= wanted {
        report.ok("open files", told);
    } else {
        let next = "raise it (LimitNOFILE of systemd, ulimit -n), or lower http.max_in_flight";
        report.warning("open files", told, next);
    }
}
