//! Keys that were looked up, for some seconds.
//!
//! A key is read from the database when it is used first and again when what was read is older than
//! `fresh_for`: so long a revoked key goes on. In between, a request costs one hash and one comparison.
//!
//! **Invariant:** whatever ids are tried, so many look-ups run at a time and so many ids are remembered, and
//! those that nobody knows neither push out nor hold up the keys that are known.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use commands::access::{AccessError, ApiKey, ApiKeys};
use quick_cache::sync::Cache;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::identity::{Identity, Source};
use super::key_text::KeyText;
use super::{PATIENCE, not_valid, now};
use crate::problem::Problem;
use crate::shared::overloaded;

/// Most keys that are remembered, and as many ids of which there is no key.
const REMEMBERED: usize = 10_000;
/// Most look-ups at a time of keys that are not known, and as many of those that are.
const LOOK_UPS: usize = 4;
/// How exactly it is kept when a key was last used.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How often that is written.
const WRITE_USES_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Keyring {
    keys: Arc<dyn ApiKeys>,
    fresh_for: Duration,
    known: Cache<String, Arc<Known>>,
    unknown: Cache<String, Instant>,
    first_look_ups: Semaphore,
    repeated_look_ups: Semaphore,
    /// Ids of keys whose use is not written yet; no more than are known.
    used: Mutex<HashSet<String>>,
}

/// A key as it was read.
struct Known {
    identity: Arc<Identity>,
    secret_hash: [u8; 32],
    expires_at: Option<DateTime<Utc>>,
    is_revoked: bool,
    read_at: Instant,
    /// Its next use is to be written.
    note_use: AtomicBool,
}

impl Known {
    fn of(key: ApiKey) -> Self {
        let unnoted = key.last_used_at.is_none_or(|at| now() - at >= USE_NOTED_EVERY);
        Self {
            identity: Arc::new(Identity {
                caller: Arc::from(key.caller),
                scopes: key.scopes,
                source: Source::Key { id: key.id },
            }),
            secret_hash: key.secret_hash,
            expires_at: key.expires_at,
            is_revoked: key.revoked_at.is_some(),
            read_at: Instant::now(),
            note_use: AtomicBool::new(unnoted),
        }
    }

    /// Why it is good for nothing, if so. Only for who has its secret.
    fn ended(&self) -> Option<Problem> {
        if self.is_revoked {
            return Some(Problem::unauthenticated("key_revoked", "This key was revoked."));
        }
        let expired = self.expires_at.is_some_and(|at| at <= now());
        expired.then(|| Problem::unauthenticated("key_expired", "This key has expired."))
    }
}

impl Keyring {
    pub(crate) fn new(keys: Arc<dyn ApiKeys>, fresh_for: Duration) -> Self {
        Self {
            keys,
            fresh_for,
            known: Cache::new(REMEMBERED),
            unknown: Cache::new(REMEMBERED),
            first_look_ups: Semaphore::new(LOOK_UPS),
            repeated_look_ups: Semaphore::new(LOOK_UPS),
            used: Mutex::default(),
        }
    }

    /// Whose key it is.
    pub(super) async fn identify(&self, text: &KeyText<'_>) -> Result<Arc<Identity>, Problem> {
        let sent = text.secret_hash();
        let known = self.find(text.id).await?.ok_or_else(not_valid)?;
        if !bool::from(known.secret_hash.ct_eq(&sent)) {
            return Err(not_valid());
        }
        if let Some(ended) = known.ended() {
            return Err(ended);
        }
        if known.note_use.load(Ordering::Relaxed) && known.note_use.swap(false, Ordering::Relaxed) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(text.id.to_owned());
        }
        Ok(Arc::clone(&known.identity))
    }

    /// Whether a key that was good still is. Where that cannot be told it is not.
    pub(super) async fn is_good(&self, id: &str) -> bool {
        matches!(self.find(id).await, Ok(Some(known)) if known.ended().is_none())
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Known>>, Problem> {
        if let Some(found) = self.remembered(id) {
            return Ok(found);
        }
        let turns = if self.known.contains_key(id) { &self.repeated_look_ups } else { &self.first_look_ups };
        let turn = tokio::time::timeout(PATIENCE, turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(overloaded()) };
        // Who has waited finds what those before it have read.
        if let Some(found) = self.remembered(id) {
            return Ok(found);
        }
        match self.keys.find(id).await {
            Ok(Some(key)) => {
                let known = Arc::new(Known::of(key));
                self.known.insert(id.to_owned(), Arc::clone(&known));
                Ok(Some(known))
            }
            Ok(None) => {
                self.known.remove(id);
                self.unknown.insert(id.to_owned(), Instant::now());
                Ok(None)
            }
            Err(AccessError::Damaged(cause)) => Err(Problem::internal(cause)),
            Err(AccessError::Unavailable | AccessError::NoKey) => Err(Problem::unavailable(
                "store_unavailable",
                "The database cannot say now whose key this is; nothing was changed. Repeat the request.",
                1,
            )),
        }
    }

    /// What is known of an id and fresh: a key, or that there is none.
    fn remembered(&self, id: &str) -> Option<Option<Arc<Known>>> {
        let known = self.known.get(id).filter(|known| known.read_at.elapsed() < self.fresh_for);
        if known.is_some() {
            return Some(known);
        }
        self.unknown.get(id).filter(|read_at| read_at.elapsed() < self.fresh_for).map(|_| None)
    }

    /// Writes again and again which keys were used.
    pub(crate) async fn write_uses(&self) {
        loop {
            tokio::time::sleep(WRITE_USES_EVERY).await;
            self.write_uses_now().await;
        }
    }

    /// Writes which keys were used since the last time. What cannot be written is tried again the next time.
    pub(crate) async fn write_uses_now(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return;
        }
        let ids: Vec<String> = used.into_iter().collect();
        // The failure is logged where it happens.
        if self.keys.used(&ids).await.is_err() {
            let mut unwritten = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            unwritten.extend(ids.into_iter().take(REMEMBERED));
        }
    }
}
