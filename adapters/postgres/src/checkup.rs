//! What an operator wants to know of a database before anything works on it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::database::{Database, MIGRATIONS};

/// A database as it was found.
#[derive(Debug, Clone)]
pub struct Checkup {
    /// For instance `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    /// For instance 150014.
    pub version_number: i32,
    /// Whether what is committed is flushed to disk. Where it is not, a crash of the machine loses money.
    pub fsync: bool,
    /// Whether a page that was half written when the machine crashed can be mended.
    pub full_page_writes: bool,
    /// `on` for the sessions of this user, unless somebody has changed that; the log asks for it by itself.
    pub synchronous_commit: String,
    /// Whether it follows another server and takes no writes.
    pub is_standby: bool,
    /// Connections that the server takes, all users' together.
    pub max_connections: i32,
    /// What time it is there.
    pub now: DateTime<Utc>,
    /// How long the question took, there and back.
    pub took: Duration,
    /// Tables of the engine that this user may not read or add to.
    pub closed_tables: Vec<String>,
    /// Tables of the engine that belong to a role that this user is no member of: it can neither migrate nor rebuild.
    pub foreign_tables: Vec<String>,
}

impl Database {
    /// Looks at the server and at what this user may do there. Changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn checkup(&self) -> Result<Checkup, sqlx::Error> {
        let began = Instant::now();
        let server = sqlx::query(
            "select current_setting('server_version') as version,
                    current_setting('server_version_num')::int as version_number,
                    current_setting('fsync')::bool as fsync,
                    current_setting('full_page_writes')::bool as full_page_writes,
                    current_setting('synchronous_commit') as synchronous_commit,
                    current_setting('max_connections')::int as max_connections,
                    pg_is_in_recovery() as is_standby, clock_timestamp() as now",
        );
        let server = server.fetch_one(&self.pool).await?;
        let took = began.elapsed();
        // A name that is not there has no row: a migration that is missing is told elsewhere.
        let tables = sqlx::query(
            "select asked.name, pg_has_role(relowner, 'USAGE') as is_ours,
                    has_schema_privilege(relnamespace, 'USAGE') and has_table_privilege(pg_class.oid, 'SELECT')
                    and has_table_privilege(pg_class.oid, 'INSERT') as is_open
               from unnest($1::text[]) as asked(name)
               join (pg_class join pg_namespace on pg_namespace.oid = relnamespace)
                 on asked.name = nspname || '.' || relname
                 or (asked.name = relname and nspname = current_schema())
              order by asked.name",
        );
        let tables = tables.bind(tables_of_ours()).fetch_all(&self.pool).await?;
        let without = |right: &str| -> Result<Vec<String>, sqlx::Error> {
            let mut names = Vec::new();
            for table in &tables {
                if !table.try_get::<bool, _>(right)? {
                    names.push(table.try_get("name")?);
                }
            }
            Ok(names)
        };
        Ok(Checkup {
            version: server.try_get("version")?,
            version_number: server.try_get("version_number")?,
            fsync: server.try_get("fsync")?,
            full_page_writes: server.try_get("full_page_writes")?,
            synchronous_commit: server.try_get("synchronous_commit")?,
            is_standby: server.try_get("is_standby")?,
            max_connections: server.try_get("max_connections")?,
            now: server.try_get("now")?,
            took,
            closed_tables: without("is_open")?,
            foreign_tables: without("is_ours")?,
        })
    }
}

/// The tables that migrations make, those of another schema with its name before them.
fn tables_of_ours() -> Vec<String> {
    let made = MIGRATIONS.iter().flat_map(|migration| migration.sql.lines());
    let names = made.filter_map(|line| line.trim().strip_prefix("create table "));
    let name = |rest: &str| rest.split([' ', '(']).next().unwrap_or_default().to_owned();
    names.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_migrations_are_found() {
        let tables = tables_of_ours();
        for table in ["events", "read_models.account_balances", "webhook_endpoints"] {
            assert!(tables.iter().any(|name| name == table), "{table} is not among {tables:?}");
        }
        assert!(tables.iter().all(|name| !name.is_empty()), "{tables:?}");
    }
}
