//! How the operator's tools find the database.

use adapter_postgres::database::Database;
use adapter_postgres::embedded::EmbeddedPostgres;

use crate::Failure;
use crate::arguments::DatabaseArguments;

/// Connections of a tool's pool.
const CONNECTIONS: u32 = 2;

/// Connects by `DATABASE_URL` or a data folder. The tools bring no schema up to date.
pub(crate) async fn connect(database: &DatabaseArguments) -> Result<Database, Failure> {
    let url = match (&database.database_url, &database.data_dir) {
        (Some(url), _) => url.clone(),
        (None, Some(folder)) => EmbeddedPostgres::database_url_for(folder)?,
        (None, None) => {
            return Err(
                "which database? Name it by DATABASE_URL, or a `payments dev` folder by --data-dir".into()
            );
        }
    };
    Database::connect(&url, CONNECTIONS).await.map_err(|error| match &database.data_dir {
        Some(folder) => {
            let start = format!("start it with: payments dev --data-dir {}", folder.display());
            Failure::from(format!("{error}; {start}"))
        }
        None => error.into(),
    })
}
