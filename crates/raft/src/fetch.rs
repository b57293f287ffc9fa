//! Entries that are no longer in memory.
//!
//! The core never reads a disk. When a follower (or the state machine after a restart)
//! needs entries that have left the cache, the core asks for them and goes on; the
//! answer may come late, short, or never, and may say that they are compacted.

use std::collections::VecDeque;

use stdx::{Instant, LogIndex};

use crate::entry::{Entries, Entry};
use crate::raft::Raft;

/// Names a [`Fetch`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FetchId(pub u64);

/// Asks for entries from storage. They are durable: everything written before the last
/// [`crate::Durable`] that the core was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// Names it in the answer.
    pub id: FetchId,
    /// The first entry wanted.
    pub from: LogIndex,
    /// The last entry wanted, included.
    pub to: LogIndex,
    /// Bytes to return at most; but at least one entry.
    pub bytes_max: usize,
}

/// Answers a [`Fetch`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched {
    /// Which one.
    pub id: FetchId,
    /// The entries from `from` on, in order, at least one; `None` if they are compacted
    /// or couldn't be read.
    pub entries: Option<Vec<Entry>>,
}

/// Entries to apply, in order, each exactly once: committed and durable here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The entries; never empty.
    pub entries: Entries,
}

/// Questions to storage, and the entries for the state machine that came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetches {
    next_id: u64,
    asked: VecDeque<Fetch>,
    /// The question whose answer is to be applied.
    applying: Option<FetchId>,
    fetched: Option<Vec<Entry>>,
}

impl Fetches {
    pub(crate) fn ask(&mut self, from: LogIndex, to: LogIndex, bytes_max: usize) -> FetchId {
        self.next_id += 1;
        let id = FetchId(self.next_id);
        self.asked.push_back(Fetch {
            id,
            from,
            to,
            bytes_max,
        });
        id
    }

    pub(crate) fn pop(&mut self) -> Option<Fetch> {
        self.asked.pop_front()
    }

    /// A snapshot made what was asked for useless.
    pub(crate) fn forget_applying(&mut self) {
        self.applying = None;
        self.fetched = None;
    }
}

impl Raft {
    /// The answer to a [`Fetch`].
    ///
    /// # Panics
    ///
    /// When storage returns other entries than it was given.
    pub fn on_entries_fetched(&mut self, now: Instant, fetched: Fetched) {
        self.now = self.now.max(now);
        if self.fetches.applying != Some(fetched.id) {
            self.on_peer_entries_fetched(fetched);
            return;
        }
        self.fetches.applying = None;
        let next = self.handed.next();
        let fits = |entries: &Vec<Entry>| entries.first().is_some_and(|first| first.index == next);
        self.fetches.fetched = fetched.entries.filter(fits);
    }

    /// What to apply next: committed, durable here, and each entry exactly once.
    ///
    /// # Panics
    ///
    /// When storage returned other entries than it was given.
    pub fn poll_committed(&mut self) -> Option<Committed> {
        let to = self.commit.min(self.persister.durable());
        let from = self.handed.next();
        let installing = self
            .receiving
            .as_ref()
            .is_some_and(|receiving| receiving.installing);
        if from > to || installing {
            return None;
        }
        let entries = match self.fetches.fetched.take() {
            Some(entries) => Entries::from(entries),
            None if from >= self.log.cached_from() => {
                self.log.run(from, to, self.config.apply_bytes_max)
            }
            None => {
                if self.fetches.applying.is_none() {
                    let to = to.min(self.log.cached_from().previous());
                    let bytes_max = self.config.apply_bytes_max;
                    self.fetches.applying = Some(self.fetches.ask(from, to, bytes_max));
                }
                return None;
            }
        };
        for entry in &entries {
            self.handed = self.handed.next();
            assert_eq!(entry.index, self.handed, "entries are applied in order");
            assert!(
                entry.index <= self.commit,
                "only what is committed is applied"
            );
            debug_assert_eq!(
                self.log.term_at(entry.index),
                Some(entry.term),
                "storage returns the entries it was given"
            );
        }
        Some(Committed { entries })
    }
}
