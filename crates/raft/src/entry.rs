//! What the log is made of: entries, the promise a node must never forget, and the
//! place where the log begins.
//!
//! Entries are opaque here. The driver packs as many commands as it likes into one
//! [`Payload::Data`]; consensus only counts their bytes. Cloning an entry copies a
//! handful of words: the bytes themselves are shared.

use core::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{LogIndex, NodeId, Term};

use crate::membership::Membership;
use crate::wire;

/// One position of the replicated log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it stands in the log; the first entry ever is 1.
    pub index: LogIndex,
    /// The term of the leader that created it.
    pub term: Term,
    /// What it carries.
    pub payload: Payload,
}

impl Entry {
    /// Bytes this entry takes in a message and counts against every byte limit.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        wire::ENTRY_HEADER_BYTES + self.payload.encoded_len()
    }
}

/// The contents of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// Nothing: every leader starts its term with one, because committing an entry of
    /// its own term is the only way to learn what is committed (paper, section 8).
    Noop,
    /// The members of the group from this position on, effective when appended.
    Membership(Arc<Membership>),
    /// Bytes of the application.
    Data(Bytes),
}

impl Payload {
    /// Bytes of the encoded payload, without the entry's header.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Noop => 0,
            Self::Membership(membership) => wire::membership_len(membership),
            Self::Data(data) => data.len(),
        }
    }
}

/// A run of entries that the log, messages and disk writes share: a clone or a part of it
/// copies three words and no entry.
#[derive(Clone, Default)]
pub struct Entries {
    /// `None` of nothing, so that a heartbeat allocates nothing.
    all: Option<Arc<[Entry]>>,
    // Invariant: `start <= end`, and `end` is within `all`.
    start: usize,
    end: usize,
}

impl Entries {
    /// Bytes of all entries, as they count against the limits.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.iter().map(Entry::encoded_len).sum()
    }

    /// `count` of the entries, leaving `skip` out at the front.
    pub(crate) fn part(&self, skip: usize, count: usize) -> Self {
        let start = self.start + skip;
        let end = start + count;
        assert!(end <= self.end, "a part lies within the whole");
        Self {
            all: self.all.clone(),
            start,
            end,
        }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.all
            .as_deref()
            .map_or(&[], |all| &all[self.start..self.end])
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl core::fmt::Debug for Entries {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        Self::from(Arc::from(entries))
    }
}

impl From<Arc<[Entry]>> for Entries {
    fn from(all: Arc<[Entry]>) -> Self {
        let end = all.len();
        Self {
            all: (end > 0).then_some(all),
            start: 0,
            end,
        }
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self::from(entries.into_iter().collect::<Arc<[Entry]>>())
    }
}

/// The entries one after the other; each is cloned, which copies no bytes.
#[derive(Clone, Debug)]
pub struct EntriesIntoIter(Entries);

impl Iterator for EntriesIntoIter {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.0.first()?.clone();
        self.0.start += 1;
        Some(entry)
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = EntriesIntoIter;

    fn into_iter(self) -> EntriesIntoIter {
        EntriesIntoIter(self)
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The term a node is in and whom it voted for in that term.
///
/// Both are persisted in one record: a term without its vote, or a vote without its
/// term, would let a restarted node vote twice (trap 18).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HardState {
    /// The newest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
}

/// The point where a log begins: what the compacted prefix or the installed snapshot
/// ends with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogBase {
    /// The last index that is no longer in the log.
    pub index: LogIndex,
    /// The term of the entry at that index.
    pub term: Term,
    /// The members in effect at that index.
    pub membership: Arc<Membership>,
}

impl LogBase {
    /// The base of a brand-new group whose first members are `voters`.
    ///
    /// Every first member must start with the same base. A node that joins later
    /// starts with `LogBase::default()` and learns the members from its leader.
    #[must_use]
    pub fn bootstrap(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            index: LogIndex::ZERO,
            term: Term::ZERO,
            membership: Arc::new(Membership::of_voters(voters)),
        }
    }
}

/// What storage hands back when a node starts.
///
/// No entry bodies: they stay on disk and are fetched when somebody needs them, so
/// that a restart with a 1 GB log doesn't read 1 GB.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The last persisted term and vote.
    pub hard_state: HardState,
    /// Where the log begins.
    pub base: LogBase,
    /// The last entry on disk; `base.index` if there is none.
    pub last_index: LogIndex,
    /// Runs of equal terms: the first index of each run after `base`, in order.
    pub terms: Vec<(LogIndex, Term)>,
    /// The membership entries after `base`, in order.
    pub memberships: Vec<(LogIndex, Arc<Membership>)>,
    /// What the state machine has applied; from `base.index` to `last_index`.
    ///
    /// A state machine may be ahead of the log after a crash between the installation
    /// of a snapshot and the persist of its base; the driver then first gives the log
    /// the base that came with [`crate::SnapshotAction::Install`].
    pub applied: LogIndex,
    /// An index known to be committed, from `applied` to `last_index`; `applied` if
    /// nothing better was kept.
    pub committed: LogIndex,
}
