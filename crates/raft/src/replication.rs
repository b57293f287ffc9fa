//! The leader's side: getting entries to followers, and knowing when a quorum has them.
//!
//! Proposals only mark the leader as *dirty*. What is sent is decided when the driver
//! polls, so whatever arrived in between travels together: batches come from load, not
//! from a timer. The same slice of the log goes to the disk and to every follower.
//!
//! An entry is committed when a quorum has it durably, the leader's own disk counting
//! like any other, and only if it is of the leader's own term (paper, figure 8; trap 1).
//! Older entries are committed along with it.

use core::time::Duration;
use std::collections::VecDeque;

use stdx::{Instant, LogIndex, NodeId, Term};

use crate::config::Config;
use crate::entry::{Entries, Payload};
use crate::event::{Event, Misbehaviour, RoleReason};
use crate::fetch::{Fetched, Fetches};
use crate::limits::ROUNDS_REMEMBERED_MAX;
use crate::log::Log;
use crate::log_lease::LogLease;
use crate::message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, LeaseGrant, Round, Session,
};
use crate::persist::Outbox;
use crate::planted::planted;
use crate::progress::{Flow, Peer, Seat, Sending};
use crate::quorum::majority_value;
use crate::raft::{Raft, Role};
use crate::read::LeaderReads;
use crate::snapshot::SnapshotAction;
use crate::transfer::Transfers;

/// Orders the log.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// The others, in order of their ids.
    pub(crate) peers: Vec<Peer>,
    /// Where this node itself votes.
    pub(crate) seat: Seat,
    /// The first entry of its term.
    pub(crate) term_start: LogIndex,
    pub(crate) rounds: Rounds,
    pub(crate) heartbeat_at: Instant,
    /// There may be something to send.
    pub(crate) dirty: bool,
    /// Bytes of entries of its own term that aren't committed.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) lease_until: Instant,
    /// Only answers to rounds from here on count for the lease.
    pub(crate) lease_from: Round,
    /// Messages grant a lease, and answers to them count.
    pub(crate) granting: bool,
    pub(crate) log_lease: LogLease,
    /// Nothing is committed before: an earlier leader may have a lease.
    pub(crate) commit_from: Instant,
    /// Until then reads may be served before anything is committed.
    pub(crate) inherit_until: Instant,
    pub(crate) transfers: Transfers,
    pub(crate) reads: LeaderReads,
}

/// When each round was sent.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    sent: VecDeque<(Round, Instant)>,
    current: Round,
}

impl Rounds {
    fn new(now: Instant) -> Self {
        let current = Round(1);
        Self {
            sent: VecDeque::from([(current, now)]),
            current,
        }
    }

    pub(crate) fn start_next(&mut self, now: Instant) -> Round {
        self.current = Round(self.current.0 + 1);
        if self.sent.len() == ROUNDS_REMEMBERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.current, now));
        self.current
    }

    pub(crate) const fn current(&self) -> Round {
        self.current
    }

    /// When the first message of a round was sent; `None` if that is long ago.
    pub(crate) fn sent_at(&self, round: Round) -> Option<Instant> {
        let age = usize::try_from(self.current.0.checked_sub(round.0)?).ok()?;
        let at = self.sent.len().checked_sub(age + 1)?;
        self.sent.get(at).map(|&(_, sent)| sent)
    }
}

impl Leader {
    pub(crate) fn new(now: Instant, term_start: LogIndex) -> Self {
        Self {
            peers: Vec::new(),
            seat: Seat::default(),
            term_start,
            rounds: Rounds::new(now),
            heartbeat_at: now,
            dirty: true,
            uncommitted_bytes: 0,
            lease_until: Instant::EPOCH,
            lease_from: Round::default(),
            granting: false,
            log_lease: LogLease::default(),
            commit_from: Instant::EPOCH,
            inherit_until: Instant::EPOCH,
            transfers: Transfers::default(),
            reads: LeaderReads::default(),
        }
    }

