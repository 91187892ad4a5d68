//! A PostgreSQL of a test's own, for tests of the store itself.

use std::path::{Path, PathBuf};

use adapter_postgres::database::Database;
use adapter_postgres::embedded::{ClusterSettings, EmbeddedPostgres};
use adapter_postgres::store::{PostgresEventStore, StoreSettings};
use sqlx::{Connection, PgConnection};

use super::folder::Folder;

/// A cluster in a folder of its own. It ends with the value, whatever becomes of the test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    postgres: EmbeddedPostgres,
    folder: Folder,
}

impl TestDatabase {
    pub(crate) async fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let settings = ClusterSettings { data_dir: folder.path().to_owned(), bin_dir: None, run_as: None };
        let postgres = EmbeddedPostgres::start(settings).await.unwrap();
        Self { postgres, folder }
    }

    pub(crate) fn url(&self) -> String {
        self.postgres.database_url()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its server listens.
    pub(crate) fn socket(&self) -> PathBuf {
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().unwrap();
        options.get_socket().unwrap().join(".s.PGSQL.5432")
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// A store on it, as another process would have one.
    pub(crate) async fn store(&self, settings: StoreSettings) -> PostgresEventStore {
        PostgresEventStore::start(&Database::open(&self.url(), 8).await.unwrap(), settings)
    }
}
