//! Reads that share a round trip, as appends share a commit.
//!
//! Whoever asks while a query is on its way is answered by the next one. At thousands of requests a
//! second that is one query for dozens of requests; a lone request waits for nobody.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use commands::ports::StoreError;

use super::connection::within;

/// Most questions that one query answers.
const MOST: usize = 512;
/// How long a query may take: whoever asks next waits for it, so one that is lost must not stop all.
const PATIENCE: Duration = Duration::from_secs(2);

type Asked<Q, A> = (Q, oneshot::Sender<Result<A, StoreError>>);

/// Answers questions of one kind in batches.
#[derive(Debug)]
pub(super) struct Batched<Q, A> {
    sender: mpsc::UnboundedSender<Asked<Q, A>>,
}

impl<Q: Send + 'static, A: Send + 'static> Batched<Q, A> {
    /// A queue, and the task that serves it: `answer` gets the questions of a batch and returns the
    /// answers in their order.
    pub(super) fn new<F, Fut>(answer: F) -> (Self, impl Future<Output = ()> + Send)
    where
        F: Fn(Vec<Q>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<A>, sqlx::Error>> + Send,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, serve(receiver, answer))
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, question: Q) -> Result<A, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.sender.send((question, sender)).map_err(|_| StoreError::Unavailable)?;
        receiver.await.map_err(|_| StoreError::Unavailable)?
    }
}

async fn serve<Q, A, F, Fut>(mut receiver: mpsc::UnboundedReceiver<Asked<Q, A>>, answer: F)
where
    F: Fn(Vec<Q>) -> Fut,
    Fut: Future<Output = Result<Vec<A>, sqlx::Error>>,
{
    let mut asked = Vec::with_capacity(MOST);
    while receiver.recv_many(&mut asked, MOST).await > 0 {
        // Whoever is ready to run may ask first; with nothing else to run this takes no time.
        tokio::task::yield_now().await;
        while asked.len() < MOST {
            let Ok(question) = receiver.try_recv() else { break };
            asked.push(question);
        }
        // Whoever has stopped waiting need not be asked for.
        let (questions, waiting): (Vec<Q>, Vec<_>) =
            asked.drain(..).filter(|(_, waiting)| !waiting.is_closed()).unzip();
        if questions.is_empty() {
            continue;
        }
        match within(PATIENCE, answer(questions)).await {
            Ok(answers) => {
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    let _ = waiting.send(Ok(answer));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read from the database");
                for waiting in waiting {
                    let _ = waiting.send(Err(StoreError::Unavailable));
                }
            }
        }
    }
}