    pub(crate) fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        self.peers.get_mut(at)
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<&Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        self.peers.get(at)
    }

    /// The highest value that a quorum has reached, in both halves if joint.
    pub(crate) fn quorum(&self, config: &Config, own: u64, of: impl Fn(&Peer) -> u64) -> u64 {
        let half = |sits: fn(Seat) -> bool, learners: bool| {
            let own = sits(self.seat).then_some(own);
            let voting = |peer: &&Peer| sits(peer.seat) || (learners && !peer.seat.votes());
            majority_value(
                own.into_iter()
                    .chain(self.peers.iter().filter(voting).map(&of)),
            )
        };
        let incoming = half(|seat| seat.incoming, planted!(config, LearnerCounted));
        if planted!(config, JointNeedsOneSide) {
            return incoming;
        }
        incoming.min(half(|seat| seat.outgoing, false))
    }

    /// When the leader has something to do.
    pub(crate) fn wake_at(&self) -> Instant {
        let mut at = self.heartbeat_at;
        if self.commit_from > Instant::EPOCH {
            at = at.min(self.commit_from);
        }
        if self.granting && self.lease_until > Instant::EPOCH {
            at = at.min(self.lease_until);
        }
        at
    }
}

impl Raft {
    pub(crate) fn start_leading(&mut self) {
        self.seat_peers();
        let proposed = self.append_own(Payload::Noop);
        let heartbeat_at = self.now.after(self.config.heartbeat_interval);
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("a leader starts leading");
        };
        assert_eq!(
            leader.term_start, proposed.index,
            "a term starts with its first entry"
        );
        leader.heartbeat_at = heartbeat_at;
        // A leader's first entry doesn't count against the limit for proposals.
        leader.uncommitted_bytes = 0;
        let until = leader.commit_from;
        if until > self.now {
            self.emit(Event::LeaseWait { until });
        }
        self.refresh_lease_mode();
    }

    /// Gives up what only a leader has.
    pub(crate) fn stop_leading(&mut self, leader: Leader) {
        if leader.lease_until > Instant::EPOCH {
            self.emit(Event::LeaseChanged { until: None });
        }
        self.end_transfer_by_stepping_down(&leader);
        self.fail_leader_reads(leader.reads);
        for peer in leader.peers {
            self.release_snapshot(peer.id, &peer.flow);
        }
    }

    /// The leader's clock: heartbeats, and looking whether it should lead at all.
    pub(crate) fn on_leader_timeout(&mut self) {
        self.end_lease_wait();
        if self.lost_granted_lease() {
            self.become_follower(self.hard_state.term, None, RoleReason::LeaseLost);
            return;
        }
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if self.now < leader.heartbeat_at {
            return;
        }
        let heard = leader.quorum(&self.config, u64::MAX, |peer| peer.last_heard.as_nanos());
        let patience = self.config.election_timeout_max;
        // A lease that others wait for anyhow is used to its end.
        let lease = leader.lease_until.max(leader.inherit_until);
        let end = Instant::from_nanos(heard).after(patience).max(lease);
        if self.now >= end {
            self.become_follower(self.hard_state.term, None, RoleReason::QuorumLost);
            return;
        }
        leader.heartbeat_at = self.now.after(self.config.heartbeat_interval);
        leader.rounds.start_next(self.now);
        leader.dirty = true;
        for peer in &mut leader.peers {
            peer.heartbeat_due = true;
            if let Flow::Snapshot(sending) = &mut peer.flow {
                sending.retry(peer.id, peer.last_heard, self.now, &self.config, |action| {
                    self.snapshot_actions.push_back(action);
                });
            }
        }
        self.tick_transfer();
        self.renew_log_lease();
    }

    /// Sends whatever may be sent to anybody.
    pub(crate) fn replicate(&mut self) {
        self.refresh_grants();
        let lease = self.lease_grant();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !leader.dirty {
            return;
        }
        leader.dirty = false;
        leader.start_read_round(self.now, self.commit, &self.config);
        let mut sender = Sender {
            config: &self.config,
            log: &mut self.log,
            outbox: &mut self.outbox,
            fetches: &mut self.fetches,
            snapshot_actions: &mut self.snapshot_actions,
            events: &mut self.events,
            term: self.hard_state.term,
            commit: self.commit,
            now: self.now,
            round: leader.rounds.current(),
            revoked: leader.tickets_revoked(),
            lease,
        };
        for peer in &mut leader.peers {
            sender.send(peer);
        }
        if leader.peers.is_empty() {
            self.confirm_reads();
        }
    }

    pub(crate) fn on_append_entries_reply(&mut self, from: NodeId, reply: AppendEntriesReply) {
        if !self.hear_follower(from, reply.term, reply.session, reply.round, reply.promise) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let last = self.log.last_index();
        let Some(peer) = leader.peer_mut(from) else {
            return;
        };
        let mut advanced = false;
        match reply.outcome {
            AppendOutcome::Accepted { matched, received } => {
                if matched > last || received > last || received < matched {
                    self.misbehaved(from, Misbehaviour::AcknowledgedTooMuch);
                    return;
                }
                advanced = peer.on_accepted(matched, received, reply.round, self.now, &self.config);
                if matches!(peer.flow, Flow::Snapshot(_))
                    && peer.matched.max(received) >= self.log.base().index
                {
                    let flow = core::mem::replace(&mut peer.flow, Flow::Probe { waiting: false });
                    peer.replicate_after(received);
                    self.release_snapshot(from, &flow);
                }
            }
            AppendOutcome::Rejected {
                prev_index,
                hint_index,
                hint_term,
            } => {
                peer.on_rejected(&self.log, prev_index, hint_index, hint_term);
            }
        }
        if advanced {
            self.advance_commit();
        }
        self.continue_transfer(from);
    }

    /// What every reply of a follower means, whatever it is about: it lives, and it
    /// followed this leader when the round was sent. Says whether the reply counts.
    pub(crate) fn hear_follower(
        &mut self,
        from: NodeId,
        term: Term,
        session: Session,
        round: Round,
        promise: Duration,
    ) -> bool {
        let stale_counts = planted!(self.config, StaleSession);
        let span = self.granted_span(promise);
        let Role::Leader(leader) = &mut self.role else {
            return false;
        };
        if term != self.hard_state.term || round > leader.rounds.current() {
            return false;
        }
        let lease_counts =
            round >= leader.lease_from && !leader.transfers.blocks_lease(&self.config);
        let Ok(at) = leader.peers.binary_search_by_key(&from, |peer| peer.id) else {
            return false;
        };
        let peer = &mut leader.peers[at];
        if peer.session != session && !stale_counts {
            return false;
        }
        leader.dirty = true;
        peer.last_heard = self.now;
        if round > peer.acked_round {
            peer.acked_round = round;
            if lease_counts {
                if let (Some(sent), Some(span)) = (leader.rounds.sent_at(round), span) {
                    let anchor = if planted!(self.config, LeaseFromReceipt) {
                        self.now
                    } else {
                        sent
                    };
                    peer.lease_end = peer.lease_end.max(anchor.after(span));
                }
                self.refresh_lease();
            }
            self.confirm_reads();
        }
        true
    }

    /// Commits what a quorum has.
    pub(crate) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let own = self.persister.durable().get();
        let quorum = leader.quorum(&self.config, own, |peer| peer.matched.get());
        if self.now < leader.commit_from && !planted!(self.config, CommitNotDeferred) {
            return;
        }
        let index = LogIndex::new(quorum).min(self.log.last_index());
        let own_term = self.log.term_at(index) == Some(self.hard_state.term)
            || planted!(self.config, CommitOldTerm);
        if index <= self.commit || !own_term {
            return;
        }
        let from = self.commit.max(leader.term_start).next();
        if from <= index {
            let bytes = self.log.bytes_between(from, index);
            leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(bytes);
        }
        leader.dirty = true;
        self.commit_to(index);
        self.log_lease_committed(index);
        self.after_commit();
    }

    /// Moves the commit index, at a leader or a follower.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        assert!(
            index <= self.log.last_index(),
            "what is committed is in the log"
        );
        if index <= self.commit {
            return;
        }
        let committed = self.memberships.between(self.commit, index);
        let events: Vec<_> = committed
            .map(|(index, membership)| Event::MembershipCommitted {
                index: *index,
                membership: std::sync::Arc::clone(membership),
            })
            .collect();
        self.events.extend(events);
        self.commit = index;
        self.trim_cache();
    }

    pub(crate) fn trim_cache(&mut self) {
        let safe = self.commit.min(self.persister.durable());
        self.log.evict(safe.next(), self.config.log_cache_bytes);
    }

    /// Entries for a follower came from disk, or can't be had: then the next heartbeat tries
    /// again, or finds that they are compacted.
    pub(crate) fn on_peer_entries_fetched(&mut self, fetched: Fetched) {
        self.refresh_grants();
        let lease = self.lease_grant();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (round, revoked) = (leader.rounds.current(), leader.tickets_revoked());
        let mut peers = leader.peers.iter_mut();
        let Some(peer) = peers.find(|peer| peer.fetch == Some(fetched.id)) else {
            return;
        };
        peer.fetch = None;
        let Some(entries) = fetched.entries else {
            return;
        };
        leader.dirty = true;
        let prev = peer.next.previous();
        let fits = entries
            .first()
            .is_some_and(|entry| entry.index == peer.next)
            && entries
                .last()
                .is_some_and(|entry| entry.index <= self.log.last_index());
        let (true, Some(prev_term)) = (fits && peer.may_send(&self.config), self.log.term_at(prev))
        else {
            return;
        };
        for entry in &entries {
            assert_eq!(
                self.log.term_at(entry.index),
                Some(entry.term),
                "storage returns the entries it was given"
            );
        }
        let entries = Entries::from(entries);
        let mut sender = Sender {
            config: &self.config,
            log: &mut self.log,
            outbox: &mut self.outbox,
            fetches: &mut self.fetches,
            snapshot_actions: &mut self.snapshot_actions,
            events: &mut self.events,
            term: self.hard_state.term,
            commit: self.commit,
            now: self.now,
            round,
            revoked,
            lease,
        };
        let bytes = entries.encoded_len();
        sender.append(peer, prev, prev_term, entries, bytes);
    }
}

