//! Identifiers that the edge makes. The inner crates take them as given, so that a retry repeats them.

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
