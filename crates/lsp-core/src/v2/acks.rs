//! Which packets arrived, and when to say so.
//!
//! The same set finds repeated packets: whatever is in it, or below its floor, is dropped.

use core::time::Duration;

use stdx::Instant;

use crate::v2::frame;
use crate::v2::ranges::Ranges;

/// Ranges that are kept; of more, the lowest is forgotten, and what is below with it.
const RANGES_MAX: usize = 256;
/// Packets that want an answer before one is sent at once.
const PATIENCE: u32 = 2;

/// The receiver's memory of packets.
#[derive(Debug)]
pub(crate) struct Received {
    ranges: Ranges,
    /// Everything below counts as received.
    floor: u64,
    /// When the highest one arrived.
    largest_at: Instant,
    /// Packets since the last acknowledgement that want one.
    waiting: u32,
    /// When it must be sent.
    due: Option<Instant>,
    /// Whether there is news that may ride along with something else.
    news: bool,
}

impl Received {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            ranges: Ranges::new(),
            floor: 0,
            largest_at: now,
            waiting: 0,
            due: None,
            news: false,
        }
    }

    /// Whether a packet came before, or is too old to tell.
    // spec: LSP2-5.1
    pub(crate) fn is_known(&self, packet: u64) -> bool {
        packet < self.floor || self.ranges.contains(packet)
    }

    /// The highest packet so far.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.end - 1)
    }

    /// Takes note of a packet that isn't known.
    // spec: LSP2-5.3
    pub(crate) fn insert(&mut self, now: Instant, packet: u64, eliciting: bool, delay: Duration) {
        let expected = self.ranges.last().map_or(0, |range| range.end);
        self.ranges.insert(packet..packet + 1);
        if self.ranges.len() > RANGES_MAX
            && let Some(lowest) = self.ranges.pop_first()
        {
            self.floor = lowest.end;
        }
        if packet >= expected {
            self.largest_at = now;
        }
        self.news = true;
        if !eliciting {
            return;
        }
        self.waiting += 1;
        let at_once = packet != expected || self.waiting >= PATIENCE;
        let due = if at_once { now } else { now.after(delay) };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When an acknowledgement must be sent.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether one may ride along.
    pub(crate) const fn has_news(&self) -> bool {
        self.news && self.waiting > 0
    }

    /// Whether one must be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|at| at <= now)
    }

    /// Appends an acknowledgement and forgets that it was due.
    pub(crate) fn put(&mut self, now: Instant, room: usize, packet: &mut Vec<u8>) {
        let micros = now.since(self.largest_at).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        frame::put_ack(packet, &self.ranges, micros, room);
        self.waiting = 0;
        self.due = None;
        self.news = false;
    }

    /// Gives back the memory of busier times.
    pub(crate) fn shrink(&mut self) {
        self.ranges.shrink();
    }

    pub(crate) fn check_invariants(&self) {
        self.ranges.check_invariants();
        assert!(self.ranges.len() <= RANGES_MAX, "ranges are bounded");
        assert_eq!(
            self.due.is_some(),
            self.waiting > 0,
            "who waits is answered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(5);

    // spec: LSP2-5.3
    #[test]
    fn one_packet_waits_and_two_or_a_gap_do_not() {
        let now = Instant::EPOCH;
        let mut received = Received::new(now);
        received.insert(now, 0, true, DELAY);
        assert_eq!(received.due(), Some(now.after(DELAY)));
        received.insert(now, 1, true, DELAY);
        assert!(received.is_due(now));
        let mut packet = Vec::new();
        received.put(now, 100, &mut packet);
        assert_eq!(received.due(), None);
        received.insert(now, 2, false, DELAY);
        assert_eq!(received.due(), None, "nothing that wants an answer");
        received.insert(now, 4, true, DELAY);
        assert!(received.is_due(now), "a gap");
        received.check_invariants();
    }

    // spec: LSP2-5.1
    #[test]
    fn a_packet_counts_once_and_what_is_forgotten_counts_as_known() {
        let now = Instant::EPOCH;
        let mut received = Received::new(now);
        for packet in (0..2_000).step_by(2) {
            assert!(!received.is_known(packet));
            received.insert(now, packet, true, DELAY);
            assert!(received.is_known(packet));
            received.check_invariants();
        }
        assert!(!received.is_known(1_997));
        assert!(received.is_known(11), "too old to tell");
    }
}
