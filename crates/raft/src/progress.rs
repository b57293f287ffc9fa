//! What a leader knows about each of its followers, and how it treats them.
//!
//! A follower is *probed* until it is known where its log and the leader's agree: one
//! message at a time. Then it gets a *stream*: each message is sent as if the one before
//! had arrived, bounded by messages and bytes under way, because latency hides in the
//! gaps between them. If the entries it needs are compacted it gets a *snapshot*.

use std::collections::VecDeque;

use stdx::{Instant, LogIndex, NodeId};

use crate::config::Config;
use crate::entry::LogBase;
use crate::fetch::FetchId;
use crate::message::{Round, Session, SnapshotId};

/// How a leader treats a follower at the moment.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ProgressState {
    /// One message at a time, to find where the logs agree.
    Probe,
    /// A stream of messages, without waiting for each answer.
    Replicate,
    /// The entries it misses are gone: it gets a snapshot.
    Snapshot,
}

/// One follower as its leader sees it, for a person to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerProgress {
    /// The follower.
    pub id: NodeId,
    /// Whether its vote counts.
    pub voter: bool,
    /// Its stay in the group.
    pub session: Session,
    /// Its log equals the leader's through here, durably.
    pub matched: LogIndex,
    /// The next entry to send.
    pub next: LogIndex,
    /// How it is treated.
    pub state: ProgressState,
    /// Entries of the leader that it isn't known to have.
    pub lag: u64,
    /// When it was last heard.
    pub last_heard: Instant,
}

/// In which halves of a configuration a node votes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seat {
    pub(crate) incoming: bool,
    pub(crate) outgoing: bool,
}

impl Seat {
    pub(crate) const fn votes(self) -> bool {
        self.incoming || self.outgoing
    }
}

/// A follower at its leader.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) seat: Seat,
    pub(crate) session: Session,
    /// Invariant: below `next`.
    pub(crate) matched: LogIndex,
    pub(crate) next: LogIndex,
    pub(crate) flow: Flow,
    /// The newest round it answered.
    pub(crate) acked_round: Round,
    /// Until when its promise not to elect another counts.
    pub(crate) lease_end: Instant,
    pub(crate) last_heard: Instant,
    /// The commit index it was told.
    pub(crate) commit_told: LogIndex,
    /// When entries were last sent, and in which round: to notice that they got lost.
    pub(crate) sent_at: Instant,
    pub(crate) sent_round: Round,
    /// Entries are being read from disk for it.
    pub(crate) fetch: Option<FetchId>,
    /// A heartbeat is due.
    pub(crate) heartbeat_due: bool,
}

/// What is under way to a follower.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    /// One message at a time; `waiting` for its answer.
    Probe {
        waiting: bool,
    },
    Replicate(Inflight),
    Snapshot(Sending),
}

/// Messages that were sent and not yet acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inflight {
    /// The last index and the bytes of each.
    messages: VecDeque<(LogIndex, usize)>,
    bytes: usize,
}

impl Inflight {
    pub(crate) fn add(&mut self, last: LogIndex, bytes: usize) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    pub(crate) fn free_through(&mut self, matched: LogIndex) {
        while let Some(&(last, bytes)) = self.messages.front()
            && last <= matched
        {
            self.messages.pop_front();
            self.bytes -= bytes;
        }
    }

    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.messages.len() >= config.inflight_messages_max
            || self.bytes >= config.inflight_bytes_max
    }
}

/// A snapshot on its way to a follower.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sending {
    /// Which one; chosen by the driver with its first piece.
    pub(crate) snapshot: Option<(SnapshotId, LogBase)>,
    /// Bytes that the follower holds.
    pub(crate) offset: u64,
    /// The driver is reading the next piece.
    pub(crate) reading: bool,
    /// When the last piece was sent or asked for.
    pub(crate) since: Instant,
}

impl Peer {
    pub(crate) fn new(id: NodeId, session: Session, next: LogIndex, now: Instant) -> Self {
        Self {
            id,
            seat: Seat::default(),
            session,
            matched: LogIndex::ZERO,
            next,
            flow: Flow::Probe { waiting: false },
            acked_round: Round::default(),
            lease_end: Instant::EPOCH,
            last_heard: now,
            commit_told: LogIndex::ZERO,
            sent_at: now,
            sent_round: Round::default(),
            fetch: None,
            heartbeat_due: false,
        }
    }

    /// Goes back to probing from `next`.
    pub(crate) fn probe_from(&mut self, next: LogIndex) {
        self.next = next.max(self.matched.next());
        self.flow = Flow::Probe { waiting: false };
        self.fetch = None;
    }

    /// Starts streaming after `received`.
    pub(crate) fn replicate_after(&mut self, received: LogIndex) {
        self.next = received.max(self.matched).next();
        self.flow = Flow::Replicate(Inflight::default());
        self.fetch = None;
    }

    /// Whether another append may be sent.
    pub(crate) fn may_send(&self, config: &Config) -> bool {
        match &self.flow {
            Flow::Probe { waiting } => !waiting,
            Flow::Replicate(inflight) => !inflight.is_full(config),
            Flow::Snapshot(_) => false,
        }
    }

    pub(crate) const fn state(&self) -> ProgressState {
        match self.flow {
            Flow::Probe { .. } => ProgressState::Probe,
            Flow::Replicate(_) => ProgressState::Replicate,
            Flow::Snapshot(_) => ProgressState::Snapshot,
        }
    }

    pub(crate) fn check_invariants(&self, last: LogIndex) {
        assert!(
            self.matched < self.next,
            "what is sent next isn't matched yet"
        );
        assert!(self.next <= last.next(), "nothing beyond the log is sent");
        assert!(
            self.commit_told <= last,
            "nothing beyond the log is committed"
        );
    }
}
