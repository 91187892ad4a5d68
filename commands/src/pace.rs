//! How often those who follow the log work: often enough to be close behind, seldom enough to share work.

use std::time::Duration;

/// From the beginning of one turn to that of the next, while there is little to do.
pub const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// The same while the log grows fast: the machine has better to do than to follow it in small steps.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Events a millisecond from which the log counts as fast.
const BUSY_RATE: u128 = 22;

/// From the beginning of a turn to that of the next, when a turn found events that came within a time.
#[must_use]
pub fn pause(events: usize, within: Duration) -> Duration {
    let busy = u128::try_from(events).unwrap_or(u128::MAX) > BUSY_RATE * within.as_millis();
    if busy { BUSY_PAUSE } else { LEAST_PAUSE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_fast_is_followed_in_larger_steps() {
        let within = Duration::from_millis(20);
        assert_eq!(pause(1, within), LEAST_PAUSE);
        assert_eq!(pause(440, within), LEAST_PAUSE);
        assert_eq!(pause(441, within), BUSY_PAUSE);
        // Larger steps do not make it look slower, nor faster.
        assert_eq!(pause(1_101, Duration::from_millis(50)), BUSY_PAUSE);
        assert_eq!(pause(1_099, Duration::from_millis(50)), LEAST_PAUSE);
    }
}
