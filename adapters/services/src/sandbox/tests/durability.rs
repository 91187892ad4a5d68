//! The journal: what survives the death of the process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::sandbox::SandboxError;

/// Set for the process that [`hosts_a_sandbox_until_it_is_killed`] runs in.
const HOST_FOLDER: &str = "SANDBOX_TEST_HOST_FOLDER";

/// A folder of its own for one test, removed with it.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sandbox-test-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn journal(&self) -> PathBuf {
        self.0.join("charges.ndjson")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Another process with a sandbox, killed with `kill -9` at the end of its scope.
struct Host {
    process: Child,
    url: String,
}

impl Host {
    fn start(folder: &Folder) -> Self {
        // The path of a test has no crate name.
        let module = module_path!().split_once("::").unwrap().1;
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::hosts_a_sandbox_until_it_is_killed")])
            .args(["--ignored", "--nocapture"])
            .env(HOST_FOLDER, &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let url = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.find("http://").map(|start| line[start..].to_owned()))
            .expect("the host says where it listens");
        Self { process, url }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SIGKILL on Unix.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of `the_record_survives_kill_9`, not a test of its own"]
async fn hosts_a_sandbox_until_it_is_killed() {
    if let Some(folder) = std::env::var_os(HOST_FOLDER) {
        let sandbox = Sandbox::start(recorded_in(&PathBuf::from(folder))).await.unwrap();
        println!("{}", sandbox.base_url());
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn the_record_survives_kill_9() {
    let folder = Folder::new();
    let first = Host::start(&folder);
    let caller = Caller::at(first.url.clone());
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..200 {
        let caller = caller.clone();
        requests.spawn(async move { caller.pay(&format!("KEY_{number}"), "card").await });
    }
    requests.join_all().await;
    caller.pay("DECLINED", "card_declined").await;
    caller.hasty().pay("LOST", "card_lost_answer").await;
    caller.hasty().pay("TIMEOUT", "card_timeout").await;
    caller.hasty().pay("UNKNOWN", "card_never_known").await;
    caller.pay("PROCESSING", "card_processing").await;
    let before = caller.record().await;
    assert_eq!(before.len(), 205);
    drop(first);

    let second = Host::start(&folder);
    let caller = Caller::at(second.url.clone());
    assert_eq!(caller.record().await, before);
    assert_eq!(caller.pay("KEY_7", "card").await, succeeded(201, "KEY_7"));
    assert_eq!(caller.pay_amount("KEY_7", "card", "1.00").await.status(), 422);
    assert_eq!(caller.pay("DECLINED", "card_declined").await.status(), 402);
    assert_eq!(caller.pay("LOST", "card_lost_answer").await, succeeded(201, "LOST"));
    assert_eq!(caller.pay("TIMEOUT", "card_timeout").await, succeeded(201, "TIMEOUT"));
    assert_eq!(caller.inquire("UNKNOWN").await.status(), 503);
    assert_eq!(caller.inquire("PROCESSING").await.status(), 200);
    drop(second);

    let third = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    for line in Caller::of(&third).record().await {
        let charged = u64::from(line["status"] == "succeeded");
        assert_eq!(line["charged_times"], charged, "{line}");
    }
}

#[tokio::test]
async fn a_charge_that_was_answered_is_never_lost_however_the_process_dies() {
    let folder = Folder::new();
    let host = Host::start(&folder);
    let caller = Caller::at(host.url.clone());
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..300 {
        let caller = caller.clone();
        let key = format!("KEY_{number}");
        requests.spawn(async move { (caller.pay(&key, "card").await, key) });
    }
    let mut answered = Vec::new();
    for _ in 0..50 {
        answered.extend(requests.join_next().await.map(Result::unwrap));
    }
    // In the midst of the others.
    drop(host);
    answered.extend(requests.join_all().await);
    answered.retain(|(seen, _)| *seen != Seen::Dropped);

    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    let caller = Caller::of(&sandbox);
    assert!(answered.len() >= 50);
    for (seen, key) in answered {
        assert_eq!(seen, succeeded(201, &key));
        assert_eq!(caller.inquire(&key).await, succeeded(200, &key));
    }
}

#[tokio::test]
async fn a_torn_last_line_is_dropped_and_the_next_charge_follows_whole_lines() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    Caller::of(&sandbox).pay("WHOLE", "card").await;
    sandbox.stop().await;
    let whole = fs::read(folder.journal()).unwrap();
    let torn = [whole.as_slice(), &whole[..whole.len() - 9]].concat();
    fs::write(folder.journal(), torn).unwrap();

    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    let caller = Caller::of(&sandbox);
    assert_eq!(caller.counts().await, (1, 1));
    caller.pay("NEXT", "card").await;
    sandbox.stop().await;
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    assert_eq!(Caller::of(&sandbox).record().await.len(), 2);
}

#[tokio::test]
async fn a_charge_journalled_twice_shows() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    Caller::of(&sandbox).pay("KEY", "card").await;
    sandbox.stop().await;
    fs::write(folder.journal(), fs::read(folder.journal()).unwrap().repeat(2)).unwrap();
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    assert_eq!(Caller::of(&sandbox).counts().await.0, 2);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_or_is_in_use_is_named() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(recorded_in(&folder.0)).await.unwrap();
    let second = Sandbox::start(recorded_in(&folder.0)).await.err().unwrap();
    assert!(matches!(second, SandboxError::JournalInUse { .. }), "{second}");
    drop(sandbox);
    fs::write(folder.journal(), "no journal\n").unwrap();
    let third = Sandbox::start(recorded_in(&folder.0)).await.err().unwrap();
    assert!(matches!(third, SandboxError::JournalLine { line: 1, .. }), "{third}");
}
