//! Handling events once: what they cause and how far the handler is change in one transaction.
//!
//! An [`Inbox`] implements the port `commands::consuming::Handler` for whatever [`Effect`] is given to it.
//! Start at [`Inbox::handle`].
//!
//! **Invariant:** the row of (consumer, source) in `consumed` is locked before the effect looks at
//! anything, until the transaction ends. Two processes that are told the same events take turns, and the
//! second finds that they have been handled.

use async_trait::async_trait;
use commands::consuming::{HandleError, Handler, Source};
use commands::ports::RecordedEvent;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::database::Database;

/// Why an effect was not had.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// The database does not take it now.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// An event will never have its effect.
    #[error("the event at position {position}: {reason}")]
    Poisoned {
        /// The event.
        position: i64,
        /// Why not.
        reason: String,
    },
}

/// What events cause in the database.
#[async_trait]
pub trait Effect: Send + Sync {
    /// The handler's name.
    fn name(&self) -> &'static str;

    /// Has the effect of events that were not handled before, inside the transaction that says so.
    async fn apply(&self, connection: &mut PgConnection, events: &[RecordedEvent])
    -> Result<(), EffectError>;

    /// Whether no event whatever would have an effect now.
    async fn is_idle(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error>;
}

/// Has an effect once for each event.
#[derive(Debug, Clone)]
pub struct Inbox<E> {
    pool: PgPool,
    effect: E,
}

impl<E: Effect> Inbox<E> {
    /// An inbox in a database.
    #[must_use]
    pub fn new(database: &Database, effect: E) -> Self {
        Self { pool: database.pool.clone(), effect }
    }

    /// While no event would have an effect, goes to the end of the log without reading it, and says so.
    /// Only for [`Source::log`], whose end the database knows.
    ///
    /// # Errors
    /// [`HandleError::Unavailable`] without the database.
    pub async fn pass_over_log(&self) -> Result<bool, HandleError> {
        let pass = async {
            let source = Source::log();
            // Nothing to do costs no transaction.
            let mut connection = self.pool.acquire().await?;
            let idle = self.effect.is_idle(&mut connection).await?;
            if !idle || self.is_at_head(&mut connection, &source).await? {
                return Ok(idle);
            }
            drop(connection);
            let mut transaction = self.pool.begin().await?;
            self.lock(&mut transaction, &source).await?;
            let idle = self.effect.is_idle(&mut transaction).await?;
            if idle {
                let query = sqlx::query_scalar("select position from event_log_head");
                let head = query.fetch_one(&mut *transaction).await?;
                self.advance(&mut transaction, &source, head).await?;
            }
            transaction.commit().await?;
            Ok(idle)
        };
        pass.await.map_err(|error: sqlx::Error| unavailable(&error))
    }

    async fn is_at_head(&self, connection: &mut PgConnection, source: &Source) -> Result<bool, sqlx::Error> {
        let query = sqlx::query_scalar(
            "select exists (select from consumed c join event_log_head h on c.position >= h.position
                             where c.consumer = $1 and c.topic = $2 and c.partition = $3)",
        );
        let query = query.bind(self.effect.name()).bind(source.topic.as_ref()).bind(source.partition);
        query.fetch_one(connection).await
    }

    /// Locks the mark until the transaction ends, made if need be. Returns it.
    async fn lock(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        source: &Source,
    ) -> Result<i64, sqlx::Error> {
        let locked = "select position from consumed where consumer = $1 and topic = $2 and partition = $3
                         for update";
        let lock = || {
            let query = sqlx::query_scalar(locked).bind(self.effect.name());
            query.bind(source.topic.as_ref()).bind(source.partition)
        };
        if let Some(position) = lock().fetch_optional(&mut **transaction).await? {
            return Ok(position);
        }
        sqlx::query(
            "insert into consumed (consumer, topic, partition, position) values ($1, $2, $3, 0)
             on conflict do nothing",
        )
        .bind(self.effect.name())
        .bind(source.topic.as_ref())
        .bind(source.partition)
        .execute(&mut **transaction)
        .await?;
        lock().fetch_one(&mut **transaction).await
    }

    async fn advance(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        source: &Source,
        position: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update consumed set position = $4, updated_at = clock_timestamp()
              where consumer = $1 and topic = $2 and partition = $3 and position < $4",
        )
        .bind(self.effect.name())
        .bind(source.topic.as_ref())
        .bind(source.partition)
        .bind(position)
        .execute(&mut **transaction)
        .await
        .map(|_| ())
    }

    /// Handles what is behind the mark, in one transaction.
    async fn once(&self, source: &Source, events: &[RecordedEvent]) -> Result<(), EffectError> {
        let mut transaction = self.pool.begin().await?;
        let mark = self.lock(&mut transaction, source).await?;
        let seen = events.partition_point(|event| event.position <= mark);
        let unseen = events.get(seen..).unwrap_or_default();
        let Some(last) = unseen.last() else { return Ok(transaction.rollback().await?) };
        self.effect.apply(&mut transaction, unseen).await?;
        self.advance(&mut transaction, source, last.position).await?;
        Ok(transaction.commit().await?)
    }
}

#[async_trait]
impl<E: Effect> Handler for Inbox<E> {
    fn name(&self) -> &'static str {
        self.effect.name()
    }

    async fn handle(&self, source: &Source, events: &[RecordedEvent]) -> Result<(), HandleError> {
        match self.once(source, events).await {
            Ok(()) => Ok(()),
            Err(EffectError::Database(error)) => Err(unavailable(&error)),
            Err(EffectError::Poisoned { position, reason }) => {
                // Those before it are handled, as the port promises; nothing of this batch was until now.
                let before = events.partition_point(|event| event.position < position);
                match self.once(source, events.get(..before).unwrap_or_default()).await {
                    Ok(()) => Err(HandleError::Poisoned { position, reason }),
                    Err(EffectError::Database(error)) => Err(unavailable(&error)),
                    Err(EffectError::Poisoned { position, reason }) => {
                        Err(HandleError::Poisoned { position, reason })
                    }
                }
            }
        }
    }

    async fn position(&self, source: &Source) -> Result<i64, HandleError> {
        let query = sqlx::query_scalar(
            "select position from consumed where consumer = $1 and topic = $2 and partition = $3",
        );
        let query = query.bind(self.effect.name()).bind(source.topic.as_ref()).bind(source.partition);
        let position: Option<i64> =
            query.fetch_optional(&self.pool).await.map_err(|error| unavailable(&error))?;
        Ok(position.unwrap_or(0))
    }
}

fn unavailable(error: &sqlx::Error) -> HandleError {
    tracing::warn!(%error, "cannot handle events now");
    HandleError::Unavailable
}
