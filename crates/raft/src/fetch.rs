//! Entries that are no longer in memory.
//!
//! The core never reads a disk. When a follower (or the state machine after a restart)
//! needs entries that have left the cache, the core asks for them and goes on; the
//! answer may come late, short, or never, and may say that they are compacted.

use stdx::LogIndex;

use crate::entry::Entry;

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
    pub entries: Vec<Entry>,
}
