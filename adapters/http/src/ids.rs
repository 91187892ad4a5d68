//! Identifiers that the edge makes. The inner crates take them as given, so that a retry repeats them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use commands::webhooks::Secret;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// `prefix` and a UUIDv7 without hyphens, for instance `pay_0190...`.
#[expect(clippy::disallowed_methods, reason = "the edge is where identifiers are made")]
pub(crate) fn time_ordered(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}

/// The name of one request as a cause of events: `request:<uuid v7>`.
#[expect(clippy::disallowed_methods, reason = "the edge is where identifiers are made")]
pub(crate) fn request() -> String {
    format!("request:{}", Uuid::now_v7())
}

/// 32 random hexadecimal digits, never all zero: a UUIDv4 has fixed bits that are set.
#[expect(clippy::disallowed_methods, reason = "the edge is where identifiers are made")]
pub(crate) fn trace() -> String {
    Uuid::new_v4().simple().to_string()
}

/// 16 random hexadecimal digits, never all zero: this half of a UUIDv4 begins with a bit that is set.
#[expect(clippy::disallowed_methods, reason = "the edge is where identifiers are made")]
pub(crate) fn span() -> String {
    let (_, half) = Uuid::new_v4().as_u64_pair();
    format!("{half:016x}")
}

/// A secret of Standard Webhooks, `whsec_` and 32 bytes: the digest of four UUIDv4, each with 122 random bits.
#[expect(clippy::disallowed_methods, reason = "the edge is where identifiers are made")]
pub(crate) fn webhook_secret() -> Secret {
    let random = (0..4).fold(Sha256::new(), |digest, _| digest.chain_update(Uuid::new_v4().as_bytes()));
    Secret::new(format!("whsec_{}", STANDARD.encode(random.finalize())))
}
