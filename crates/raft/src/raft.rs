//! One member of one group: its state, and the doors in and out of it.
//!
//! This file only dispatches. Each concern is an `impl Raft` block in a file of its own;
//! the order of the doors here is the order of the loop in the crate's documentation.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{Instant, LogIndex, NodeId, Prng, Term};

use crate::config::{Config, Valid};
use crate::election::{Candidate, Follower, PreCandidate};
use crate::entry::{Entry, HardState, LogBase, Payload, Restored};
use crate::error::ProposeError;
use crate::event::{Event, Misbehaviour, RoleKind, RoleReason};
use crate::fetch::{Fetch, Fetches};
use crate::lease::Promise;
use crate::log::{Log, Memberships};
use crate::membership::Membership;
use crate::message::{Envelope, Message};
use crate::old_lease::OldLeases;
use crate::persist::{Durable, Outbox, Persist, Persister};
use crate::planted::planted;
use crate::policy::LeasePolicy;
use crate::progress::PeerProgress;
use crate::read::Readers;
use crate::replication::Leader;
use crate::snapshot::{Receiving, SnapshotAction};
use crate::true_time::TrueClock;

/// Where a proposal stands in the log, if its term lasts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Proposed {
    /// The term it was appended in. An entry of another term at `index` means that it
    /// was lost.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
}

/// One member of one Raft group: see the [crate's documentation](crate).
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) id: NodeId,
    pub(crate) prng: Prng,
    /// The latest time an input carried: time never runs backwards here.
    pub(crate) now: Instant,
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) memberships: Memberships,
    /// Invariant: `applied <= handed <= commit <= log.last_index()`.
    pub(crate) commit: LogIndex,
    /// The last entry handed out for application.
    pub(crate) handed: LogIndex,
    pub(crate) applied: LogIndex,
    pub(crate) role: Role,
    pub(crate) promise: Promise,
    pub(crate) old: OldLeases,
    /// When the log last grew, by this node's clock, and a true time by which it had, if it
    /// is known. Whatever is in the log was appended by its leader before.
    pub(crate) appended_at: Instant,
    pub(crate) appended_by: Option<u64>,
    pub(crate) true_clock: TrueClock,
    pub(crate) persister: Persister,
    pub(crate) outbox: Outbox,
    pub(crate) readers: Readers,
    pub(crate) fetches: Fetches,
    pub(crate) snapshot_actions: VecDeque<SnapshotAction>,
    pub(crate) receiving: Option<Receiving>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) disk_stalled: bool,
}

/// The part a node plays, with what it needs for that part and nothing else.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

impl Raft {
    /// Starts a node from what its storage kept.
    ///
    /// `seed` must differ from start to start, or questions of this life might be
    /// mistaken for those of the last.
    ///
    /// # Panics
    ///
    /// When `restored` contradicts itself.
    #[must_use]
    pub fn new(
        config: Valid<Config>,
        id: NodeId,
        restored: Restored,
        now: Instant,
        seed: u64,
    ) -> Self {
        assert!(id != NodeId::ZERO, "node id 0 is reserved");
        assert!(
            restored.applied >= restored.base.index,
            "what is compacted was applied"
        );
        assert!(
            restored.applied <= restored.committed,
            "what was applied is committed"
        );
        assert!(
            restored.committed <= restored.last_index,
            "what is committed is in the log"
        );
        let config = config.into_inner();
        let mut prng = Prng::from_seed(seed ^ now.as_nanos().rotate_left(32));
        let fresh = restored.hard_state.term == Term::ZERO && restored.last_index == LogIndex::ZERO;
        let promise = Promise::at_start(&config, now, fresh);
        let mut hard_state = restored.hard_state;
        let old = OldLeases::at_start(&config, now, fresh, hard_state.term);
        if planted!(config, ForgottenVote) {
            hard_state.vote = None;
        }
        let readers = Readers::new(&mut prng);
        let mut raft = Self {
            id,
            now,
            hard_state,
            memberships: Memberships::new(&restored.base, restored.memberships),
            log: Log::new(restored.base, restored.last_index, restored.terms),
            commit: restored.committed,
            handed: restored.applied,
            applied: restored.applied,
            role: Role::Follower(Follower::new(now)),
            promise,
            old,
            appended_at: if fresh { Instant::EPOCH } else { now },
            appended_by: None,
            true_clock: TrueClock::default(),
            persister: Persister::new(restored.last_index),
            outbox: Outbox::default(),
            readers,
            fetches: Fetches::default(),
            snapshot_actions: VecDeque::new(),
            receiving: None,
            events: VecDeque::new(),
            disk_stalled: false,
            prng,
            config,
        };
        if raft.log.last_term() > raft.hard_state.term {
            // A snapshot was installed and the term it came in wasn't written any more. Any
            // vote in that term would have been written before it was given.
            raft.hard_state = HardState {
                term: raft.log.last_term(),
                vote: None,
            };
            raft.persister.hard_state_changed();
        }
        let deadline = raft.first_election_deadline(fresh);
        raft.role = Role::Follower(Follower::new(deadline));
        raft
    }

