//! The true time within bounds, as far as the driver knows it.
//!
//! The core reads no clock. A driver whose system disciplines its clock and says how wrong it
//! may be tells the core now and then: "at this moment of my own clock the true time was
//! between these two". In between the core extends the interval by the drift allowed. A driver
//! whose system isn't sure says so, and then nothing is concluded from the true time.

use core::time::Duration;

use stdx::Instant;

use crate::limits::DRIFT_PPM_MAX;

/// Bounds of the true time, in nanoseconds since any moment that all nodes agree on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrueTime {
    /// Not earlier than this.
    pub earliest: u64,
    /// Not later than this.
    pub latest: u64,
}

/// The last reading and when it was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrueClock {
    reading: Option<(Instant, TrueTime)>,
    drift_ppm: u32,
}

/// A reading says nothing about a moment so much later.
const READING_AGE_MAX: Duration = Duration::from_secs(10);

impl TrueClock {
    pub(crate) fn set(&mut self, now: Instant, reading: Option<TrueTime>, drift_ppm: u32) {
        self.reading = reading
            .filter(|reading| reading.earliest <= reading.latest)
            .map(|reading| (now, reading));
        self.drift_ppm = drift_ppm.min(DRIFT_PPM_MAX);
    }

    /// The bounds at a later moment.
    pub(crate) fn at(&self, now: Instant) -> Option<TrueTime> {
        let (then, reading) = self.reading?;
        let passed = now.since(then);
        if passed > READING_AGE_MAX || now < then {
            return None;
        }
        let passed = nanos(passed);
        let drift = self.drift(passed);
        Some(TrueTime {
            earliest: reading
                .earliest
                .saturating_add(passed.saturating_sub(drift)),
            latest: reading.latest.saturating_add(passed.saturating_add(drift)),
        })
    }

    /// From when on, by this node's clock, the true time certainly is `span` after `by`.
    pub(crate) fn passes(&self, by: u64, span: Duration, now: Instant) -> Option<Instant> {
        let bounds = self.at(now)?;
        let left = by
            .saturating_add(nanos(span))
            .saturating_sub(bounds.earliest);
        // A clock that runs fast reaches it too early.
        let left = left.saturating_add(2 * self.drift(left)).saturating_add(1);
        Some(now.after(Duration::from_nanos(left)))
    }

    /// Until when, by this node's clock, the true time certainly is less than `span` after
    /// `from`.
    pub(crate) fn within(&self, from: u64, span: Duration, now: Instant) -> Option<Instant> {
        let bounds = self.at(now)?;
        let left = from
            .saturating_add(nanos(span))
            .saturating_sub(bounds.latest);
        let left = left.saturating_sub(2 * self.drift(left));
        Some(now.after(Duration::from_nanos(left)))
    }

    fn drift(&self, span: u64) -> u64 {
        let drift = u128::from(span) * u128::from(self.drift_ppm) / 1_000_000;
        u64::try_from(drift).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn clock(uncertainty: u64) -> TrueClock {
        let mut clock = TrueClock::default();
        let reading = TrueTime {
            earliest: 100 * SECOND - uncertainty,
            latest: 100 * SECOND + uncertainty,
        };
        clock.set(Instant::from_nanos(SECOND), Some(reading), 1_000);
        clock
    }

    #[test]
    fn bounds_grow_with_drift_and_end() {
        let clock = clock(5);
        let later = clock.at(Instant::from_nanos(2 * SECOND)).unwrap();
        assert!(later.earliest < 101 * SECOND - 1_000_000 + 5);
        assert!(later.latest > 101 * SECOND + 1_000_000);
        assert_eq!(clock.at(Instant::from_nanos(20 * SECOND)), None);
    }

    #[test]
    fn one_node_stops_before_another_begins() {
        let span = Duration::from_secs(2);
        for uncertainty in [0, 5, SECOND / 10] {
            let clock = clock(uncertainty);
            let now = Instant::from_nanos(SECOND);
            let until = clock.within(100 * SECOND, span, now).unwrap();
            let from = clock.passes(100 * SECOND, span, now).unwrap();
            assert!(until < from, "{until} {from}");
            assert!(from.since(until) > Duration::from_nanos(2 * uncertainty));
        }
    }

    #[test]
    fn an_unsure_clock_says_nothing() {
        let mut clock = clock(5);
        let now = Instant::from_nanos(SECOND);
        clock.set(now, None, 0);
        assert_eq!(clock.passes(0, Duration::ZERO, now), None);
    }
}
