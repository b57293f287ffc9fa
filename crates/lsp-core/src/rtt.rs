//! How long the way there and back takes.
//!
//! The estimator of RFC 9002, section 5 (itself RFC 6298's): a smoothed mean, a mean
//! deviation, and the minimum. Samples come from messages that were sent exactly once
//! (Karn's rule): the answer to one that was sent twice doesn't say to which.

use core::time::Duration;

/// The least that a timer waits beyond the mean.
const GRANULARITY: Duration = Duration::from_millis(1);

/// Round-trip time of one connection.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    latest: Duration,
    smoothed: Duration,
    deviation: Duration,
    min: Option<Duration>,
}

impl RttEstimator {
    pub(crate) fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            smoothed: initial,
            deviation: initial / 2,
            min: None,
        }
    }

    /// Takes a sample.
    pub(crate) fn update(&mut self, sample: Duration) {
        self.latest = sample;
        let Some(min) = self.min else {
            self.min = Some(sample);
            self.smoothed = sample;
            self.deviation = sample / 2;
            return;
        };
        self.min = Some(min.min(sample));
        let error = self.smoothed.abs_diff(sample);
        self.deviation = (self.deviation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + sample) / 8;
    }

    /// Forgets all samples but this one: the path changed.
    pub(crate) fn restart(&mut self, sample: Duration) {
        *self = Self::new(sample);
        self.update(sample);
    }

    /// The smoothed mean.
    pub(crate) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The least ever measured.
    pub(crate) const fn min(&self) -> Option<Duration> {
        self.min
    }

    /// How long to wait for an answer before a probe (RFC 9002, section 6.2.1), and not
    /// less than an eighth of a round trip beyond it.
    // spec: LSP-9.3
    pub(crate) fn probe_timeout(&self) -> Duration {
        let slack = (self.deviation * 4).max(self.smoothed / 8);
        self.smoothed + slack.max(GRANULARITY)
    }

    /// How much later a later message may be answered before an earlier one counts as
    /// lost: 9/8 of a round trip (RFC 9002, section 6.1.2).
    // spec: LSP-9.2
    pub(crate) fn loss_delay(&self) -> Duration {
        let round = self.smoothed.max(self.latest);
        (round + round / 8).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    // spec: LSP-9.1
    #[test]
    fn the_first_sample_replaces_the_assumption() {
        let mut rtt = RttEstimator::new(ms(333));
        assert!(rtt.probe_timeout() > ms(900));
        rtt.update(ms(50));
        assert_eq!(rtt.smoothed(), ms(50));
        assert_eq!(rtt.probe_timeout(), ms(150));
        assert_eq!(rtt.min(), Some(ms(50)));
    }

    // spec: LSP-9.2 LSP-9.3
    #[test]
    fn steady_samples_shrink_the_timers() {
        let mut rtt = RttEstimator::new(ms(333));
        for _ in 0..100 {
            rtt.update(ms(40));
        }
        assert_eq!(rtt.probe_timeout(), ms(45));
        assert_eq!(rtt.loss_delay(), ms(45));
    }
}
