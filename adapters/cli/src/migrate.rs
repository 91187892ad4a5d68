//! `payments migrate`: the schema brought up to date, by itself.

use std::io::{self, Write};

use crate::Failure;
use crate::arguments::DatabaseArguments;
use crate::connect::{open, without_schema};

pub(crate) async fn run(database: &DatabaseArguments) -> Result<(), Failure> {
    let before = without_schema(database).await?.applied().await?;
    let after = open(database).await?.applied().await?;
    let mut output = io::stdout().lock();
    match after.iter().filter(|migration| !before.contains(migration)).count() {
        0 => writeln!(output, "the schema is up to date: migration {}", after.iter().max().unwrap_or(&0))?,
        applied => {
            let now = after.iter().max().unwrap_or(&0);
            writeln!(output, "applied {applied} migrations: the schema is at migration {now}")?;
        }
    }
    Ok(())
}
