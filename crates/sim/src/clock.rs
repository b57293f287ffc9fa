//! Clocks that disagree: every node's own, made from the world's.

use core::time::Duration;

use stdx::Instant;

/// Parts per million of a second.
const MILLION: i128 = 1_000_000;

/// One node's monotonic clock: runs a little fast or slow, may leap forwards.
///
/// It never runs backwards: a monotonic clock doesn't, and cores may rely on it.
#[derive(Clone, Copy, Debug)]
pub struct NodeClock {
    /// The world's time when the rate was last set.
    world_base: Instant,
    /// What this clock showed then.
    local_base: Instant,
    /// How much faster than the world's clock it runs; negative is slower.
    drift_ppm: i32,
}

impl NodeClock {
    /// A clock that shows `local` at the world's time `world`.
    ///
    /// # Panics
    ///
    /// When the drift is 100 % or more: time would stand still.
    #[must_use]
    pub fn new(world: Instant, local: Instant, drift_ppm: i32) -> Self {
        assert!(drift_ppm.abs() < 1_000_000, "a clock runs at some speed");
        Self {
            world_base: world,
            local_base: local,
            drift_ppm,
        }
    }

    /// What the clock shows at the world's time `world`.
    ///
    /// # Panics
    ///
    /// After 584 years.
    #[must_use]
    pub fn local(&self, world: Instant) -> Instant {
        let passed = i128::from(world.since(self.world_base).as_nanos_u64());
        let local = passed + passed * i128::from(self.drift_ppm) / MILLION;
        let local = u64::try_from(local).expect("a clock runs forwards");
        self.local_base.after(Duration::from_nanos(local))
    }

    /// The first moment of the world's time at which the clock shows at least `local`;
    /// never before `now`.
    #[must_use]
    pub fn world(&self, local: Instant, now: Instant) -> Instant {
        let wanted = i128::from(local.since(self.local_base).as_nanos_u64());
        let rate = MILLION + i128::from(self.drift_ppm);
        let passed = (wanted * MILLION + rate - 1) / rate;
        let mut world = self.world_base.after(Duration::from_nanos(
            u64::try_from(passed).unwrap_or(u64::MAX),
        ));
        while self.local(world) < local && world.as_nanos() < u64::MAX {
            world = world.after(Duration::from_nanos(1));
        }
        world.max(now)
    }

    /// Leaps forwards.
    pub fn jump(&mut self, now: Instant, by: Duration) {
        self.local_base = self.local(now).after(by);
        self.world_base = now;
    }

    /// Runs at another speed from `now` on.
    pub fn set_drift(&mut self, now: Instant, drift_ppm: i32) {
        *self = Self::new(now, self.local(now), drift_ppm);
    }
}

/// Nanoseconds of a span that came from a `u64` of nanoseconds.
trait NanosU64 {
    fn as_nanos_u64(&self) -> u64;
}

impl NanosU64 for Duration {
    fn as_nanos_u64(&self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_and_converts_back() {
        let clock = NodeClock::new(Instant::EPOCH, Instant::from_nanos(500), 1_000);
        let world = Instant::from_nanos(1_000_000_000);
        assert_eq!(clock.local(world).as_nanos(), 1_001_000_500);
        for local in [501, 777_777, 1_001_000_500, 5_000_000_001] {
            let local = Instant::from_nanos(local);
            let back = clock.world(local, Instant::EPOCH);
            assert!(clock.local(back) >= local);
            let before = Instant::from_nanos(back.as_nanos() - 1);
            assert!(clock.local(before) < local);
        }
    }

    #[test]
    fn a_jump_and_a_new_drift_never_turn_time_back() {
        let mut clock = NodeClock::new(Instant::EPOCH, Instant::EPOCH, -500);
        let mut last = Instant::EPOCH;
        for step in 1..100_u64 {
            let now = Instant::from_nanos(step * 1_000_003);
            if step % 7 == 0 {
                clock.jump(now, Duration::from_millis(3));
            }
            if step % 5 == 0 {
                clock.set_drift(now, if step % 2 == 0 { 900 } else { -900 });
            }
            assert!(clock.local(now) >= last);
            last = clock.local(now);
        }
    }
}
