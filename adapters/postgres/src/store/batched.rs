//! Reads that share a round trip, as appends share a commit.
//!
//! Whoever asks while a query is on its way is answered by the next one. At thousands of requests a
//! second that is one query for dozens of requests; a lone request waits for nobody.
//!
//! Each kind of read has a connection of its own: the pool would ask the server for a sign of life
//! each time a connection comes back, which costs as much as the read. A connection that turns out to
//! be dead, after a restart of the database for instance, is replaced and the read is sent once more:
//! reading twice changes nothing.

use std::future::Future;
use std::time::{Duration, Instant};

use commands::meters;
use commands::ports::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};

use super::connection::within;

/// How long a query may take: whoever asks next waits for it, so one that is lost must not stop all.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kind of read.
pub(super) trait BatchedRead: Send + Sync + 'static {
    type Question: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// What it is called in what is measured.
    const NAME: &'static str;

    /// Most questions that one query answers.
    const MOST: usize;

    /// Answers the questions of a batch, in their order.
    fn answer(
        connection: &mut PgConnection,
        questions: &[Self::Question],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;
}

type Asked<R> =
    (<R as BatchedRead>::Question, oneshot::Sender<Result<<R as BatchedRead>::Answer, StoreError>>);

/// Answers questions of one kind in batches.
pub(super) struct Batched<R: BatchedRead> {
    sender: mpsc::UnboundedSender<Asked<R>>,
}

impl<R: BatchedRead> Batched<R> {
    /// A queue, and the task that serves it.
    pub(super) fn new(options: PgConnectOptions) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let options = options.log_statements(tracing::log::LevelFilter::Trace);
        (Self { sender }, Reader::<R> { options, connection: None, receiver }.serve())
    }

    /// Whether the task that answers is there; it goes only when it breaks off.
    pub(super) fn is_served(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, question: R::Question) -> Result<R::Answer, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.sender.send((question, sender)).map_err(|_| StoreError::Unavailable)?;
        receiver.await.map_err(|_| StoreError::Unavailable)?
    }
}

struct Reader<R: BatchedRead> {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    receiver: mpsc::UnboundedReceiver<Asked<R>>,
}

impl<R: BatchedRead> Reader<R> {
    async fn serve(mut self) {
        let mut asked = Vec::with_capacity(R::MOST);
        while self.receiver.recv_many(&mut asked, R::MOST).await > 0 {
            // Whoever is ready to run may ask first; with nothing else to run this takes no time.
            tokio::task::yield_now().await;
            while asked.len() < R::MOST {
                let Ok(question) = self.receiver.try_recv() else { break };
                asked.push(question);
            }
            // Whoever has stopped waiting need not be asked for.
            let (questions, waiting): (Vec<R::Question>, Vec<_>) =
                asked.drain(..).filter(|(_, waiting)| !waiting.is_closed()).unzip();
            if questions.is_empty() {
                continue;
            }
            let began = Instant::now();
            let read = self.read(&questions).await;
            meters::database_asked(R::NAME, read.is_err(), began.elapsed());
            match read {
                Ok(answers) => {
                    for (waiting, answer) in waiting.into_iter().zip(answers) {
                        let _ = waiting.send(Ok(answer));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read from the event store");
                    for waiting in waiting {
                        let _ = waiting.send(Err(StoreError::Unavailable));
                    }
                }
            }
        }
    }

    async fn read(&mut self, questions: &[R::Question]) -> Result<Vec<R::Answer>, sqlx::Error> {
        let was_open = self.connection.is_some();
        match within(PATIENCE, self.read_once(questions)).await {
            Err(error) if was_open && error.as_database_error().is_none_or(ends_session) => {
                tracing::debug!(%error, "a reader's connection was lost, reading on a new one");
                self.connection = None;
                within(PATIENCE, self.read_once(questions)).await
            }
            other => other,
        }
        .inspect_err(|_| self.connection = None)
    }

    async fn read_once(&mut self, questions: &[R::Question]) -> Result<Vec<R::Answer>, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(PgConnection::connect_with(&self.options).await?);
        }
        match &mut self.connection {
            Some(connection) => R::answer(connection, questions).await,
            None => Err(sqlx::Error::PoolClosed),
        }
    }
}

/// Whether an error that the server reported was the last word of its session.
fn ends_session(error: &dyn sqlx::error::DatabaseError) -> bool {
    use sqlx::postgres::{PgDatabaseError, PgSeverity};
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|postgres| !matches!(postgres.severity(), PgSeverity::Error))
}
