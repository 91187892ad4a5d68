//! Where the database is.

use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::settings::read_secret;

/// A database by its address, which may hold a password.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseUrl {
    /// The database, for instance postgres://user:password@host:5432/payments.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds it, where it is a secret that is mounted; --database-url comes first.
    #[arg(long, global = true, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

/// Where the tools find the database.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArguments {
    #[command(flatten)]
    pub(crate) url: DatabaseUrl,
    /// The folder of a `payments dev` that is running.
    #[arg(long, global = true, env = "PAYMENTS_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Several may run at once: one works, the others find nothing left to do. `payments serve` and `payments dev` do the same \
when they start.\n\n\
Exit status: 0 the schema is this version's, 1 it could not be done, 2 wrong usage.")]
pub(crate) struct MigrateArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
}

impl DatabaseArguments {
    /// Whether any database is named.
    pub(crate) fn is_given(&self) -> bool {
        self.url.database_url.is_some() || self.url.database_url_file.is_some() || self.data_dir.is_some()
    }
}

impl DatabaseUrl {
    /// The address, where one is given.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(crate) fn read(&self) -> Result<Option<String>, Failure> {
        match (&self.database_url, &self.database_url_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(file)) => read_secret(file).map(Some).map_err(|error| {
                format!("DATABASE_URL_FILE: {} cannot be used: {error}", file.display()).into()
            }),
            (None, None) => Ok(None),
        }
    }
}
