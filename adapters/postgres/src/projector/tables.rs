//! How the rows of each read model are loaded and written.
//!
//! The statements name tables without a schema: the connection's `search_path` says whether they are
//! the tables that are read, those that a rebuild is making, or temporary ones.

mod balances;
mod entries;
mod payments;

use async_trait::async_trait;
use projections::ports::Projection;
use projections::{AccountBalances, AccountEntries, Changes, Folded, LogEvent, Payments, ReadModel, Rows};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

pub(crate) use balances::balance;
pub(crate) use entries::entry;
pub(crate) use payments::payment;

/// A read model's table.
#[async_trait]
pub(super) trait Table: ReadModel + Sized {
    /// The states of these keys, as far as there are any.
    async fn load(
        connection: &mut PgConnection,
        keys: &[Self::Key],
    ) -> Result<Vec<(Self::Key, Self::State)>, sqlx::Error>;

    /// Writes what has changed.
    async fn write(connection: &mut PgConnection, changes: &Changes<Self>) -> Result<(), sqlx::Error>;
}

/// A read model whose rows follow the log: [`Rows`] without their type.
#[async_trait]
pub(super) trait Following: Send + Sync {
    /// Folds events behind those that were folded before.
    fn fold(&mut self, events: &[LogEvent]) -> Folded;

    /// Loads the rows that these events need and that are not in memory.
    async fn load(&mut self, connection: &mut PgConnection, events: &[LogEvent]) -> Result<(), sqlx::Error>;

    /// Takes what has changed; it must be written before anything is loaded again. Keeps at most so
    /// many rows in memory.
    fn take_changes(&mut self, keep: usize) -> Box<dyn Changed>;
}

/// What has changed in one read model: [`Changes`] without their type.
#[async_trait]
pub(super) trait Changed: Send + Sync {
    /// Writes it.
    async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error>;
}

struct InTable<M: Table>(Rows<M>);

#[async_trait]
impl<M: Table> Following for InTable<M> {
    fn fold(&mut self, events: &[LogEvent]) -> Folded {
        self.0.fold(events)
    }

    async fn load(&mut self, connection: &mut PgConnection, events: &[LogEvent]) -> Result<(), sqlx::Error> {
        let missing = self.0.missing(events);
        let kept = M::load(connection, &missing).await?;
        self.0.remember(missing, kept);
        Ok(())
    }

    fn take_changes(&mut self, keep: usize) -> Box<dyn Changed> {
        Box::new(self.0.take_changes(keep))
    }
}

#[async_trait]
impl<M: Table> Changed for Changes<M> {
    async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.is_empty() { Ok(()) } else { M::write(connection, self).await }
    }
}

/// A projection that remembers no rows yet.
pub(super) fn following(projection: Projection) -> Box<dyn Following> {
    match projection {
        Projection::AccountBalances => Box::new(InTable::<AccountBalances>(Rows::default())),
        Projection::AccountEntries => Box::new(InTable::<AccountEntries>(Rows::default())),
        Projection::Payments => Box::new(InTable::<Payments>(Rows::default())),
    }
}

/// SHA-256 of a projection's fold, by which rows of another fold are noticed.
pub(crate) fn fold_hash(projection: Projection) -> [u8; 32] {
    let source = match projection {
        Projection::AccountBalances => AccountBalances::FOLD_SOURCE,
        Projection::AccountEntries => AccountEntries::FOLD_SOURCE,
        Projection::Payments => Payments::FOLD_SOURCE,
    };
    Sha256::digest(source.as_bytes()).into()
}

/// A column that holds what this program cannot read.
fn unreadable(column: &str, reason: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: reason.to_string().into() }
}

/// A currency by its code.
fn currency(code: &str) -> Result<domain::Currency, sqlx::Error> {
    domain::money::parse_currency(code).map_err(|error| unreadable("currency", error))
}

/// An identifier.
fn id<Kind>(column: &str, text: &str) -> Result<domain::id::Id<Kind>, sqlx::Error> {
    domain::id::Id::parse(text).map_err(|error| unreadable(column, error))
}

/// An identifier that may be absent.
fn optional_id<Kind>(column: &str, text: Option<&str>) -> Result<Option<domain::id::Id<Kind>>, sqlx::Error> {
    text.map(|text| id(column, text)).transpose()
}
