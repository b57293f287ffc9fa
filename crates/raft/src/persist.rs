//! Nothing is promised before the disk has it, and the types see to that.
//!
//! The core hands out a [`Persist`]; storage writes it, makes it durable and turns it
//! into a [`Durable`], which has no other constructor; the core takes that back. In
//! between, replies that promise something wait in the outbox with the number of the
//! write they depend on, and only a `Durable` moves the mark that lets them out. A
//! message type that never promises may be sent at once; the compiler knows which
//! those are ([`Free`]).
//!
//! Completions come in order. What a completion is worth is decided when the log is
//! truncated, not when the completion arrives: truncation clips every write under way,
//! so that an entry that was written, overwritten and appended again (the ABA race,
//! trap 7) counts only once its *last* write is done.

use std::collections::VecDeque;

use stdx::{Instant, LogIndex, NodeId, Term};

use crate::entry::{Entries, Entry, HardState, LogBase};
use crate::message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Envelope, InstallSnapshot, Message,
    ReadIndex, ReadIndexReply, RequestPreVote, RequestPreVoteReply, RequestVote, RequestVoteReply,
    TimeoutNow,
};

/// The number of a disk write; writes complete in this order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct WriteNumber(u64);

/// What must reach the disk before anything that depends on it may be sent.
#[derive(Debug)]
#[must_use = "a lost Persist blocks the node for ever"]
pub struct Persist {
    number: WriteNumber,
    hard_state: Option<HardState>,
    base: Option<LogBase>,
    entries: Entries,
    last: (Term, LogIndex),
}

impl Persist {
    /// The term and vote to write, in one record, if they changed.
    #[must_use]
    pub const fn hard_state(&self) -> Option<HardState> {
        self.hard_state
    }

    /// Set when a snapshot replaced the log: *everything* in the log is dropped, and
    /// it begins after this.
    #[must_use]
    pub const fn base(&self) -> Option<&LogBase> {
        self.base.as_ref()
    }

    /// The entries to append, after `base`. When the first one's index isn't beyond
    /// the end of the log, the log is cut there first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same entries, shared: for a disk thread that keeps them.
    #[must_use]
    pub fn shared_entries(&self) -> Entries {
        self.entries.clone()
    }

    /// States that all of this is on disk and will be found there after a crash.
    ///
    /// To be called by storage after `fdatasync` (or what stands for it) returned.
    #[must_use = "the core waits for it"]
    pub fn into_durable(self) -> Durable {
        Durable {
            number: self.number,
            last: self.last,
        }
    }
}

/// The proof that a [`Persist`] is on disk. It carries the term and index of the last
/// entry that the write covered.
#[derive(Debug)]
#[must_use = "the core waits for it"]
pub struct Durable {
    number: WriteNumber,
    last: (Term, LogIndex),
}