impl Peer {
    /// Entries fitted. Says whether more of the log is matched.
    fn on_accepted(
        &mut self,
        matched: LogIndex,
        received: LogIndex,
        round: Round,
        now: Instant,
        config: &Config,
    ) -> bool {
        let advanced = matched > self.matched;
        if advanced {
            self.matched = matched;
            self.next = self.next.max(matched.next());
        }
        let lost = round > self.sent_round && now.since(self.sent_at) >= config.heartbeat_interval;
        match &mut self.flow {
            Flow::Probe { .. } if received >= self.next.previous() => {
                self.replicate_after(received);
            }
            Flow::Probe { waiting } if *waiting && lost => self.probe_from(received.next()),
            Flow::Replicate(inflight) => {
                inflight.free_through(matched);
                // It answered a later heartbeat without having what was sent before.
                if lost && received < self.next.previous() && self.fetch.is_none() {
                    self.probe_from(received.next());
                }
            }
            Flow::Probe { .. } | Flow::Snapshot(_) => {}
        }
        advanced
    }

    /// The entry before those that were sent is missing or another one.
    fn on_rejected(
        &mut self,
        log: &Log,
        prev_index: LogIndex,
        hint_index: LogIndex,
        hint_term: Term,
    ) {
        let current = match self.flow {
            Flow::Probe { .. } => prev_index == self.next.previous(),
            Flow::Replicate(_) => prev_index < self.next,
            Flow::Snapshot(_) => false,
        };
        if !current || prev_index <= self.matched {
            return;
        }
        // Both sides skip terms that the other can't have there (paper, section 5.3).
        let agree = log.backtrack(hint_index, hint_term);
        let next = agree.map_or(hint_index, |(index, _)| index.next());
        self.probe_from(next.min(prev_index));
    }
}