    /// A message of another member arrived.
    pub fn on_message(&mut self, now: Instant, from: NodeId, message: Message) {
        self.advance_clock(now);
        if from == self.id || !self.check_term(from, &message) {
            return;
        }
        match message {
            Message::RequestPreVote(message) => self.on_request_pre_vote(from, message),
            Message::RequestPreVoteReply(message) => self.on_request_pre_vote_reply(from, message),
            Message::RequestVote(message) => self.on_request_vote(from, message),
            Message::RequestVoteReply(message) => self.on_request_vote_reply(from, message),
            Message::AppendEntries(message) => self.on_append_entries(from, &message),
            Message::AppendEntriesReply(message) => self.on_append_entries_reply(from, message),
            Message::InstallSnapshot(message) => self.on_install_snapshot(from, message),
            Message::InstallSnapshotReply(message) => {
                self.on_install_snapshot_reply(from, message);
            }
            Message::TimeoutNow(message) => self.on_timeout_now(from, message),
            Message::ReadIndex(message) => self.on_read_index(from, message),
            Message::ReadIndexReply(message) => self.on_read_index_reply(message),
        }
    }

    /// The moment of [`Self::poll_timeout`] has come; calls at other times do nothing.
    pub fn on_timeout(&mut self, now: Instant) {
        self.advance_clock(now);
        self.check_disk();
        self.expire_forwarded_reads();
        match &self.role {
            Role::Leader(_) => self.on_leader_timeout(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.on_election_timeout();
            }
        }
    }

    /// A disk write is done. Completions come in the order of the writes.
    ///
    /// # Panics
    ///
    /// When they don't.
    #[expect(clippy::needless_pass_by_value, reason = "a completion is used up")]
    pub fn on_persisted(&mut self, now: Instant, durable: Durable) {
        self.advance_clock(now);
        let grew = self.persister.complete(&durable, &self.log);
        self.outbox.release(&durable);
        self.disk_stalled = false;
        self.count_own_vote();
        if grew {
            self.trim_cache();
            self.advance_commit();
        }
    }

    /// The state machine has applied everything through `index`.
    ///
    /// # Panics
    ///
    /// When that was never handed out.
    pub fn on_applied(&mut self, index: LogIndex) {
        assert!(
            index <= self.handed,
            "only what was handed out can be applied"
        );
        if index > self.applied {
            self.applied = index;
            self.answer_applied_reads();
        }
    }

    /// Appends bytes to the log, if this node leads.
    ///
    /// # Errors
    ///
    /// When it isn't taken, which means that it certainly never will be executed.
    pub fn propose(&mut self, now: Instant, data: Bytes) -> Result<Proposed, ProposeError> {
        self.advance_clock(now);
        let hint = self.leader();
        let Role::Leader(leader) = &mut self.role else {
            return Err(ProposeError::NotLeader { hint });
        };
        if let Some(to) = leader.transfer_target() {
            return Err(ProposeError::Transferring { to });
        }
        if leader.commit_from > self.now
            && matches!(self.memberships.current().lease, LeasePolicy::WaitOut(_))
        {
            return Err(ProposeError::LeaseWait);
        }
        if data.len() > self.config.entry_bytes_max {
            let bytes_max = self.config.entry_bytes_max;
            return Err(ProposeError::TooLarge {
                bytes: data.len(),
                bytes_max,
            });
        }
        let waiting = leader.uncommitted_bytes;
        if waiting > 0 && waiting + data.len() > self.config.uncommitted_bytes_max {
            let bytes_max = self.config.uncommitted_bytes_max;
            return Err(ProposeError::Overloaded {
                bytes: waiting,
                bytes_max,
            });
        }
        Ok(self.append_own(Payload::Data(data)))
    }

    /// What to write to disk next.
    pub fn poll_persist(&mut self) -> Option<Persist> {
        self.persister
            .next_write(self.now, self.hard_state, &mut self.log)
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Envelope> {
        if let Some(envelope) = self.outbox.pop() {
            return Some(envelope);
        }
        self.forward_reads();
        self.replicate();
        self.outbox.pop()
    }

    /// Which entries to read from disk next.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        self.fetches.pop()
    }

