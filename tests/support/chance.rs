//! Chance that can be repeated: the seed is printed, and `PAYMENTS_TEST_SEED` sets it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Numbers drawn from a seed.
#[derive(Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// Draws a seed and prints it, so that a test that fails can be run again with it.
    #[expect(clippy::print_stderr, reason = "shown by the harness when the test fails")]
    pub(crate) fn new(test: &str) -> Self {
        let given = std::env::var("PAYMENTS_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("{test}: PAYMENTS_TEST_SEED={seed}");
        Self { state: seed }
    }

    /// The next number (SplitMix64).
    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `low..high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low)
    }

    /// A time of `low..high` milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}
