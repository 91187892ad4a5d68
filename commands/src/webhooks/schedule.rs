//! When an attempt that failed is made again, and what an answer means. All of it is pure.

use std::time::Duration;

use super::delivery::DeliveryId;

/// How long is waited after each attempt that failed, until the delivery is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(Vec<Duration>);

/// A receiver's answer, or why there is none. Texts are kept with the delivery and shown: nothing
/// internal is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// It has answered.
    Answered {
        /// HTTP's status code.
        status: u16,
        /// How long it asks to be left alone; only of 429 and 503.
        retry_after: Option<Duration>,
    },
    /// It has not.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Attempted {
    /// So long nothing is to be sent to the endpoint at all, this delivery or another.
    #[must_use]
    pub const fn hold(&self) -> Option<Duration> {
        match self {
            Self::Answered { status: 429 | 503, retry_after } => *retry_after,
            Self::Answered { .. } | Self::Failed { .. } => None,
        }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It is tried again.
    Again {
        /// After so long.
        after: Duration,
    },
    /// It was tried often enough.
    Dead,
    /// The receiver wants nothing any more: the endpoint is disabled, and what is pending for it is dead.
    Gone,
}

impl Outcome {
    /// Its name as a label of a metric.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Again { .. } => "retry",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }
}

/// Jitter in tenths of a percent, to either side.
const JITTER: u64 = 200;

impl Default for RetrySchedule {
    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: more than three days.
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        let seconds = [5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self(seconds.map(Duration::from_secs).to_vec())
    }
}

impl RetrySchedule {
    /// A schedule with these pauses. Without any each delivery is tried once.
    #[must_use]
    pub fn new(pauses: Vec<Duration>) -> Self {
        Self(pauses)
    }

    /// How long to wait after an attempt (from 1) that failed; `None` when it was the last. Up to a fifth
    /// longer or shorter than scheduled, so that what failed together is not tried again together. The
    /// same delivery and attempt wait the same.
    #[must_use]
    pub fn pause_after(&self, delivery: DeliveryId, attempt: u32) -> Option<Duration> {
        let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
        let pause = self.0.get(index)?;
        let spread = mixed(delivery.0.unsigned_abs() ^ (u64::from(attempt) << 48)) % (2 * JITTER + 1);
        let thousandths = 1_000 - JITTER + spread;
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(thousandths) / 1_000;
        Some(Duration::from_millis(ms))
    }

    /// What becomes of a delivery whose attempt (from 1) came to this.
    #[must_use]
    pub fn outcome(&self, delivery: DeliveryId, attempt: u32, attempted: &Attempted) -> Outcome {
        match attempted {
            Attempted::Answered { status: 200..=299, .. } => return Outcome::Delivered,
            Attempted::Answered { status: 410, .. } => return Outcome::Gone,
            Attempted::Answered { .. } | Attempted::Failed { .. } => {}
        }
        match self.pause_after(delivery, attempt) {
            // Not sooner than the receiver asks for, and not sooner than scheduled either: one that always asks
            // for a second would have used up its attempts within ten.
            Some(pause) => Outcome::Again { after: pause.max(attempted.hold().unwrap_or_default()) },
            None => Outcome::Dead,
        }
    }
}

/// Spreads numbers that lie close together over all of them: the finalizer of SplitMix64.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Attempted {
        Attempted::Answered { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn pauses_are_within_a_fifth_of_the_schedule_and_differ() {
        let schedule = RetrySchedule::default();
        let pauses: Vec<_> =
            (1..1_000).map(|number| schedule.pause_after(DeliveryId(number), 2).unwrap()).collect();
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!((240..=250).contains(&least.as_secs()), "{least:?}");
        assert!((350..=360).contains(&most.as_secs()), "{most:?}");
        let mean = pauses.iter().sum::<Duration>() / 999;
        assert!((295..=305).contains(&mean.as_secs()), "{mean:?}");
        assert_eq!(schedule.pause_after(DeliveryId(7), 2), schedule.pause_after(DeliveryId(7), 2));
    }

    #[test]
    fn an_attempt_is_made_again_over_days_and_then_no_more() {
        let schedule = RetrySchedule::default();
        let waited: Duration = (1..).map_while(|attempt| schedule.pause_after(DeliveryId(1), attempt)).sum();
        assert!(waited > Duration::from_secs(60 * 3_600), "{waited:?}");
        assert_eq!(schedule.pause_after(DeliveryId(1), 10), None);
        assert_eq!(schedule.outcome(DeliveryId(1), 10, &answered(500, None)), Outcome::Dead);
        assert_eq!(RetrySchedule::new(vec![]).outcome(DeliveryId(1), 1, &answered(500, None)), Outcome::Dead);
    }

    #[test]
    fn an_answer_says_what_becomes_of_the_delivery() {
        let schedule = RetrySchedule::default();
        let outcome = |attempted| schedule.outcome(DeliveryId(3), 1, &attempted);
        let pause = schedule.pause_after(DeliveryId(3), 1).unwrap();
        let again = |after| Outcome::Again { after };
        for (attempted, expected) in [
            (answered(200, None), Outcome::Delivered),
            (answered(204, Some(9)), Outcome::Delivered),
            (answered(301, None), again(pause)),
            (answered(404, Some(60)), again(pause)),
            (answered(410, None), Outcome::Gone),
            (answered(429, Some(60)), again(Duration::from_secs(60))),
            (answered(503, Some(1)), again(pause)),
            (answered(503, None), again(pause)),
            (Attempted::Failed { reason: "connection failed".to_owned() }, again(pause)),
        ] {
            assert_eq!(outcome(attempted.clone()), expected, "{attempted:?}");
        }
        // Whatever becomes of this delivery, the endpoint's others wait.
        assert_eq!(answered(429, Some(60)).hold(), Some(Duration::from_secs(60)));
        assert_eq!(answered(500, Some(60)).hold(), None);
    }
}
