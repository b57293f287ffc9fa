//! How long a datagram the path carries (RFC 8899).
//!
//! Every path must carry 1,200 bytes. Whether it carries more is tried with packets that
//! hold nothing but a ping and padding: first the most that both ends want, because most
//! paths carry it, then by halving. A size that failed three times is too large. A path that
//! stops carrying what it carried (a *black hole*) shows in large packets getting lost while
//! small ones arrive; then it is 1,200 again. A loss says nothing when a large packet arrived
//! that was sent later: a queue that is full loses many in a row.

use core::time::Duration;

use stdx::Instant;

use crate::limits::DATAGRAM_BYTES_BASE;

/// Losses of one size that make it too large.
const TRIES_MAX: u32 = 3;
/// The search ends when this few bytes are to be won.
const STEP_BYTES: usize = 16;
/// How long a result is believed, and how long a black hole.
const AGAIN: Duration = Duration::from_secs(600);
const AGAIN_AFTER_HOLE: Duration = Duration::from_secs(60);
/// Large packets lost in a row that show a black hole when a small one arrives, and when
/// none does.
const LARGE_LOST_MAX: u32 = 3;
const LARGE_LOST_ALONE_MAX: u32 = 8;

/// The search for the longest datagram.
#[derive(Clone, Debug)]
pub(crate) struct MtuSearch {
    /// What the path is known to carry.
    current: usize,
    /// What it might carry at most.
    upper: usize,
    /// The most that is ever tried.
    ceiling: usize,
    /// The size of the probe that is under way.
    probing: Option<usize>,
    tries: u32,
    /// When to try next; never while `None`.
    next_at: Option<Instant>,
    /// Large packets lost in a row, and when the latest one that arrived was sent.
    large_lost: u32,
    large_arrived: Option<Instant>,
}

impl MtuSearch {
    pub(crate) fn new(now: Instant, ceiling: usize) -> Self {
        Self {
            current: DATAGRAM_BYTES_BASE,
            upper: ceiling,
            ceiling,
            probing: None,
            tries: 0,
            next_at: (ceiling > DATAGRAM_BYTES_BASE).then_some(now),
            large_lost: 0,
            large_arrived: None,
        }
    }

    /// How long a datagram may be.
    pub(crate) const fn current(&self) -> usize {
        self.current
    }

    /// The size of a probe to send now.
    // spec: LSP2-9.2
    pub(crate) fn probe(&self, now: Instant) -> Option<usize> {
        let due = self.next_at.is_some_and(|at| at <= now);
        (due && self.probing.is_none()).then(|| {
            if self.upper == self.ceiling {
                self.upper
            } else {
                usize::midpoint(self.current, self.upper + 1)
            }
        })
    }

    /// When a probe is due.
    pub(crate) const fn next_at(&self) -> Option<Instant> {
        match self.probing {
            Some(_) => None,
            None => self.next_at,
        }
    }

    pub(crate) const fn on_probe_sent(&mut self, bytes: usize) {
        self.probing = Some(bytes);
    }

    pub(crate) fn on_probe_acked(&mut self, now: Instant, sent_at: Instant, bytes: usize) {
        self.probing = None;
        self.tries = 0;
        self.on_large_arrived(sent_at);
        self.current = self.current.max(bytes);
        self.schedule(now);
    }

