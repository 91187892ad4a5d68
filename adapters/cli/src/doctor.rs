//! `payments doctor`: is everything as the engine needs it, and if not, what to do.
//!
//! | module | looks at |
//! | --- | --- |
//! | `report` | what was found, told to a person or a machine |
//! | `database` | PostgreSQL, its schema, its clock |
//! | `neighbours` | Kafka, the collector, risk and channel |
//! | `machine` | the disk below the data, open files |
//!
//! **Invariants.** Nothing is changed anywhere. Only what is configured is looked at, and each look ends after a few
//! seconds. No address that may hold a password is repeated.

mod database;
mod machine;
mod neighbours;
mod report;

use std::process::ExitCode;

use self::report::Report;
use crate::Failure;
use crate::arguments::DoctorArguments;
use crate::settings::Settings;

pub(crate) async fn run(options: &DoctorArguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    // Wrong settings were told before anything was looked at.
    report.ok("settings", "each has a value that it can have");
    database::look(&options.database, settings, &mut report).await;
    neighbours::kafka(settings, &mut report).await;
    neighbours::collector(&mut report).await;
    for (name, url) in [("risk", &options.risk_url), ("channel", &options.channel_url)] {
        if let Some(url) = url {
            neighbours::service(name, url, &mut report).await;
        }
    }
    if let Some(folder) = &options.database.data_dir {
        machine::disk(folder, &mut report);
    }
    machine::open_files(settings, &mut report);
    report.tell(options.json)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
