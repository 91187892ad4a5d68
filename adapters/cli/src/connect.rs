//! How the operator's tools find the database.

use adapter_postgres::database::{Database, DatabaseError};
use adapter_postgres::embedded::EmbeddedPostgres;

use crate::Failure;
use crate::arguments::DatabaseArguments;

/// Connections of a tool's pool.
const CONNECTIONS: u32 = 2;

/// Connects by `DATABASE_URL` or a data folder. The tools bring no schema up to date, and say so where
/// it is another version's.
pub(crate) async fn connect(database: &DatabaseArguments) -> Result<Database, Failure> {
    let connected = without_schema(database).await?;
    connected.must_be_current().await?;
    Ok(connected)
}

/// The same, whatever schema it has.
pub(crate) async fn without_schema(database: &DatabaseArguments) -> Result<Database, Failure> {
    let connected = Database::connect(&url(database)?, CONNECTIONS).await;
    connected.map_err(|error| with_advice(error, database))
}

/// The same for what fills a new database: the schema is made, or brought up to date.
pub(crate) async fn open(database: &DatabaseArguments) -> Result<Database, Failure> {
    let opened = Database::open(&url(database)?, CONNECTIONS).await;
    opened.map_err(|error| with_advice(error, database))
}

fn url(database: &DatabaseArguments) -> Result<String, Failure> {
    match (database.url.read()?, &database.data_dir) {
        (Some(url), _) => Ok(url),
        (None, Some(folder)) => Ok(EmbeddedPostgres::database_url_for(folder)?),
        (None, None) => {
            Err("which database? Name it by DATABASE_URL, by a file that DATABASE_URL_FILE names, or a `payments dev` folder by --data-dir".into())
        }
    }
}

fn with_advice(error: DatabaseError, database: &DatabaseArguments) -> Failure {
    match &database.data_dir {
        Some(folder) => {
            let start = format!("start it with: payments dev --data-dir {}", folder.display());
            Failure::from(format!("{error}; {start}"))
        }
        None => error.into(),
    }
}
