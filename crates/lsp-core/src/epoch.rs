//! The slow clock of the protocol.
//!
//! Like a night watchman on his round: every epoch he looks whether anything was heard
//! since his last visit, and whether anything was said. Rounds in a row without a sound
//! from the peer are counted, and at the limit the peer is declared lost. Therefore a peer
//! is lost after at least `limit` epochs of silence, and at most `limit + 1`: the epoch in
//! which it was last heard doesn't count, because part of it wasn't silent.
//!
//! A watchman who overslept makes one round, not all that he missed: after a pause of our
//! own process its socket is full of what the peer said meanwhile, and the peer must not
//! be lost for it.

use core::time::Duration;

use stdx::Instant;

/// Epochs of one connection.
#[derive(Clone, Debug)]
pub(crate) struct EpochClock {
    /// When the current epoch ends.
    next: Instant,
    /// Whole epochs in a row in which nothing was heard.
    silent: u32,
    /// Whether anything was heard in the current epoch.
    heard: bool,
    /// Whether a Data message was sent for the first time in the current epoch.
    spoke: bool,
}

/// What an epoch that ended was like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tick {
    /// Whole epochs in a row, this one included, in which nothing was heard.
    pub(crate) silent: u32,
    /// Whether new data was sent in this one.
    pub(crate) spoke: bool,
}

impl EpochClock {
    /// A clock whose first epoch begins now.
    pub(crate) fn start(now: Instant, epoch: Duration) -> Self {
        Self {
            next: now.after(epoch),
            silent: 0,
            heard: false,
            spoke: false,
        }
    }

    /// Notes a message from the peer.
    pub(crate) const fn hear(&mut self) {
        self.heard = true;
        self.silent = 0;
    }

    /// Notes that new data was sent.
    pub(crate) const fn speak(&mut self) {
        self.spoke = true;
    }

    /// Ends the current epoch if it is over, and begins the next.
    // spec: LSP-6.1
    pub(crate) fn tick(&mut self, now: Instant, epoch: Duration) -> Option<Tick> {
        if now < self.next {
            return None;
        }
        if !self.heard {
            self.silent += 1;
        }
        let tick = Tick {
            silent: self.silent,
            spoke: self.spoke,
        };
        self.heard = false;
        self.spoke = false;
        self.next = self.next.after(epoch);
        if self.next <= now {
            self.next = now.after(epoch);
        }
        Some(tick)
    }

    /// When the current epoch ends.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Duration = Duration::from_secs(2);

    fn at(seconds: u64) -> Instant {
        Instant::EPOCH.after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_epoch_in_which_something_was_heard_is_not_silent() {
        let mut clock = EpochClock::start(at(0), EPOCH);
        clock.hear();
        assert_eq!(clock.tick(at(1), EPOCH), None);
        assert_eq!(clock.tick(at(2), EPOCH).unwrap().silent, 0);
        assert_eq!(clock.tick(at(4), EPOCH).unwrap().silent, 1);
        assert_eq!(clock.tick(at(6), EPOCH).unwrap().silent, 2);
        clock.hear();
        assert_eq!(clock.tick(at(8), EPOCH).unwrap().silent, 0);
    }

    // spec: LSP-6.1
    #[test]
    fn a_pause_of_the_process_is_one_epoch() {
        let mut clock = EpochClock::start(at(0), EPOCH);
        assert_eq!(clock.tick(at(1_000), EPOCH).unwrap().silent, 1);
        assert_eq!(clock.tick(at(1_000), EPOCH), None);
        assert_eq!(clock.next(), at(1_002));
    }
}
