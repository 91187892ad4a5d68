//! The PostgreSQL that a benchmark runs on: the one that it is given, or a private one for the run.

use adapter_postgres::embedded::{ClusterSettings, EmbeddedPostgres};

use crate::Failure;

/// A database for one benchmark.
pub(crate) struct BenchDatabase {
    pub(crate) url: String,
    embedded: Option<(EmbeddedPostgres, tempfile::TempDir)>,
}

impl BenchDatabase {
    /// Uses `url`, whose database must be empty, or starts a private cluster with the engine's own
    /// settings, fsync on.
    pub(crate) async fn start(url: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = url {
            return Ok(Self { url: url.to_owned(), embedded: None });
        }
        let folder = tempfile::Builder::new().prefix("payments-bench-").tempdir()?;
        let settings = ClusterSettings { data_dir: folder.path().to_owned(), bin_dir: None, run_as: None };
        let cluster = EmbeddedPostgres::start(settings).await?;
        Ok(Self { url: cluster.database_url(), embedded: Some((cluster, folder)) })
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        if let Some((cluster, _folder)) = self.embedded {
            cluster.stop().await?;
        }
        Ok(())
    }
}
