//! How often those who follow the log work: often enough to be close behind, seldom enough to share work.

use std::time::Duration;

/// From the beginning of one turn to that of the next, while there is little to do.
pub const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// The same while the log grows fast: the machine has better to do than to follow it in small steps.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Events a second up to which steps are small, and from which they are the largest; evenly in between.
const QUIET_RATE: u128 = 12_000;
const BUSY_RATE: u128 = 20_000;
/// How long a turn takes to be half forgotten, nearly: a burst of a moment is no fast log.
const MEMORY_MS: u128 = 500;

/// The pace of one follower.
#[derive(Debug, Default)]
pub struct Pace {
    /// How fast the log has grown of late, in events a second.
    per_second: u128,
}

impl Pace {
    /// From the beginning of a turn to that of the next, when a turn found events that came within a time.
    pub fn after(&mut self, events: usize, within: Duration) -> Duration {
        let came = u128::try_from(events).unwrap_or(u128::MAX).saturating_mul(1_000);
        let within = within.as_millis().max(1);
        // A mean of what was and what came, each by the time that it stands for.
        let before = self.per_second.saturating_mul(MEMORY_MS);
        self.per_second = before.saturating_add(came) / (MEMORY_MS + within);
        let above = self.per_second.clamp(QUIET_RATE, BUSY_RATE) - QUIET_RATE;
        let more = (BUSY_PAUSE - LEAST_PAUSE).as_micros().saturating_mul(above) / (BUSY_RATE - QUIET_RATE);
        LEAST_PAUSE + Duration::from_micros(u64::try_from(more).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after so many turns of a pace.
    fn after(pace: &mut Pace, turns: usize, events: usize, within: u64) -> Duration {
        let pauses = (0..turns).map(|_| pace.after(events, Duration::from_millis(within)));
        pauses.last().unwrap_or_default()
    }

    #[test]
    fn a_log_that_grows_fast_is_followed_in_larger_steps() {
        let mut pace = Pace::default();
        assert_eq!(after(&mut pace, 1, 1, 20), LEAST_PAUSE);
        assert_eq!(after(&mut pace, 200, 240, 20), LEAST_PAUSE);
        // Larger steps do not make it look slower, nor faster.
        for (events, within) in [(320, 20), (960, 60)] {
            let between = after(&mut pace, 200, events, within).as_millis();
            assert!((58..=60).contains(&between), "{between}");
        }
        assert_eq!(after(&mut pace, 200, 2_050, 100), BUSY_PAUSE);
        assert_eq!(after(&mut pace, 200, 1_200, 100), LEAST_PAUSE);
    }

    #[test]
    fn a_burst_of_a_moment_changes_nothing() {
        let mut pace = Pace::default();
        assert_eq!(after(&mut pace, 200, 200, 20), LEAST_PAUSE);
        assert_eq!(after(&mut pace, 1, 1_200, 20), LEAST_PAUSE);
        assert_eq!(after(&mut pace, 1, 0, 0), LEAST_PAUSE);
        // And one that has waited for long is not taken for slow because of it.
        assert_eq!(after(&mut pace, 1, 1, 60_000), LEAST_PAUSE);
        assert_eq!(after(&mut pace, 30, 2_500, 100), BUSY_PAUSE);
    }
}
