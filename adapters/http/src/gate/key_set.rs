//! The public keys that tokens are signed by, read again and again so that they may change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use commands::access::KeySetSource;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::PATIENCE;
use crate::problem::Problem;
use crate::settings::JwtSettings;

/// Most keys of a set.
const MOST_KEYS: usize = 100;

/// A key with the one algorithm that it is for.
pub(super) struct PublicKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

type KeySet = HashMap<String, Arc<PublicKey>>;

/// The last set that could be read.
pub(super) struct KeySets {
    source: Arc<dyn KeySetSource>,
    /// `None` until one was read.
    keys: RwLock<Option<Arc<KeySet>>>,
    refresh_every: Duration,
    refresh_at_most_every: Duration,
    /// One reads at a time.
    turn: Semaphore,
    last_read: Mutex<Option<Instant>>,
}

impl KeySets {
    pub(super) fn new(source: Arc<dyn KeySetSource>, settings: &JwtSettings) -> Self {
        Self {
            source,
            keys: RwLock::default(),
            refresh_every: settings.refresh_every,
            refresh_at_most_every: settings.refresh_at_most_every,
            turn: Semaphore::new(1),
            last_read: Mutex::default(),
        }
    }

    /// The key of an id. An id that is not known may be new: the set is read again for it, but not often.
    pub(super) async fn find(&self, kid: &str) -> Result<Option<Arc<PublicKey>>, Problem> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        self.read_unless_just_read().await;
        if self.current().is_none() {
            let detail = "The keys that tokens are signed by cannot be read now. Repeat the request.";
            return Err(Problem::unavailable("key_set_unavailable", detail, 1));
        }
        Ok(self.known(kid))
    }

    fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self, kid: &str) -> Option<Arc<PublicKey>> {
        self.current()?.get(kid).cloned()
    }

    async fn read_unless_just_read(&self) {
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.turn.acquire()).await else { return };
        let last_read = *self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if last_read.is_none_or(|at| at.elapsed() >= self.refresh_at_most_every) {
            self.read().await;
        }
    }

    /// Reads the set; where that fails, the one before stays.
    async fn read(&self) {
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        match self.source.fetch().await.and_then(|text| key_set(&text)) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
            }
            Err(error) => tracing::warn!(error, "the keys that tokens are signed by cannot be read"),
        }
    }

    pub(super) async fn keep_fresh(&self) {
        loop {
            if let Ok(_turn) = self.turn.acquire().await {
                self.read().await;
            }
            tokio::time::sleep(self.refresh_every).await;
        }
    }
}

/// A JWK set (RFC 7517). Each key is read by itself: one of a kind that is not known here must not hide the others.
#[derive(Deserialize)]
struct Members {
    keys: Vec<Value>,
}

fn key_set(text: &str) -> Result<KeySet, String> {
    let members: Members = serde_json::from_str(text).map_err(|error| format!("no JWK set: {error}"))?;
    if members.keys.len() > MOST_KEYS {
        return Err(format!("it has more than {MOST_KEYS} keys"));
    }
    let keys = members.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: KeySet = keys.filter_map(public_key).collect();
    if keys.is_empty() { Err("there is no key in it that could sign a token".to_owned()) } else { Ok(keys) }
}

fn public_key(jwk: Jwk) -> Option<(String, Arc<PublicKey>)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        // A shared secret among them is one that everybody can read.
        _ => return None,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    let named = jwk.common.key_algorithm.is_none_or(|name| name.to_string() == format!("{algorithm:?}"));
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs && named)?;
    Some((jwk.common.key_id?, Arc::new(PublicKey { algorithm, key })))
}
