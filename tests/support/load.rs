//! A load that remembers what it was told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Books;
use super::client::{Answer, Client, Payment};

/// Between two attempts of a client that was not served.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a client that repeats asks for one payment.
const MOST_REPEATS: u32 = 100;

/// One answer to one client, and how long it took.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) after: Duration,
    answer: Answer,
}

/// What clients were told: for each payment every answer, in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Acknowledged {
    answers: Arc<Mutex<HashMap<String, Vec<Told>>>>,
    /// Requests that ended without an answer, and how.
    broken: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicU64>,
}

impl Acknowledged {
    pub(crate) fn answers(&self) -> HashMap<String, Vec<Told>> {
        self.answers.lock().unwrap().clone()
    }

    /// Payments of which some client was told this status.
    pub(crate) fn with_status(&self, status: u16) -> Vec<String> {
        let answers = self.answers.lock().unwrap();
        let told = answers.iter().filter(|(_, told)| told.iter().any(|told| told.status == status));
        told.map(|(id, _)| id.clone()).collect()
    }

    /// How many answers there were of each status and code.
    pub(crate) fn counts(&self) -> HashMap<(u16, String), usize> {
        let mut counts = HashMap::new();
        for told in self.answers.lock().unwrap().values().flatten() {
            *counts.entry((told.status, told.code.clone())).or_default() += 1;
        }
        counts
    }

    /// Fails the test unless everything that a client was told is true of the books. Users have
    /// ample funds and every client its own payment ids, so that nothing but the card may be refused.
    pub(crate) fn agree_with(&self, books: &Books) {
        for (id, answers) in self.answers() {
            let last = books.payments.get(&id).map(String::as_str);
            let mut settled: Option<&Told> = None;
            for told in &answers {
                match (told.status, told.code.as_str()) {
                    (201, _) => assert_eq!(last, Some("PaymentCompleted"), "{id} was acknowledged"),
                    (202, _) => assert!(last.is_some(), "{id} was said to be processed"),
                    (422, "channel_declined") => {
                        assert_eq!(last, Some("PaymentFailed"), "{id} was declined");
                        assert!(method(number(&id)) == "card_declined", "{id} was declined for no reason");
                    }
                    // Only of a request that was asked before.
                    (409, "request_in_flight") => assert!(answers.len() > 1, "{id}: {told:?}"),
                    (503, _) => {}
                    _ => panic!("{id} was told what is not true: {told:?}"),
                }
                if matches!(told.status, 201 | 422) {
                    let first = settled.get_or_insert(told);
                    assert_eq!(first.answer.text, told.answer.text, "one answer for each repeat");
                }
            }
        }
    }

    /// Fails the test unless every request was answered within a time, and every one that could not
    /// be served by a 503 that says when to come again.
    pub(crate) fn all_answered_cleanly(&self, within: Duration) {
        let broken = self.broken.lock().unwrap();
        assert!(broken.is_empty(), "{} requests had no answer: {}", broken.len(), broken[0]);
        for (id, told) in self.answers().iter().flat_map(|(id, told)| told.iter().map(move |told| (id, told)))
        {
            assert!(told.after <= within, "{id} waited {:?}", told.after);
            if told.status >= 500 {
                let answer = &told.answer;
                assert_eq!(told.status, 503, "{id}: {}", answer.text);
                assert_eq!(answer.header("content-type"), "application/problem+json", "{id}");
                assert!(!told.code.is_empty(), "{id}: {}", answer.text);
                assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{id}: {}", answer.text);
            }
        }
    }
}

/// Clients that pay until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts `clients` that pay small amounts for users `PREFIX0..PREFIX{users}`, each at one of
    /// the engines. Broken connections are part of the test: they acknowledge nothing.
    pub(crate) fn start(
        urls: &[&str],
        clients: u64,
        users: u64,
        prefix: &str,
        acknowledged: &Acknowledged,
    ) -> Self {
        Self::start_with(urls, clients, users, prefix, acknowledged, false)
    }

    /// The same, and who has no final answer repeats the request until there is one.
    pub(crate) fn start_repeating(
        urls: &[&str],
        clients: u64,
        users: u64,
        prefix: &str,
        acknowledged: &Acknowledged,
    ) -> Self {
        Self::start_with(urls, clients, users, prefix, acknowledged, true)
    }

    fn start_with(
        urls: &[&str],
        clients: u64,
        users: u64,
        prefix: &str,
        acknowledged: &Acknowledged,
        repeat: bool,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let index = usize::try_from(number).unwrap() % urls.len();
            let client = Client::new(urls[index]);
            let (stop, acknowledged, prefix) = (Arc::clone(&stop), acknowledged.clone(), prefix.to_owned());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let count = acknowledged.asked.fetch_add(1, Ordering::Relaxed);
                    let user = format!("{prefix}{}", count.wrapping_mul(0x9e37_79b9) % users);
                    let payment = Payment::of(&user, &format!("p{count}"), "0.07").by(method(count));
                    let mut asked = 0;
                    while !acknowledged.ask(&client, &payment).await {
                        tokio::time::sleep(PAUSE).await;
                        asked += 1;
                        if !repeat {
                            break;
                        }
                        assert!(asked < MOST_REPEATS, "{} is never answered", payment.payment_id);
                    }
                }
            });
        }
        Self { stop, clients: tasks }
    }

    /// Stops, and waits for what is under way.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

impl Acknowledged {
    /// Asks once and remembers the answer; whether it was a final one.
    async fn ask(&self, client: &Client, payment: &Payment) -> bool {
        let begun = Instant::now();
        match client.try_pay(payment).await {
            Ok(answer) => {
                let (status, code) = (answer.status, answer.code().to_owned());
                let told = Told { status, code, after: begun.elapsed(), answer };
                let mut answers = self.answers.lock().unwrap();
                answers.entry(payment.payment_id.clone()).or_default().push(told);
                matches!(status, 201 | 422)
            }
            Err(error) => {
                let end = format!("{}, after {:?}: {error:?}", payment.payment_id, begun.elapsed());
                self.broken.lock().unwrap().push(end);
                false
            }
        }
    }
}

/// The number of a payment of this load.
fn number(payment_id: &str) -> u64 {
    payment_id.strip_prefix('p').unwrap().parse().unwrap()
}

/// Mostly good cards; now and then one of each trouble.
fn method(count: u64) -> &'static str {
    match count % 50 {
        7 => "card_declined",
        17 => "card_charged_then_error",
        27 => "card_dropped",
        37 => "card_server_error",
        _ => "credit_card",
    }
}
