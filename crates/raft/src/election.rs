//! How a group finds a leader, and doesn't lose one for nothing.
//!
//! A node that hears no leader for a randomly drawn time first asks around whether it
//! *would* be elected (pre-vote, thesis section 9.6): that changes nothing anywhere, so a
//! node that comes back from behind a partition can't depose a working leader with the
//! high term it counted up to. Only with a majority of would-be votes it starts a term and
//! asks for real ones. The other half of the bargain is check-quorum: a leader that hears
//! no quorum steps down, because its followers will rightly ignore everybody else for as
//! long as they hear it (traps 9, 10, 22).
//!
//! A node votes for any candidate whose log is good enough, whether or not its own idea of
//! the members contains that candidate or itself: it may simply not know yet (trap 5).

use stdx::{Instant, LogIndex, NodeId, Term};

use crate::event::{Event, RoleReason};
use crate::message::{
    LeaseClaim, RequestPreVote, RequestPreVoteReply, RequestVote, RequestVoteReply, Round,
    TransferTicket,
};
use crate::persist::{Refusal, WriteNumber};
use crate::planted::planted;
use crate::quorum::{Tally, tally};
use crate::raft::{Raft, Role};
use crate::replication::Leader;

/// Takes entries from a leader, or waits for one.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) leader: Option<NodeId>,
    /// When to campaign.
    pub(crate) deadline: Instant,
    /// The log equals this term's leader's through here, in memory.
    pub(crate) verified: LogIndex,
    /// The newest round of this leader that was answered.
    pub(crate) answered: Round,
}

impl Follower {
    pub(crate) const fn new(deadline: Instant) -> Self {
        Self {
            leader: None,
            deadline,
            verified: LogIndex::ZERO,
            answered: Round(0),
        }
    }
}

/// Asks who would vote for it.
#[derive(Clone, Debug)]
pub(crate) struct PreCandidate {
    pub(crate) votes: Vec<(NodeId, bool)>,
    pub(crate) deadline: Instant,
}

/// Asks for votes.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) votes: Vec<(NodeId, bool)>,
    pub(crate) deadline: Instant,
    /// The write after which its vote for itself counts: a vote that a crash can undo is
    /// no vote.
    pub(crate) own_vote: WriteNumber,
    /// When the campaign began, and what it claimed then.
    pub(crate) began: Instant,
    pub(crate) claim: LeaseClaim,
    /// The latest end of an old lease that a voter told of.
    pub(crate) old_lease_until: Instant,
    /// The old leader's permission.
    pub(crate) ticket: Option<TransferTicket>,
}

impl Candidate {
    /// Whether the old leader's lease was given up for this campaign.
    pub(crate) fn void(&self) -> bool {
        self.ticket.is_some_and(|ticket| ticket.void)
    }
}

impl Raft {
    /// When the first campaign may begin.
    pub(crate) fn first_election_deadline(&mut self, fresh: bool) -> Instant {
        let voters = &self.memberships.current().voters;
        if self.is_only_voter() && (fresh || self.hard_state.vote == Some(self.id)) {
            // Nobody else to collide with, and nobody else was promised to be left alone:
            // whoever voted for itself in the newest term followed no other leader in it.
            return self.now;
        }
        if fresh && voters.contains(&self.id) {
            // No leader was ever elected here, so none needs to be waited for.
            let range = self.config.heartbeat_interval..self.config.election_timeout_min;
            return self.now.after(self.prng.duration(range));
        }
        self.election_deadline()
    }

    fn is_only_voter(&self) -> bool {
        let members = self.memberships.current();
        !members.is_joint() && members.voters.len() == 1 && members.voters.contains(&self.id)
    }

    pub(crate) fn election_deadline(&mut self) -> Instant {
        let range = self.config.election_timeout_min..self.config.election_timeout_max;
        self.now.after(self.prng.duration(range))
    }

    pub(crate) fn on_election_timeout(&mut self) {
        let (Role::Follower(Follower { deadline, .. })
        | Role::PreCandidate(PreCandidate { deadline, .. })
        | Role::Candidate(Candidate { deadline, .. })) = &self.role
        else {
            return;
        };
        if self.now < *deadline {
            return;
        }
        if self.may_campaign() {
            self.become_pre_candidate();
        } else {
            let later = self.election_deadline();
            if let Role::Follower(follower) = &mut self.role {
                follower.deadline = later;
                if follower.leader.take().is_some() {
                    self.leader_lost();
                }
            } else {
                self.become_follower(self.hard_state.term, None, RoleReason::ElectionTimeout);
            }
        }
    }

