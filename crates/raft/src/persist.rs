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

use core::time::Duration;
use std::collections::VecDeque;

use stdx::{Instant, LogIndex, NodeId, Term};

use crate::entry::{Entries, Entry, HardState, LogBase};
use crate::log::Log;
use crate::message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Envelope, InstallSnapshot,
    InstallSnapshotReply, Message, ReadIndex, ReadIndexReply, RequestPreVote, RequestPreVoteReply,
    RequestVote, RequestVoteReply, SnapshotOutcome, TimeoutNow,
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

/// A write that was handed out and isn't done.
#[derive(Clone, Debug)]
struct Write {
    number: WriteNumber,
    /// The last entry of the log that its completion makes durable: falls when the log is
    /// truncated meanwhile.
    last: LogIndex,
    since: Instant,
}

/// What is written, what is being written, what isn't handed out yet.
#[derive(Clone, Debug)]
pub(crate) struct Persister {
    issued: WriteNumber,
    completed: WriteNumber,
    under_way: VecDeque<Write>,
    /// The last entry that was handed out.
    handed: LogIndex,
    /// The last entry that is on disk, as far as the log still holds it.
    durable: LogIndex,
    hard_state_dirty: bool,
    /// The write that has the newest term and vote.
    hard_state_write: WriteNumber,
    base: Option<LogBase>,
    base_write: WriteNumber,
}

impl Persister {
    pub(crate) fn new(last: LogIndex) -> Self {
        Self {
            issued: WriteNumber::default(),
            completed: WriteNumber::default(),
            under_way: VecDeque::new(),
            handed: last,
            durable: last,
            hard_state_dirty: false,
            hard_state_write: WriteNumber::default(),
            base: None,
            base_write: WriteNumber::default(),
        }
    }

    pub(crate) const fn hard_state_changed(&mut self) {
        self.hard_state_dirty = true;
    }

    /// The log was cut: no write under way counts beyond the cut, whatever it wrote.
    pub(crate) fn truncated(&mut self, from: LogIndex, keep_completions: bool) {
        let last = from.previous();
        self.handed = self.handed.min(last);
        self.durable = self.durable.min(last);
        if keep_completions {
            return;
        }
        for write in &mut self.under_way {
            write.last = write.last.min(last);
        }
    }

    /// A snapshot's base replaced the log.
    pub(crate) fn reset(&mut self, base: LogBase) {
        self.handed = base.index;
        self.durable = LogIndex::ZERO;
        for write in &mut self.under_way {
            write.last = LogIndex::ZERO;
        }
        self.base = Some(base);
    }

    /// Makes the next write, if there is anything to write.
    pub(crate) fn next_write(
        &mut self,
        now: Instant,
        hard_state: HardState,
        log: &mut Log,
    ) -> Option<Persist> {
        let last = log.last_index();
        if !self.hard_state_dirty && self.base.is_none() && self.handed == last {
            return None;
        }
        let number = WriteNumber(self.issued.0 + 1);
        self.issued = number;
        if self.base.is_some() {
            self.base_write = number;
        }
        let hard_state = self.hard_state_dirty.then(|| {
            self.hard_state_dirty = false;
            self.hard_state_write = number;
            hard_state
        });
        let entries = if self.handed < last {
            log.slice(self.handed.next(), last, usize::MAX).0
        } else {
            Entries::default()
        };
        self.handed = last;
        self.under_way.push_back(Write {
            number,
            last,
            since: now,
        });
        let base = self.base.take();
        let last = (log.last_term(), last);
        Some(Persist {
            number,
            hard_state,
            base,
            entries,
            last,
        })
    }

    /// Takes a completion: returns whether more of the log is durable.
    pub(crate) fn complete(&mut self, durable: &Durable, log: &Log) -> bool {
        assert!(
            durable.number > self.completed,
            "disk writes complete in order"
        );
        self.completed = durable.number;
        let before = self.durable;
        while self
            .under_way
            .front()
            .is_some_and(|write| write.number <= durable.number)
        {
            let write = self
                .under_way
                .pop_front()
                .expect("the front was just looked at");
            self.durable = self.durable.max(write.last.min(log.last_index()));
        }
        let (term, index) = durable.last;
        if self.durable == index && index > log.base().index {
            debug_assert!(
                log.term_at(index) == Some(term) || log.term_at(index).is_none(),
                "a completion that counts names an entry of the log"
            );
        }
        self.durable > before
    }

    pub(crate) const fn durable(&self) -> LogIndex {
        self.durable
    }

    /// The write after which the current term and vote are on disk.
    pub(crate) fn after_hard_state(&self) -> WriteNumber {
        if self.hard_state_dirty {
            WriteNumber(self.issued.0 + 1)
        } else {
            self.hard_state_write
        }
    }

