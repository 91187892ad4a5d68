//! Idempotency keys, and the hash of what was asked under one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use commands::context::CommandContext;
use commands::idempotency::{Claim, IdempotencyKey, KeyConflict, KeyedRequest};
use domain::Money;
use sha2::{Digest, Sha256};

use crate::fields::too_long;
use crate::gate::Caller;
use crate::problem::{self, Problem};
use crate::{ids, trace};

/// Most characters of a key.
const MAX_KEY: usize = 255;
const PARAM: &str = "idempotency_key";

/// The key of a request that has one in its header only.
pub(crate) fn header_key(headers: &HeaderMap) -> Result<Cow<'_, str>, Problem> {
    key(headers, None)
}

/// The key from the header, from the body's field, or from both when they agree.
pub(crate) fn key<'a>(headers: &'a HeaderMap, field: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let header = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(unquoted(value.to_str().map_err(|_| not_printable())?)),
        (Some(_), Some(_)) => {
            let detail = "The Idempotency-Key header is given more than once.";
            return Err(Problem::bad_request("idempotency_key_repeated", detail).param(PARAM));
        }
    };
    let key = match (header, field) {
        (None, None) => return Err(missing()),
        (Some(header), Some(field)) if header != field => {
            let detail = "The Idempotency-Key header and the field `idempotency_key` differ.";
            return Err(Problem::unprocessable("idempotency_key_mismatch", detail).param(PARAM));
        }
        (Some(header), _) => Cow::Borrowed(header),
        (None, Some(field)) => field,
    };
    if key.len() > MAX_KEY {
        return Err(too_long(PARAM, MAX_KEY));
    }
    if key.is_empty() || !key.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(not_printable());
    }
    Ok(key)
}

/// The IETF draft makes the header a quoted string, most clients send it bare: both mean one key.
fn unquoted(value: &str) -> &str {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains(['"', '\\']) => inner,
        _ => value,
    }
}

fn missing() -> Problem {
    Problem::bad_request(
        "idempotency_key_missing",
        "Send a unique name for this request, for instance a UUID, in the header \
         `Idempotency-Key: <1 to 255 printable ASCII characters>`; repeat the request with the same \
         key to get the same answer. A payment may carry it as the field `idempotency_key` instead.",
    )
    .param(PARAM)
}

fn not_printable() -> Problem {
    let detail = "`idempotency_key` must be 1 to 255 printable ASCII characters.";
    Problem::unprocessable("invalid_idempotency_key", detail).param(PARAM)
}

/// What a caller is told about its key.
pub(crate) fn conflict(conflict: KeyConflict) -> Problem {
    match conflict {
        KeyConflict::InFlight => problem::in_flight(),
        KeyConflict::OtherRequest => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This idempotency key was used for another request. Use a new key for a new request.",
        )
        .param(PARAM),
    }
}

/// A request's key, its hash and its origin, for the handlers of commands. Keys of different callers do not meet.
pub(crate) fn keyed(
    parts: &Parts,
    key: &str,
    hash: RequestHash,
    correlation_id: &str,
) -> Result<KeyedRequest, Problem> {
    let (trace, caller) = (trace::of(parts)?, Arc::clone(&Caller::of(parts)?.0.caller));
    let claim = Claim {
        key: IdempotencyKey { caller: Arc::clone(&caller), key: Arc::from(key) },
        request_hash: hash.done(),
        traceparent: trace.traceparent.clone(),
    };
    let context = CommandContext {
        correlation_id: Arc::from(correlation_id),
        causation_id: Arc::from(ids::request()),
        actor: caller,
        trace,
    };
    Ok(KeyedRequest { claim, context })
}

/// SHA-256 of what is asked, value by value. Each is written with its length, so that no two
/// requests have one text; an amount is its minor units, so that `7.5` and `"7.50"` do.
pub(crate) struct RequestHash(Sha256);

impl RequestHash {
    /// The hash of a request for an operation.
    pub(crate) fn of(operation: &str) -> Self {
        Self(Sha256::new()).text(operation)
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.length(text.len());
        self.0.update(text);
        self
    }

    /// Adds a text that may be absent, which differs from an empty one.
    pub(crate) fn optional(mut self, text: Option<&str>) -> Self {
        self.0.update([u8::from(text.is_some())]);
        self.text(text.unwrap_or_default())
    }

    /// Adds an amount.
    pub(crate) fn amount(mut self, amount: Money) -> Self {
        self.0.update(amount.minor.to_be_bytes());
        self.text(amount.currency.code())
    }

    /// Adds notes, in the order of their keys.
    pub(crate) fn notes(mut self, notes: &BTreeMap<String, String>) -> Self {
        self.length(notes.len());
        notes.iter().fold(self, |hash, (key, note)| hash.text(key).text(note))
    }

    /// Adds a list of texts.
    pub(crate) fn texts(mut self, texts: &[String]) -> Self {
        self.length(texts.len());
        texts.iter().fold(self, |hash, text| hash.text(text))
    }

    /// The hash of all that was added.
    pub(crate) fn done(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn length(&mut self, length: usize) {
        self.0.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use domain::Currency;

    use super::*;

    fn hash(hash: RequestHash) -> [u8; 32] {
        hash.done()
    }

    #[test]
    fn no_two_requests_have_one_hash() {
        let hashes = [
            hash(RequestHash::of("a").text("bc")),
            hash(RequestHash::of("ab").text("c")),
            hash(RequestHash::of("a").optional(None).text("bc")),
            hash(RequestHash::of("a").optional(Some("")).text("bc")),
            hash(RequestHash::of("a").amount(Money::new(750, Currency::USD))),
            hash(RequestHash::of("a").amount(Money::new(750, Currency::EUR))),
        ];
        for (index, one) in hashes.iter().enumerate() {
            assert!(!hashes.iter().skip(index + 1).any(|other| one == other), "{index}");
        }
    }

    #[test]
    fn a_quoted_key_is_the_same_key() {
        assert_eq!(unquoted("\"KEY_42\""), "KEY_42");
        assert_eq!(unquoted("KEY_42"), "KEY_42");
        assert_eq!(unquoted("\"a\"b\""), "\"a\"b\"");
        assert_eq!(unquoted("\""), "\"");
    }
}