    /// Whether this node should try to lead: a voter with a working disk and a whole state.
    ///
    /// A node that took itself out still counts until that is committed: it may be the only
    /// one whose log is good enough to win, and so to finish it (thesis, section 4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        let members = &self.memberships;
        let leaving = members.index() > self.commit
            && members.at(members.index().previous()).is_voter(self.id);
        (members.current().is_voter(self.id) || leaving)
            && !self.disk_stalled
            && !self
                .receiving
                .as_ref()
                .is_some_and(|receiving| receiving.installing)
    }

    /// The only places that assign a role are this and the following three.
    pub(crate) fn become_follower(
        &mut self,
        term: Term,
        leader: Option<NodeId>,
        reason: RoleReason,
    ) {
        assert!(term >= self.hard_state.term, "terms never fall");
        self.enter_term(term, None);
        let deadline = self.election_deadline();
        let verified = if leader.is_some() {
            self.commit
        } else {
            LogIndex::ZERO
        };
        let follower = Follower {
            leader,
            deadline,
            verified,
            answered: Round(0),
        };
        self.set_role(Role::Follower(follower), reason);
    }

    fn become_pre_candidate(&mut self) {
        if self.is_only_voter() {
            self.become_candidate(None, RoleReason::ElectionTimeout);
            return;
        }
        let deadline = self.election_deadline();
        let votes = vec![(self.id, true)];
        self.set_role(
            Role::PreCandidate(PreCandidate { votes, deadline }),
            RoleReason::ElectionTimeout,
        );
        let request = RequestPreVote {
            term: self.hard_state.term.next(),
            last_index: self.log.last_index(),
            last_term: self.log.last_term(),
        };
        for to in self.other_voters() {
            self.outbox.send(to, request);
        }
        self.count_pre_votes();
    }

    pub(crate) fn become_candidate(
        &mut self,
        transfer: Option<TransferTicket>,
        reason: RoleReason,
    ) {
        self.enter_term(self.hard_state.term.next(), Some(self.id));
        let deadline = self.election_deadline();
        let own_vote = self.persister.after_hard_state();
        let lease = self.lease_claim(transfer.is_some_and(|ticket| ticket.void));
        let candidate = Candidate {
            votes: Vec::new(),
            deadline,
            own_vote,
            began: self.now,
            claim: lease,
            old_lease_until: Instant::EPOCH,
            ticket: transfer,
        };
        self.set_role(Role::Candidate(candidate), reason);
        let request = RequestVote {
            term: self.hard_state.term,
            last_index: self.log.last_index(),
            last_term: self.log.last_term(),
            transfer,
            lease,
        };
        for to in self.other_voters() {
            self.outbox.promise(&self.persister, own_vote, to, request);
        }
        if planted!(self.config, VoteBeforeDurable) {
            self.record_vote(self.id, true);
        }
    }

    fn become_leader(&mut self) {
        let Role::Candidate(candidate) = &self.role else {
            unreachable!("only a candidate becomes leader");
        };
        assert_eq!(
            self.hard_state.vote,
            Some(self.id),
            "a leader voted for itself"
        );
        let mut leader = Leader::new(self.now, self.log.last_index().next());
        let old_leases_end = self.old_leases_end(candidate);
        if old_leases_end > self.now {
            leader.commit_from = old_leases_end;
        }
        let anchor = if planted!(self.config, InheritedFromElection) {
            self.now
        } else {
            candidate.began
        };
        leader.inherit_until = self.inherited_until(anchor, candidate.claim);
        self.set_role(Role::Leader(Box::new(leader)), RoleReason::Elected);
        self.start_leading();
    }

    /// Moves to a term; in a new one, with this vote.
    fn enter_term(&mut self, term: Term, vote: Option<NodeId>) {
        if term == self.hard_state.term {
            return;
        }
        self.hard_state.term = term;
        self.hard_state.vote = vote;
        self.persister.hard_state_changed();
        self.emit(Event::TermChanged { term });
    }

    fn set_role(&mut self, role: Role, reason: RoleReason) {
        let (from, old_leader) = (self.role(), self.leader());
        let old = core::mem::replace(&mut self.role, role);
        if let Role::Leader(leader) = old {
            self.stop_leading(*leader);
        }
        let (to, term) = (self.role(), self.hard_state.term);
        if from != to {
            self.emit(Event::RoleChanged {
                from,
                to,
                term,
                reason,
            });
        }
        let leader = self.leader();
        if leader != old_leader {
            self.fail_forwarded_reads();
            self.emit(Event::LeaderChanged { leader, term });
        }
    }

    pub(crate) fn leader_lost(&mut self) {
        self.fail_forwarded_reads();
        let term = self.hard_state.term;
        self.emit(Event::LeaderChanged { leader: None, term });
    }

    fn other_voters(&self) -> Vec<NodeId> {
        let members = self.memberships.current();
        let mut voters: Vec<_> = members.voters.union(&members.outgoing).copied().collect();
        voters.retain(|&id| id != self.id);
        voters
    }

    /// Whether a candidate's log may lead: it has everything that is committed here.
    fn is_fit(&self, last_index: LogIndex, last_term: Term) -> bool {
        self.log.is_up_to_date(last_index, last_term) || planted!(self.config, VoteForStaleLog)
    }

    pub(crate) fn on_request_pre_vote(&mut self, from: NodeId, request: RequestPreVote) {
        let granted = request.term > self.hard_state.term
            && !self.refuses_votes(None)
            && self.is_fit(request.last_index, request.last_term);
        let term = if granted {
            request.term
        } else {
            self.hard_state.term
        };
        self.outbox
            .send(from, RequestPreVoteReply { term, granted });
    }

    pub(crate) fn on_request_pre_vote_reply(&mut self, from: NodeId, reply: RequestPreVoteReply) {
        if planted!(self.config, PreVoteElects) && reply.term == self.hard_state.term {
            self.record_vote(from, reply.granted);
        }
        let next = self.hard_state.term.next();
        let Role::PreCandidate(candidate) = &mut self.role else {
            return;
        };
        // A would-be vote for an earlier question says nothing about this one.
        if reply.granted && reply.term != next {
            return;
        }
        record(&mut candidate.votes, from, reply.granted);
        self.count_pre_votes();
    }

    fn count_pre_votes(&mut self) {
        let Role::PreCandidate(candidate) = &self.role else {
            return;
        };
        match self.tally(&candidate.votes) {
            Tally::Won => self.become_candidate(None, RoleReason::PreVoteWon),
            Tally::Lost => {
                self.become_follower(self.hard_state.term, None, RoleReason::Refused);
            }
            Tally::Open => {}
        }
    }

    pub(crate) fn on_request_vote(&mut self, from: NodeId, request: RequestVote) {
        let term = self.hard_state.term;
        let free = self.hard_state.vote.is_none_or(|vote| vote == from)
            || planted!(self.config, SecondVote);
        let fit = self.is_fit(request.last_index, request.last_term);
        let granted = request.term == term
            && free
            && fit
            && !self.is_leader()
            && !self.refuses_votes(request.transfer);
        if !granted {
            self.outbox.send(from, Refusal::vote(term));
            return;
        }
        if self.hard_state.vote != Some(from) {
            self.hard_state.vote = Some(from);
            self.persister.hard_state_changed();
        }
        if matches!(self.role, Role::PreCandidate(_)) {
            self.become_follower(term, None, RoleReason::Refused);
        }
        let deadline = self.election_deadline();
        if let Role::Follower(follower) = &mut self.role {
            follower.deadline = deadline;
        }
        let mut after = self.persister.after_hard_state();
        if planted!(self.config, VoteBeforeDurable) {
            after = WriteNumber::default();
        }
        let old_lease = self.vote_lease(term, request.lease, request.transfer);
        let reply = RequestVoteReply {
            term,
            granted,
            old_lease,
        };
        self.outbox.promise(&self.persister, after, from, reply);
    }

    pub(crate) fn on_request_vote_reply(&mut self, from: NodeId, reply: RequestVoteReply) {
        if reply.term == self.hard_state.term {
            self.hear_old_lease(from, reply.old_lease);
            self.record_vote(from, reply.granted);
        }
    }

    /// Counts a candidate's vote for itself once it is on disk.
    pub(crate) fn count_own_vote(&mut self) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        let counted = candidate.votes.iter().any(|&(id, _)| id == self.id);
        if !counted && self.persister.is_done(candidate.own_vote) {
            self.record_vote(self.id, true);
        }
    }

    fn record_vote(&mut self, from: NodeId, granted: bool) {
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        record(&mut candidate.votes, from, granted);
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        match self.tally(&candidate.votes) {
            Tally::Won => self.become_leader(),
            Tally::Lost => {
                self.become_follower(self.hard_state.term, None, RoleReason::Refused);
            }
            Tally::Open => {}
        }
    }

    fn tally(&self, votes: &[(NodeId, bool)]) -> Tally {
        let one_side = planted!(self.config, JointNeedsOneSide);
        tally(self.memberships.current(), votes, one_side)
    }
}

/// Keeps a node's first answer.
fn record(votes: &mut Vec<(NodeId, bool)>, from: NodeId, granted: bool) {
    if !votes.iter().any(|&(id, _)| id == from) {
        votes.push((from, granted));
    }
}
