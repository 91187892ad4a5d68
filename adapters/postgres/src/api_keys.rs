//! Keys of the API's callers.
//!
//! **Invariant:** a secret is never here, only its hash.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use commands::access::{AccessError, ApiKey, ApiKeys, Scope, Scopes};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use crate::database::{Database, fetch_all};

/// The columns of a key, in the order in which [`key`] reads them.
macro_rules! key_columns {
    () => {
        "id, caller, secret_hash, scopes, created_at, expires_at, revoked_at, last_used_at"
    };
}

/// The keys in a database.
#[derive(Debug, Clone)]
pub struct PostgresApiKeys {
    pool: PgPool,
}

impl PostgresApiKeys {
    /// Those of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone() }
    }

    /// Keeps a new key; returns it with the times that the database gave it.
    ///
    /// # Errors
    /// [`AccessError`]; nothing is kept then.
    pub async fn create(
        &self,
        id: &str,
        caller: &str,
        secret_hash: &[u8; 32],
        scopes: Scopes,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<ApiKey, AccessError> {
        let query = concat!(
            "insert into api_keys (id, caller, secret_hash, scopes, expires_at) values ($1, $2, $3, $4, $5)
             returning ",
            key_columns!()
        );
        let query = sqlx::query(query)
            .bind(id)
            .bind(caller)
            .bind(secret_hash.as_slice())
            .bind(scopes.names())
            .bind(expires_at);
        let row = query.fetch_one(&self.pool).await.map_err(failed)?;
        key(&row).map_err(failed)
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// [`AccessError`] says why they cannot be told.
    pub async fn list(&self) -> Result<Vec<ApiKey>, AccessError> {
        let query = concat!("select ", key_columns!(), " from api_keys order by created_at, id");
        let rows = fetch_all(&self.pool, sqlx::query(query)).await.map_err(failed)?;
        rows.iter().map(key).collect::<Result<_, _>>().map_err(failed)
    }

    /// Makes a key good for nothing, for ever. Revoked again, it keeps its time.
    ///
    /// # Errors
    /// [`AccessError::NoKey`] where there is none of this id.
    pub async fn revoke(&self, id: &str) -> Result<ApiKey, AccessError> {
        let query = concat!(
            "update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning ",
            key_columns!()
        );
        let row = sqlx::query(query).bind(id).fetch_optional(&self.pool).await.map_err(failed)?;
        key(&row.ok_or(AccessError::NoKey)?).map_err(failed)
    }
}

#[async_trait]
impl ApiKeys for PostgresApiKeys {
    async fn find(&self, id: &str) -> Result<Option<ApiKey>, AccessError> {
        let query = concat!("select ", key_columns!(), " from api_keys where id = $1");
        let rows = fetch_all(&self.pool, sqlx::query(query).bind(id)).await.map_err(failed)?;
        rows.first().map(key).transpose().map_err(failed)
    }

    async fn used(&self, ids: &[String]) -> Result<(), AccessError> {
        let query = sqlx::query(
            "update api_keys set last_used_at = date_trunc('minute', now())
              where id = any($1)
                and (last_used_at is null or last_used_at < date_trunc('minute', now()))",
        );
        fetch_all(&self.pool, query.bind(ids)).await.map(|_| ()).map_err(failed)
    }
}

fn key(row: &PgRow) -> Result<ApiKey, sqlx::Error> {
    let damaged = |column: &str, source: Box<dyn std::error::Error + Send + Sync>| {
        sqlx::Error::ColumnDecode { index: column.to_owned(), source }
    };
    let hash: &[u8] = row.try_get(2)?;
    let names: Vec<String> = row.try_get(3)?;
    let scopes = names.iter().map(|name| name.parse::<Scope>()).collect::<Result<Scopes, _>>();
    Ok(ApiKey {
        id: row.try_get(0)?,
        caller: row.try_get(1)?,
        secret_hash: hash.try_into().map_err(|error| damaged("secret_hash", Box::new(error)))?,
        scopes: scopes.map_err(|error| damaged("scopes", Box::new(error)))?,
        created_at: row.try_get(4)?,
        expires_at: row.try_get(5)?,
        revoked_at: row.try_get(6)?,
        last_used_at: row.try_get(7)?,
    })
}

/// For `map_err`, and so by value.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: sqlx::Error) -> AccessError {
    match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
            AccessError::Damaged(error.to_string())
        }
        _ => {
            tracing::warn!(%error, "cannot work on API keys in the database");
            AccessError::Unavailable
        }
    }
}
