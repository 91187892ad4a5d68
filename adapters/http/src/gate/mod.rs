//! Who calls, and what they may do.
//!
//! ```text
//! Authorization: Bearer pk_... ──► keyring ──► identity: caller and scopes ──► the route's scope ──► handler
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | `identity` | who calls, for the handlers |
//! | `routing` | routes, each with the scope that it needs |
//! | `key_text` | the text of a key |
//! | `keyring` | keys that were looked up, for some seconds |
//!
//! **Invariants:** no route of the API is reached without its scope, nor a payment by a caller that has neither
//! asked for it nor the scope `operate`. A refusal does not say which part of a secret was right.

mod identity;
mod key_text;
mod keyring;
pub(crate) mod routing;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use commands::access::{ApiKeys, Scope};
use domain::PaymentId;

use self::identity::Source;
pub(crate) use self::identity::{Caller, Identity};
use self::key_text::KeyText;
pub use self::key_text::NewKey;
pub(crate) use self::keyring::Keyring;
use crate::payments::payment_not_found;
use crate::problem::{self, Problem};
use crate::settings::{Authentication, HttpSettings};
use crate::shared::Shared;

/// What callers are known by.
pub struct Access {
    /// Their keys.
    pub keys: Arc<dyn ApiKeys>,
}

/// Lets requests in.
pub(crate) struct Gate {
    /// Who calls where nobody is asked.
    open_to: Option<Arc<Identity>>,
    pub(crate) keyring: Keyring,
}

impl Gate {
    pub(crate) fn new(access: &Access, settings: &HttpSettings) -> Self {
        let open = settings.authentication == Authentication::Off;
        Self {
            open_to: open.then(|| Arc::new(Identity::anonymous())),
            keyring: Keyring::new(Arc::clone(&access.keys), settings.key_cache),
        }
    }

    /// Who sent a request.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Problem> {
        if let Some(anyone) = &self.open_to {
            return Ok(Arc::clone(anyone));
        }
        match KeyText::read(bearer(headers)?) {
            Some(key) => self.keyring.identify(&key).await,
            None => Err(not_valid()),
        }
    }

    /// Whether who was let in some time ago would be let in now.
    pub(crate) async fn still_admits(&self, identity: &Identity) -> bool {
        match &identity.source {
            Source::Nobody => true,
            Source::Key { id } => self.keyring.is_good(id).await,
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