    /// The write after which the log through `index` and the term are on disk.
    pub(crate) fn after_entry(&self, index: LogIndex) -> WriteNumber {
        let entry = if index > self.handed || self.base.is_some() {
            WriteNumber(self.issued.0 + 1)
        } else if index <= self.durable {
            self.completed
        } else {
            self.under_way
                .iter()
                .find(|write| write.last >= index)
                .map_or(self.issued, |write| write.number)
        };
        entry.max(self.base_write).max(self.after_hard_state())
    }

    pub(crate) fn is_done(&self, number: WriteNumber) -> bool {
        number <= self.completed
    }

    /// Since when the oldest write has been under way.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.under_way.front().map(|write| write.since)
    }

    pub(crate) fn check_invariants(&self, log: &Log) {
        assert!(
            self.handed <= log.last_index(),
            "only entries of the log are handed out"
        );
        assert!(
            self.durable <= self.handed,
            "only what was handed out is durable"
        );
        assert!(
            self.completed <= self.issued,
            "only what was issued completes"
        );
        for write in &self.under_way {
            assert!(
                write.number > self.completed,
                "what is under way isn't complete"
            );
        }
    }
}

/// A message that promises nothing about this node's disk.
pub(crate) trait Free: Into<Message> {}

impl Free for RequestPreVote {}
impl Free for RequestPreVoteReply {}
impl Free for AppendEntries {}
impl Free for InstallSnapshot {}
impl Free for TimeoutNow {}
impl Free for ReadIndex {}
impl Free for ReadIndexReply {}

/// A reply that could promise something, made so that it doesn't.
#[derive(Debug)]
pub(crate) struct Refusal(Message);

impl Free for Refusal {}

impl From<Refusal> for Message {
    fn from(refusal: Refusal) -> Self {
        refusal.0
    }
}

impl Refusal {
    /// A vote that isn't given.
    pub(crate) fn vote(term: Term) -> Self {
        Self(
            RequestVoteReply {
                term,
                granted: false,
                old_lease: Duration::ZERO,
            }
            .into(),
        )
    }

    /// Entries that don't fit.
    pub(crate) fn append(reply: AppendEntriesReply) -> Self {
        assert!(
            matches!(reply.outcome, AppendOutcome::Rejected { .. }),
            "an acceptance is a promise"
        );
        Self(reply.into())
    }

    /// News about pieces of a snapshot, which are worthless until installed.
    pub(crate) fn snapshot(reply: InstallSnapshotReply) -> Self {
        assert!(
            matches!(reply.outcome, SnapshotOutcome::Received { .. }),
            "an installation is a promise"
        );
        Self(reply.into())
    }
}

/// A message that may leave once a certain write is done.
pub(crate) trait Promising: Into<Message> {}

impl Promising for RequestVote {}
impl Promising for RequestVoteReply {}
impl Promising for AppendEntriesReply {}
impl Promising for InstallSnapshotReply {}

/// Messages on their way out, and promises that wait for the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    ready: VecDeque<Envelope>,
    held: VecDeque<(WriteNumber, Envelope)>,
}

impl Outbox {
    /// Sends what promises nothing.
    pub(crate) fn send(&mut self, to: NodeId, message: impl Free) {
        let message = message.into();
        self.ready.push_back(Envelope { to, message });
    }

    /// Sends a promise once the write it depends on is done.
    pub(crate) fn promise(
        &mut self,
        persister: &Persister,
        after: WriteNumber,
        to: NodeId,
        message: impl Promising,
    ) {
        let message = message.into();
        if persister.is_done(after) {
            self.ready.push_back(Envelope { to, message });
            return;
        }
        if let Some((number, held)) = self.held.back_mut()
            && *number == after
            && held.to == to
            && absorbs(&mut held.message, &message)
        {
            return;
        }
        self.held.push_back((after, Envelope { to, message }));
    }

    /// Lets out what waited for a completion. Only a [`Durable`] gets here.
    pub(crate) fn release(&mut self, durable: &Durable) {
        // Mostly everything up to some point; an acknowledgement of old entries may
        // stand behind one of newer entries.
        for _ in 0..self.held.len() {
            let Some((after, envelope)) = self.held.pop_front() else {
                break;
            };
            if after <= durable.number {
                self.ready.push_back(envelope);
            } else {
                self.held.push_back((after, envelope));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Envelope> {
        self.ready.pop_front()
    }
}

/// Merges an acknowledgement into one that waits for the same write.
fn absorbs(held: &mut Message, newer: &Message) -> bool {
    let (Message::AppendEntriesReply(held), Message::AppendEntriesReply(newer)) = (held, newer)
    else {
        return false;
    };
    let (AppendOutcome::Accepted { matched: old, .. }, AppendOutcome::Accepted { matched, .. }) =
        (held.outcome, newer.outcome)
    else {
        return false;
    };
    if (held.term, held.session) != (newer.term, newer.session) || matched < old {
        return false;
    }
    *held = AppendEntriesReply {
        round: held.round.max(newer.round),
        ..*newer
    };
    true
}
