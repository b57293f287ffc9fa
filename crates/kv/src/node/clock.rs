//! The two clocks of a node.
//!
//! Everything that the protocol measures (elections, leases, deadlines) runs on a monotonic clock
//! that goes on while the machine sleeps, because a lease that slept through its end must be over.
//! The time of day is only a stamp on log entries.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use stdx::Instant;

/// Now, on the clock that leases and elections use. All threads of a process see the same clock.
pub(crate) fn now() -> Instant {
    // Boot time, not monotonic time: it counts suspension, and costs the same (vDSO).
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).expect("time since boot is not negative");
    let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are not negative");
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// Milliseconds since 1970; zero before. May jump: the state machine makes it monotonic.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
