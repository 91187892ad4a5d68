//! JSON Web Tokens, checked by the public keys of whoever issues them.
//!
//! ```text
//! header: kid ──► key set ──► the key, and with it the one algorithm that it is for
//! signature, exp, nbf, iss, aud ──► scope: scopes, sub: caller `jwt:<sub>`
//! ```
//!
//! **Invariant:** the algorithm is the key's, never the token's: a token that names another one is refused, so
//! that neither `none` nor a public key taken for a shared secret ever passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use commands::access::{KeySetSource, Scope, Scopes};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::identity::{Identity, Source};
use super::key_set::{KeySets, PublicKey};
use super::{not_valid, now, signatures};
use crate::problem::Problem;
use crate::settings::JwtSettings;

/// Most tokens that are remembered as checked.
const REMEMBERED: usize = 10_000;
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;
/// Most characters of a caller's name in a token.
const MAX_SUBJECT: usize = 128;

pub(crate) struct Tokens {
    settings: JwtSettings,
    key_sets: KeySets,
    /// A signature costs much more to check than a hash to compute.
    checked: Cache<[u8; 32], Checked>,
    fresh_for: Duration,
}

/// A token that was good.
#[derive(Clone)]
struct Checked {
    identity: Arc<Identity>,
    ends_at: DateTime<Utc>,
    checked_at: Instant,
}

/// What a token says, as far as it matters here.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default)]
    scope: String,
}

impl Tokens {
    pub(crate) fn new(source: Arc<dyn KeySetSource>, settings: JwtSettings, fresh_for: Duration) -> Self {
        signatures::install();
        let key_sets = KeySets::new(source, &settings);
        Self { settings, key_sets, checked: Cache::new(REMEMBERED), fresh_for }
    }

    /// Who sent a token.
    pub(super) async fn identify(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        if token.len() > LONGEST {
            return Err(not_valid());
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(checked) = self.checked.get(&hash)
            && checked.checked_at.elapsed() < self.fresh_for
            && now() < checked.ends_at
        {
            return Ok(checked.identity);
        }
        let header = decode_header(token).map_err(|_| not_valid())?;
        // What must be understood and is not known here must be refused (RFC 7515).
        let (Some(kid), None) = (&header.kid, &header.crit) else { return Err(not_valid()) };
        let key = self.key_sets.find(kid).await?.ok_or_else(not_valid)?;
        if header.alg != key.algorithm || !self.settings.allows(key.algorithm) {
            return Err(not_valid());
        }
        let checked = self.check(token, &key)?;
        let identity = Arc::clone(&checked.identity);
        self.checked.insert(hash, checked);
        Ok(identity)
    }

    fn check(&self, token: &str, key: &PublicKey) -> Result<Checked, Problem> {
        let mut rules = Validation::new(key.algorithm);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.settings.issuer]);
        rules.set_audience(&[&self.settings.audience]);
        rules.validate_nbf = true;
        rules.leeway = self.settings.leeway.as_secs();
        let claims = decode::<Claims>(token, &key.key, &rules).map_err(|error| match error.kind() {
            // The signature is good: its owner is told what to do.
            ErrorKind::ExpiredSignature => {
                Problem::unauthenticated("token_expired", "This token has expired.")
            }
            _ => not_valid(),
        })?;
        let Claims { sub, exp, scope } = claims.claims;
        if sub.is_empty() || sub.len() > MAX_SUBJECT || !sub.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(not_valid());
        }
        let ends_at = DateTime::from_timestamp(exp, 0).ok_or_else(not_valid)? + self.settings.leeway;
        // Other services have scopes of their own in the same token.
        let scopes: Scopes = scope.split(' ').filter_map(|name| name.parse::<Scope>().ok()).collect();
        let caller = Arc::from(format!("jwt:{sub}"));
        let identity = Arc::new(Identity { caller, scopes, source: Source::Token { ends_at } });
        Ok(Checked { identity, ends_at, checked_at: Instant::now() })
    }

    /// Keeps the key set up to date.
    pub(crate) async fn keep_keys(&self) {
        self.key_sets.keep_fresh().await;
    }
}
