//! Time as a value.
//!
//! `std::time::Instant` can only be made by asking the operating system, so a
//! simulator can't make one. This one is a number of nanoseconds since an arbitrary
//! start: the shell anchors it to a monotonic clock, the simulator to its own.

use core::fmt;
use core::time::Duration;

/// A moment on one node's monotonic clock, in nanoseconds since that clock's start.
///
/// Instants of different nodes must never be compared.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant {
    nanos: u64,
}

impl Instant {
    /// The start of the clock.
    pub const EPOCH: Self = Self { nanos: 0 };

    /// The moment `nanos` nanoseconds after the start of the clock.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// Nanoseconds since the start of the clock.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// The moment `span` later; the end of time if that is past it.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            nanos: self.nanos.saturating_add(nanos),
        }
    }

    /// The time from `earlier` until this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.nanos / 1_000_000_000,
            self.nanos % 1_000_000_000 / 1_000
        )
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_saturate_at_both_ends() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late.after(Duration::from_secs(1)).as_nanos(), u64::MAX);
        assert_eq!(Instant::EPOCH.since(late), Duration::ZERO);
    }

    #[test]
    fn prints_seconds_and_microseconds() {
        assert_eq!(Instant::from_nanos(1_002_003_004).to_string(), "1.002003s");
    }
}