/// All it takes to send to one follower.
struct Sender<'a> {
    config: &'a Config,
    log: &'a mut Log,
    outbox: &'a mut Outbox,
    fetches: &'a mut Fetches,
    snapshot_actions: &'a mut VecDeque<SnapshotAction>,
    events: &'a mut VecDeque<Event>,
    term: Term,
    commit: LogIndex,
    now: Instant,
    round: Round,
    revoked: u32,
    lease: LeaseGrant,
}

impl Sender<'_> {
    fn send(&mut self, peer: &mut Peer) {
        let last = self.log.last_index();
        while peer.may_send(self.config) && peer.fetch.is_none() {
            let prev = peer.next.previous();
            let Some(prev_term) = self.log.term_at(prev) else {
                self.start_snapshot(peer);
                break;
            };
            if peer.next > last {
                if matches!(peer.flow, Flow::Probe { .. }) {
                    self.append(peer, prev, prev_term, Entries::default(), 0);
                }
                break;
            }
            let cached_from = self.log.cached_from();
            if peer.next < cached_from {
                let bytes_max = self.config.append_bytes_max;
                let to = cached_from.previous();
                peer.fetch = Some(self.fetches.ask(peer.next, to, bytes_max));
                break;
            }
            let (entries, bytes) = self
                .log
                .slice(peer.next, last, self.config.append_bytes_max);
            self.append(peer, prev, prev_term, entries, bytes);
        }
        let news = matches!(peer.flow, Flow::Replicate(_))
            && peer.commit_told < self.commit.min(peer.matched);
        if peer.heartbeat_due || news {
            self.heartbeat(peer);
        }
    }

    fn append(
        &mut self,
        peer: &mut Peer,
        prev_index: LogIndex,
        prev_term: Term,
        entries: Entries,
        bytes: usize,
    ) {
        let last = prev_index.plus(entries.len() as u64);
        match &mut peer.flow {
            Flow::Probe { waiting } => *waiting = true,
            Flow::Replicate(inflight) => {
                inflight.add(last, bytes);
                peer.next = last.next();
            }
            Flow::Snapshot(_) => unreachable!("a follower that gets a snapshot gets no entries"),
        }
        peer.sent_at = self.now;
        peer.sent_round = self.round;
        peer.commit_told = peer.commit_told.max(self.commit.min(last));
        self.transmit(peer, prev_index, prev_term, entries);
    }

    /// Says "I lead, and this is committed", and claims only what certainly matches.
    fn heartbeat(&mut self, peer: &mut Peer) {
        peer.heartbeat_due = false;
        peer.commit_told = peer.commit_told.max(self.commit.min(peer.matched));
        let (prev_index, prev_term) = self
            .log
            .term_at(peer.matched)
            .map_or((LogIndex::ZERO, Term::ZERO), |term| (peer.matched, term));
        self.transmit(peer, prev_index, prev_term, Entries::default());
    }

    fn transmit(&mut self, peer: &Peer, prev_index: LogIndex, prev_term: Term, entries: Entries) {
        let message = AppendEntries {
            term: self.term,
            session: peer.session,
            prev_index,
            prev_term,
            commit: self.commit,
            round: self.round,
            revoked: self.revoked,
            lease: self.lease,
            entries,
        };
        self.outbox.send(peer.id, message);
    }

    fn start_snapshot(&mut self, peer: &mut Peer) {
        let sending = Sending {
            reading: true,
            since: self.now,
            ..Sending::default()
        };
        peer.flow = Flow::Snapshot(sending);
        self.events
            .push_back(Event::SnapshotStarted { to: peer.id });
        self.snapshot_actions.push_back(SnapshotAction::ReadChunk {
            to: peer.id,
            snapshot: None,
            offset: 0,
            bytes_max: self.config.snapshot_chunk_bytes,
        });
    }
}
