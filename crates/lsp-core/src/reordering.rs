//! How much overtaking on the path is taken for normal.
//!
//! A message that is overtaken looks lost for a while. How long to wait depends on the
//! path, so the waiting is learnt (as RACK does, RFC 8985, section 7.2): an Ack that
//! repeats an older one says that sending again was needless, and both thresholds grow a
//! little; losses in a row without such an Ack say that the path is in order again, and they
//! shrink a little. They shrink much more slowly than they grow, since the news that losses
//! weren't comes a round trip after a whole window of them.

use core::time::Duration;

/// Later transmissions that must be acknowledged before one counts as lost, at first.
const PACKETS_MIN: u64 = 3;
/// The most that overtaking raises it to, by doubling: then time alone decides.
const PACKETS_MAX: u64 = 3 << 14;
/// The most sixteenths of a round trip that overtaking adds to the wait: one round trip.
const SIXTEENTHS_MAX: u32 = 16;
/// Losses without a needless one among them after which both shrink by a step.
const QUIET_LOSSES: u64 = 64;

/// The thresholds of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reordering {
    packets: u64,
    sixteenths: u32,
    quiet_losses: u64,
}

impl Reordering {
    pub(crate) const fn new() -> Self {
        Self {
            packets: PACKETS_MIN,
            sixteenths: 0,
            quiet_losses: 0,
        }
    }

    /// A message was sent again needlessly.
    // spec: LSP-9.2
    pub(crate) fn on_needless(&mut self) {
        self.quiet_losses = 0;
        self.packets = (self.packets * 2).min(PACKETS_MAX);
        self.sixteenths = (self.sixteenths + 1).min(SIXTEENTHS_MAX);
    }

    /// So many messages were taken for lost.
    pub(crate) fn on_losses(&mut self, losses: u64) {
        self.quiet_losses += losses;
        if self.quiet_losses >= QUIET_LOSSES {
            self.quiet_losses = 0;
            self.packets = (self.packets / 2).max(PACKETS_MIN);
            self.sixteenths = self.sixteenths.saturating_sub(1);
        }
    }

    /// Later transmissions that must be acknowledged before one counts as lost.
    pub(crate) const fn packets(&self) -> u64 {
        self.packets
    }

    /// How much longer than usual to wait for an answer.
    pub(crate) fn patience(&self, round_trip: Duration) -> Duration {
        round_trip * self.sixteenths / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: LSP-9.2
    #[test]
    fn thresholds_grow_with_needless_retransmissions_and_shrink_without() {
        let round = Duration::from_millis(160);
        let mut reordering = Reordering::new();
        assert_eq!(reordering.packets(), 3);
        assert_eq!(reordering.patience(round), Duration::ZERO);
        reordering.on_needless();
        assert_eq!(reordering.packets(), 6);
        assert_eq!(reordering.patience(round), Duration::from_millis(10));
        for _ in 0..1_000 {
            reordering.on_needless();
        }
        assert_eq!(reordering.packets(), PACKETS_MAX);
        assert_eq!(reordering.patience(round), round);
        reordering.on_losses(63);
        reordering.on_needless();
        reordering.on_losses(63);
        assert_eq!(
            reordering.packets(),
            PACKETS_MAX,
            "a needless one among them"
        );
        reordering.on_losses(1);
        assert_eq!(reordering.packets(), PACKETS_MAX / 2);
        for _ in 0..100 {
            reordering.on_losses(64);
        }
        assert_eq!(reordering.packets(), 3);
        assert_eq!(reordering.patience(round), Duration::ZERO);
    }
}