    pub(crate) fn on_probe_lost(&mut self, now: Instant, bytes: usize) {
        self.probing = None;
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            self.tries = 0;
            self.upper = self.upper.min(bytes - 1);
        }
        self.schedule(now);
    }

    fn schedule(&mut self, now: Instant) {
        if self.upper >= self.current + STEP_BYTES {
            self.next_at = Some(now);
        } else if self.current + STEP_BYTES <= self.ceiling {
            self.upper = self.ceiling;
            self.next_at = Some(now.after(AGAIN));
        } else {
            self.next_at = None;
        }
    }

    fn on_large_arrived(&mut self, sent_at: Instant) {
        self.large_lost = 0;
        self.large_arrived = self.large_arrived.max(Some(sent_at));
    }

    /// Takes note of a delivery; whether it shows a black hole.
    // spec: LSP2-9.3
    pub(crate) fn on_acked(&mut self, now: Instant, sent_at: Instant, bytes: usize) -> bool {
        if bytes > DATAGRAM_BYTES_BASE {
            self.on_large_arrived(sent_at);
            return false;
        }
        self.large_lost >= LARGE_LOST_MAX && self.fall(now)
    }

    /// Takes note of a loss; whether it shows a black hole.
    // spec: LSP2-9.3
    pub(crate) fn on_lost(&mut self, now: Instant, sent_at: Instant, bytes: usize) -> bool {
        let overtaken = self.large_arrived.is_some_and(|other| other >= sent_at);
        if bytes <= DATAGRAM_BYTES_BASE || overtaken {
            return false;
        }
        self.large_lost += 1;
        self.large_lost >= LARGE_LOST_ALONE_MAX && self.fall(now)
    }

    /// Back to what every path carries.
    fn fall(&mut self, now: Instant) -> bool {
        self.large_lost = 0;
        let fell = self.current > DATAGRAM_BYTES_BASE;
        self.current = DATAGRAM_BYTES_BASE;
        self.upper = self.ceiling;
        self.next_at = (self.ceiling > DATAGRAM_BYTES_BASE).then(|| now.after(AGAIN_AFTER_HOLE));
        fell
    }

    /// Begins anew: another path.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self::new(now, self.ceiling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path that carries `path`; the result and the probes it took.
    fn search(ceiling: usize, path: usize) -> (usize, u32) {
        let now = Instant::EPOCH;
        let mut mtu = MtuSearch::new(now, ceiling);
        let mut probes = 0;
        while let Some(size) = mtu.probe(now) {
            assert!(size <= ceiling && size > mtu.current(), "{size} {mtu:?}");
            mtu.on_probe_sent(size);
            assert_eq!(mtu.probe(now), None, "one at a time");
            probes += 1;
            if size <= path {
                mtu.on_probe_acked(now, now, size);
            } else {
                mtu.on_probe_lost(now, size);
            }
            assert!(probes < 100, "{mtu:?}");
        }
        (mtu.current(), probes)
    }

    // spec: LSP2-9.1 LSP2-9.2
    #[test]
    fn the_search_finds_what_the_path_carries() {
        assert_eq!(search(1_472, 1_472), (1_472, 1));
        assert_eq!(search(1_200, 9_000), (1_200, 0));
        for path in (1_200..9_000).step_by(77) {
            let (found, probes) = search(8_972, path);
            assert!(
                found <= path && found + STEP_BYTES > path.min(8_972),
                "{found} of {path}"
            );
            assert!(probes <= 33, "{probes} for {path}");
        }
    }

    // spec: LSP2-9.3
    #[test]
    fn a_black_hole_is_noticed_and_forgotten_after_a_minute() {
        let now = Instant::EPOCH;
        let mut mtu = MtuSearch::new(now, 1_472);
        mtu.on_probe_sent(1_472);
        mtu.on_probe_acked(now, now, 1_472);
        let [sent_at, later] = [1, 2].map(|millis| now.after(Duration::from_millis(millis)));
        for _ in 0..3 {
            assert!(!mtu.on_lost(now, sent_at, 1_472));
        }
        assert!(
            !mtu.on_acked(now, sent_at, 1_400),
            "large ones still arrive"
        );
        for _ in 0..100 {
            assert!(!mtu.on_lost(now, sent_at, 1_472), "a later one arrived");
        }
        assert!(!mtu.on_acked(now, later, 100));
        for _ in 0..3 {
            assert!(!mtu.on_lost(now, later, 1_472));
        }
        assert!(mtu.on_acked(now, later, 100));
        assert_eq!(mtu.current(), 1_200);
        assert_eq!(mtu.probe(now.after(Duration::from_secs(59))), None);
        assert_eq!(mtu.probe(now.after(Duration::from_secs(60))), Some(1_472));
    }
}
