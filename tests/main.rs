//! One file for each behaviour; `support/` starts the real parts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod layers;
mod smoke;
