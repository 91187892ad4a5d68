//! A load that remembers what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::client::{Client, Payment};

/// What clients were told: payment id to status code.
#[derive(Debug, Default, Clone)]
pub(crate) struct Acknowledged {
    answers: Arc<Mutex<HashMap<String, u16>>>,
    asked: Arc<AtomicU64>,
}

impl Acknowledged {
    pub(crate) fn answers(&self) -> HashMap<String, u16> {
        self.answers.lock().unwrap().clone()
    }

    pub(crate) fn with_status(&self, status: u16) -> Vec<String> {
        self.answers().into_iter().filter(|(_, other)| *other == status).map(|(id, _)| id).collect()
    }
}

/// Clients that pay until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts `clients` that pay small amounts for random users `PREFIX0..PREFIX{users}` at any of
    /// the engines. Broken connections are part of the test: they acknowledge nothing.
    pub(crate) fn start(
        urls: &[&str],
        clients: u64,
        users: u64,
        prefix: &str,
        acknowledged: &Acknowledged,
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
                    if let Ok(answer) = client.try_pay(&payment).await {
                        acknowledged.answers.lock().unwrap().insert(payment.payment_id, answer.status);
                    } else {
                        tokio::task::yield_now().await;
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
