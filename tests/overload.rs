//! More requests than the engine can serve: it serves what it can and refuses the rest at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::books::are_completed;
use crate::support::client::Answer;
use crate::support::{Client, Payment, Scene};

const USERS: u64 = 64;
/// Most requests that the storm has under way: it must not fall over before the engine does.
const MOST_WAITING: usize = 8_000;

/// How long the storm lasts. A longer one shows no more than that memory stays where it is.
fn storm() -> Duration {
    let seconds = std::env::var("PAYMENTS_TEST_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

/// Payments that are asked for, each once, and their answers.
struct Asking {
    clients: Vec<Client>,
    next: Arc<AtomicU64>,
}

type Told = (String, Answer, Duration);

impl Asking {
    fn of(scene: &Scene) -> Self {
        let patience = Duration::from_secs(20);
        let clients = (0..4).map(|_| Client::patient_for(scene.url(), patience)).collect();
        Self { clients, next: Arc::default() }
    }

    /// One more payment, and how long its answer took.
    fn one(&self) -> impl Future<Output = Told> + Send + use<> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let client = self.clients[usize::try_from(number).unwrap() % self.clients.len()].clone();
        let payment = Payment::of(&format!("storm{}", number % USERS), &format!("s{number}"), "0.01");
        async move {
            let began = Instant::now();
            let answer = client.pay(&payment).await;
            (payment.payment_id, answer, began.elapsed())
        }
    }

    /// Payments a second that are served to clients that wait for each answer.
    async fn strength(&self, during: Duration) -> u64 {
        let end = Instant::now() + during;
        let mut served: u64 = 0;
        let mut waiting = JoinSet::new();
        (0..64).for_each(|_| {
            waiting.spawn(self.one());
        });
        while let Some(told) = waiting.join_next().await {
            let (_, answer, _) = told.unwrap();
            served += u64::from(answer.status == 201);
            if Instant::now() < end {
                waiting.spawn(self.one());
            }
        }
        served * 1_000 / u64::try_from(during.as_millis()).unwrap()
    }

    /// So many requests a second, whether or not the ones before are answered.
    async fn storm(&self, per_second: u64, during: Duration) -> Vec<Told> {
        let (began, mut asked, mut answers) = (Instant::now(), 0, vec![]);
        let mut waiting = JoinSet::new();
        while began.elapsed() < during {
            let due = per_second * u64::try_from(began.elapsed().as_millis()).unwrap() / 1_000;
            while asked < due {
                asked += 1;
                if waiting.len() < MOST_WAITING {
                    waiting.spawn(self.one());
                }
            }
            while let Some(told) = waiting.try_join_next() {
                answers.push(told.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answers.extend(waiting.join_all().await);
        answers
    }
}

fn rss_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// How many requests for payments the engine has answered so, and how many of them in this time by its own clock: its
/// clients share the processors and are late themselves.
struct InTime {
    all: u64,
    timely: u64,
}

impl InTime {
    async fn of(scene: &Scene, status: &str, seconds: &str) -> Self {
        let metrics = scene.client.get("/metrics").await.text;
        let of = |bound: &str| -> u64 {
            let is_it = |line: &&str| {
                line.starts_with("http_server_request_duration_seconds_bucket{")
                    && line.contains(&format!("http_response_status_code=\"{status}\""))
                    && line.contains("http_route=\"/api/v1/payments\"")
                    && line.contains(&format!("le=\"{bound}\""))
            };
            let line = metrics.lines().find(is_it);
            line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        Self { all: of("+Inf"), timely: of(seconds) }
    }

    fn since(&self, before: &Self) -> Self {
        Self { all: self.all - before.all, timely: self.timely - before.timely }
    }
}

impl fmt::Display for InTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.timely, self.all)
    }
}

fn percentile(mut times: Vec<Duration>, hundredth: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * hundredth / 100).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_strength_the_engine_serves_what_it_can_and_refuses_the_rest_at_once() {
    let scene = Scene::start("overload");
    scene.fund("storm", USERS).await;
    let asking = Asking::of(&scene);
    let before = asking.strength(Duration::from_secs(3)).await;
    let memory_before = rss_mb(scene.engine_pid());
    let served_before = InTime::of(&scene, "201", "0.5").await;
    let answers = asking.storm(4 * before, storm()).await;
    let served_in_time = InTime::of(&scene, "201", "0.5").await.since(&served_before);
    let refused_in_time = InTime::of(&scene, "503", "0.05").await;
    let memory = rss_mb(scene.engine_pid());
    let mut after = 0;
    for _ in 0..5 {
        after = asking.strength(Duration::from_secs(1)).await.max(after);
    }

    let mut counts: BTreeMap<(u16, &str), usize> = BTreeMap::new();
    for (id, answer, _) in &answers {
        *counts.entry((answer.status, answer.code())).or_default() += 1;
        if answer.status != 201 {
            assert!(matches!(answer.status, 202 | 429 | 503), "{id}: {}", answer.text);
            assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0, "{id}: {}", answer.text);
        }
    }
    let times =
        |status: u16| answers.iter().filter(|told| told.1.status == status).map(|told| told.2).collect();
    let (served, refused) = (percentile(times(201), 99), percentile(times(503), 99));
    eprintln!(
        "overload: {before} payments a second before, {after} after; {counts:?}; p99 of those served {served:?}, of \
         those refused {refused:?}; by the engine's clock {served_in_time} served within 500 ms, {refused_in_time} refused \
         within 50 ms; memory {memory_before} MB before, {memory} MB after"
    );
    let (served, refused) = (counts.get(&(201, "")), counts.get(&(503, "overloaded")));
    assert!(served.is_some_and(|served| *served > 100) && refused.is_some_and(|refused| *refused > 100));
    // A queue that grows, or answers that pile up, would be hundreds of megabytes of them.
    assert!(memory < memory_before + 300, "memory: {memory_before} MB before, {memory} MB after");
    // Its strength comes back by itself: half of it is told apart from none on any machine.
    assert!(after * 2 > before, "{before} payments a second before, {after} after");
    scene.settled().await;
    let accepted: Vec<String> =
        answers.iter().filter(|told| told.1.status < 300).map(|told| told.0.clone()).collect();
    are_completed(&scene.database_url(), &accepted).await;
    scene.end_settled().await;
}