    /// What to do about snapshots next.
    pub fn poll_snapshot(&mut self) -> Option<SnapshotAction> {
        self.snapshot_actions.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::on_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(candidate) => candidate.deadline,
            Role::Candidate(candidate) => candidate.deadline,
            Role::Leader(leader) => leader.wake_at(),
        };
        Some(
            self.readers
                .forwarded_deadline()
                .map_or(role, |deadline| deadline.min(role)),
        )
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The newest term seen.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Whom this node voted for in [`Self::term`].
    #[must_use]
    pub const fn vote(&self) -> Option<NodeId> {
        self.hard_state.vote
    }

    /// The part this node plays.
    #[must_use]
    pub const fn role(&self) -> RoleKind {
        match self.role {
            Role::Follower(_) => RoleKind::Follower,
            Role::PreCandidate(_) => RoleKind::PreCandidate,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// Who leads this term, as far as known; possibly this node.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// Where the log begins.
    #[must_use]
    pub const fn base(&self) -> &LogBase {
        self.log.base()
    }

    /// The end of the log, in memory.
    #[must_use]
    pub const fn last_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// The term of the entry at an index, if it is in the log or its base.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term_at(index)
    }

    /// An entry whose body is in memory, for looking at.
    #[must_use]
    pub fn cached_entry(&self, index: LogIndex) -> Option<&Entry> {
        self.log.cached(index)
    }

    /// The end of the log on disk.
    #[must_use]
    pub const fn durable(&self) -> LogIndex {
        self.persister.durable()
    }

    /// What is known to be committed.
    #[must_use]
    pub const fn committed(&self) -> LogIndex {
        self.commit
    }

    /// What the state machine has applied.
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The members in effect.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        self.memberships.current()
    }

    /// The followers, if this node leads; else nothing.
    #[must_use]
    pub fn progress(&self) -> Vec<PeerProgress> {
        let Role::Leader(leader) = &self.role else {
            return Vec::new();
        };
        let last = self.log.last_index();
        let view = |peer: &crate::progress::Peer| PeerProgress {
            id: peer.id,
            voter: peer.seat.votes(),
            session: peer.session,
            matched: peer.matched,
            next: peer.next,
            state: peer.state(),
            lag: last.distance_from(peer.matched),
            last_heard: peer.last_heard,
        };
        leader.peers.iter().map(view).collect()
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) const fn leading(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    pub(crate) const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn misbehaved(&mut self, peer: NodeId, what: Misbehaviour) {
        self.emit(Event::Misbehaved { peer, what });
    }

    /// Appends an entry of this leader's own term.
    pub(crate) fn append_own(&mut self, payload: Payload) -> Proposed {
        let term = self.hard_state.term;
        let index = self.log.last_index().next();
        let entry = Entry {
            index,
            term,
            payload,
        };
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader appends entries of its own");
        };
        leader.uncommitted_bytes += entry.encoded_len();
        leader.dirty = true;
        let true_time = self.true_clock.at(self.now);
        leader.log_lease.appended(index, self.now, true_time);
        self.appended_at = self.now;
        self.appended_by = true_time.map(|bounds| bounds.latest);
        let membership = match &entry.payload {
            Payload::Membership(membership) => Some(Arc::clone(membership)),
            Payload::Noop | Payload::Data(_) => None,
        };
        self.log.append(entry);
        if let Some(membership) = membership {
            self.adopt_membership(index, membership);
        }
        Proposed { term, index }
    }

    /// Notices a disk that doesn't answer (trap 17): better somebody else leads.
    fn check_disk(&mut self) {
        let Some(since) = self.persister.waiting_since() else {
            return;
        };
        if self.disk_stalled || self.now.since(since) < self.config.disk_stall_timeout {
            return;
        }
        self.disk_stalled = true;
        self.emit(Event::DiskStalled { since });
        if self.is_leader() && self.transfer_leadership(self.now, None).is_err() {
            self.become_follower(self.hard_state.term, None, RoleReason::DiskStalled);
        }
    }

    fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Compares the sender's term with ours; says whether to look at the message at all.
    fn check_term(&mut self, from: NodeId, message: &Message) -> bool {
        let term = message.term();
        if term <= self.hard_state.term {
            return true;
        }
        match message {
            // Would-be terms, not real ones.
            Message::RequestPreVote(_) => return true,
            Message::RequestPreVoteReply(reply) if reply.granted => return true,
            // A vote asked for while a leader is alive doesn't even disturb (thesis,
            // section 4.2.3), unless that leader asked for it.
            Message::RequestVote(request) if self.refuses_votes(request.transfer) => return false,
            _ => {}
        }
        let leader = match message {
            Message::AppendEntries(_) | Message::InstallSnapshot(_) => Some(from),
            _ => None,
        };
        self.become_follower(term, leader, RoleReason::NewerTerm);
        true
    }
}
