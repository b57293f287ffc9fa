//! The interface: what a log can do, whichever format it is kept in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{GroupId, LogIndex, NodeId, Term};

use crate::error::{ReadError, WalError};
use crate::options::Identity;

/// One entry of a group's log. The payload and its kind mean nothing to this crate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// Position in the group's log; the first is 1.
    pub index: LogIndex,
    /// The term of the leader that made it.
    pub term: Term,
    /// What the owner says the payload is (no-op, membership, data, ...).
    pub kind: u8,
    /// The entry's content.
    pub payload: Bytes,
}

/// The election state of one group, which must never go backwards.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vote {
    /// The newest term that this node has seen.
    pub term: Term,
    /// Whom this node voted for in that term.
    pub vote: Option<NodeId>,
}

/// What the log of a group starts after: the end of a snapshot or of a compacted prefix.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Base {
    /// The last position that is no longer in the log.
    pub index: LogIndex,
    /// The term of the entry that stood there.
    pub term: Term,
    /// Whatever the owner wants to have back with it (the membership at that position).
    pub data: Bytes,
}

/// What one group wants written in one batch. All of it becomes durable together: in the binary
/// format it is one record.
///
/// It is applied in this order: vote, base, entries.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    /// The group.
    pub group: GroupId,
    /// The new election state, if it changed.
    pub vote: Option<Vote>,
    /// Consecutive entries. If the first one's index is not past the end of the log, the old
    /// entries from there on are dropped.
    pub entries: &'a [LogEntry],
    /// A new base, when a snapshot was installed. What lies behind it in the log stays only if the
    /// log holds an entry with this index and this term (Raft paper, section 7); otherwise the
    /// whole log is dropped.
    pub base: Option<Base>,
}

impl<'a> Append<'a> {
    /// Entries only.
    #[must_use]
    pub const fn entries(group: GroupId, entries: &'a [LogEntry]) -> Self {
        Self {
            group,
            vote: None,
            entries,
            base: None,
        }
    }

    /// An election state only.
    #[must_use]
    pub const fn vote(group: GroupId, vote: Vote) -> Self {
        Self {
            group,
            vote: Some(vote),
            entries: &[],
            base: None,
        }
    }
}

/// A durable log that holds the logs of all Raft groups of a node.
///
/// ```text
/// loop {
///     log.append(&everything_that_all_groups_want_written)?;   // one write
///     log.sync()?;                                             // one fdatasync
///     // now, and not before, tell the groups that it is durable
/// }
/// ```
///
/// After an error that says so ([`WalError::Poisoned`]) every later call fails with the same
/// error: what is on the disk is then only known after a restart.
pub trait Log: Send + fmt::Debug {
    /// Writes a batch to the operating system, in order. Nothing is durable before [`Log::sync`].
    ///
    /// # Errors
    ///
    /// [`WalError::DiskFull`], [`WalError::Gap`] and [`WalError::TooLarge`] are found before
    /// anything is written: the log is as it was. Any failing write poisons the log.
    fn append(&mut self, batch: &[Append<'_>]) -> Result<(), WalError>;

    /// Makes everything appended so far durable, then gives back the space of what is no longer
    /// needed.
    ///
    /// # Errors
    ///
    /// Any failure poisons the log, because the operating system may have dropped the data that it
    /// could not write, and would report success the next time.
    fn sync(&mut self) -> Result<(), WalError>;

    /// Says that a group's entries through `base.index` are not needed any more. They are gone for
    /// readers at once; their space is free after the next [`Log::sync`]. A base that is not past
    /// the present one changes nothing.
    ///
    /// # Errors
    ///
    /// As for [`Log::append`]. A full disk does not stop it, because a segment is kept in reserve.
    fn compact(&mut self, group: GroupId, base: Base) -> Result<(), WalError>;

    /// A reader for other threads.
    fn reader(&self) -> Arc<dyn LogReader>;

    /// What the log takes on the disk.
    fn usage(&self) -> Usage;
}

/// Reads entries while the log is being written.
pub trait LogReader: Send + Sync + fmt::Debug {
    /// The entries `from..=to` of a group, about as many as fit `bytes_max` bytes with everything
    /// around their payloads: never more payload than that unless the first entry alone is larger,
    /// and always at least one entry. They may be not yet durable.
    ///
    /// # Errors
    ///
    /// [`ReadError::Compacted`] if `from` is not in the log any more, [`ReadError::OutOfRange`] if
    /// `to` is not yet in it or `from > to`, [`ReadError::Corrupt`] if what was read back is not
    /// what was written.
    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, ReadError>;
}

/// What a log takes on the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Bytes of records and lines that are still kept.
    pub bytes: u64,
    /// Bytes that the files take, including what is allocated ahead.
    pub allocated_bytes: u64,
    /// Files that hold the log.
    pub segments: u64,
    /// Files kept for the next segments.
    pub spare_segments: u64,
}

/// What was found of one group when the log was opened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Its election state.
    pub vote: Vote,
    /// What its log starts after.
    pub base: Base,
    /// The last entry; `base.index` if there is none.
    pub last_index: LogIndex,
    /// The first index of every run of entries with the same term, after `base`.
    pub terms: Vec<(LogIndex, Term)>,
    /// The entries after `base` whose kind is one of [`crate::Options::special_kinds`].
    pub special: Vec<LogEntry>,
}

/// An open log and what it held.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready for appends.
    pub log: Box<dyn Log>,
    /// Every group that has anything in it.
    pub groups: BTreeMap<GroupId, Recovered>,
    /// Whose log it is.
    pub identity: Identity,
    /// Bytes after the last complete record that were dropped: a batch that a crash interrupted
    /// before it was durable.
    pub torn_bytes: u64,
}
