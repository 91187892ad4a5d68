//! Who calls, and what they may do.
//!
//! ```text
//! address ──► rate
//! Authorization: Bearer pk_... ──► keyring ─┐
//!                Bearer eyJ... ──► tokens ──┴► identity: caller and scopes ──► rate ──► the route's scope ──► handler
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | `identity` | who calls, for the handlers |
//! | `routing` | routes, each with the scope that it needs |
//! | `key_text` | the text of a key |
//! | `keyring` | keys that were looked up, for some seconds |
//! | `tokens`, `key_set`, `signatures` | JSON Web Tokens, and the public keys that they are checked by |
//! | `address`, `rates` | where a request comes from, and how much may come from there |
//!
//! **Invariants:** no route of the API is reached without its scope, nor a payment by a caller that has neither
//! asked for it nor the scope `operate`. A refusal does not say which part of a secret was right.

mod address;
mod identity;
mod key_set;
mod key_text;
mod keyring;
mod rates;
pub(crate) mod routing;
mod signatures;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use commands::access::{ApiKeys, KeySetSource, Scope};
use domain::PaymentId;
use ipnet::IpNet;

pub(crate) use self::address::Peer;
use self::identity::Source;
pub(crate) use self::identity::{Caller, Identity};
use self::key_text::KeyText;
pub use self::key_text::NewKey;
use self::keyring::Keyring;
use self::rates::Rates;
pub(crate) use self::rates::Standings;
pub use self::rates::{Rate, RateLimits};
use self::tokens::Tokens;
use crate::payments::payment_not_found;
use crate::problem::{self, Problem};
use crate::settings::{Authentication, HttpSettings};
use crate::shared::Shared;

/// What callers are known by.
pub struct Access {
    /// Their keys.
    pub keys: Arc<dyn ApiKeys>,
    /// The public keys that their tokens are signed by; needed where [`HttpSettings::jwt`] is set.
    pub key_set: Option<Arc<dyn KeySetSource>>,
}

/// Lets requests in.
pub(crate) struct Gate {
    /// Who calls where nobody is asked.
    open_to: Option<Arc<Identity>>,
    keyring: Keyring,
    tokens: Option<Tokens>,
    rates: Rates,
    trusted_proxies: Vec<IpNet>,
}

impl Gate {
    pub(crate) fn new(access: &Access, settings: &HttpSettings) -> Self {
        let open = settings.authentication == Authentication::Off;
        let tokens = access
            .key_set
            .as_ref()
            .zip(settings.jwt.as_ref())
            .map(|(source, jwt)| Tokens::new(Arc::clone(source), jwt.clone(), settings.key_cache));
        Self {
            open_to: open.then(|| Arc::new(Identity::anonymous())),
            keyring: Keyring::new(Arc::clone(&access.keys), settings.key_cache),
            tokens,
            rates: Rates::new(settings.rate_limits),
            trusted_proxies: settings.trusted_proxies.clone(),
        }
    }

    /// Lets a request in, and tells its handler who sent it.
    pub(crate) async fn admit(
        &self,
        request: &mut Request,
        standings: &mut Standings,
    ) -> Result<(), Problem> {
        if let Some(address) = address::of(request.headers(), request.extensions(), &self.trusted_proxies) {
            self.rates.take_for_address(address, standings)?;
        }
        let identity = self.identify(request.headers()).await?;
        self.rates.take_for_caller(&identity.caller, standings)?;
        request.extensions_mut().insert(identity);
        Ok(())
    }

    /// Says in an answer where its request stands.
    pub(crate) fn tell(&self, standings: Standings, headers: &mut HeaderMap) {
        self.rates.tell(standings, headers);
    }

    /// Who sent a request.
    async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Problem> {
        if let Some(anyone) = &self.open_to {
            return Ok(Arc::clone(anyone));
        }
        let credentials = bearer(headers)?;
        match (KeyText::read(credentials), &self.tokens) {
            (Some(key), _) => self.keyring.identify(&key).await,
            (None, Some(tokens)) => tokens.identify(credentials).await,
            (None, None) => Err(not_valid()),
        }
    }

    /// What goes on without being asked for: uses of keys are written, public keys are read.
    pub(crate) async fn keep(&self) {
        let keys = async {
            match &self.tokens {
                Some(tokens) => tokens.keep_keys().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.keyring.write_uses(), keys);
    }

    /// Writes what is not written yet.
    pub(crate) async fn end(&self) {
        self.keyring.write_uses_now().await;
    }

    /// Whether who was let in some time ago would be let in now.
    pub(crate) async fn still_admits(&self, identity: &Identity) -> bool {
        match &identity.source {
            Source::Nobody => true,
            Source::Key { id } => self.keyring.is_good(id).await,
            Source::Token { ends_at } => now() < *ends_at,
        }
    }
}

/// What is behind `Bearer`, the one scheme that there is.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    let value = value.ok_or_else(|| {
        unauthenticated("Say who you are: `Authorization: Bearer <key>`.")
            .challenge(r#"Bearer realm="payments""#)
    })?;
    let scheme_and_token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match (scheme_and_token, more) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(unauthenticated("Send one header `Authorization: Bearer <key>`.")
            .challenge(r#"Bearer realm="payments", error="invalid_request""#)),
    }
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::unauthenticated("unauthenticated", detail)
}

/// The credentials are none of ours; which part of them is wrong is not said.
fn not_valid() -> Problem {
    unauthenticated("These credentials are not valid.")
}

/// A payment is there for whoever asked for it, and for operators; for others there is none.
pub(crate) async fn must_be_own(
    shared: &Shared,
    parts: &Parts,
    payment_id: &PaymentId,
) -> Result<(), Problem> {
    let identity = identity::of(parts)?;
    if identity.scopes.has(Scope::Operate) {
        return Ok(());
    }
    let stored = shared.api.store.payment(payment_id).await.map_err(problem::read_failed)?;
    match &stored.state.details {
        Some(details) if *details.requester.caller != *identity.caller => {
            Err(payment_not_found(payment_id.clone()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The one caller whose payments a request may see, `None` where it may see all.
pub(crate) fn only_of(parts: &Parts) -> Result<Option<String>, Problem> {
    let identity = identity::of(parts)?;
    Ok((!identity.scopes.has(Scope::Operate)).then(|| identity.caller.as_ref().to_owned()))
}

/// How long a look-up of credentials may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "whether credentials have expired is a question of now")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
