//! The follower's side: taking entries from the leader, and saying so.
//!
//! An append fits if the entry before it is here (paper, section 5.3). Then, and only
//! then, entries that contradict it go. Everything that was ever verified against this
//! term's leader is remembered as one index, and the commit index never passes it: what
//! the leader has committed says nothing about entries that weren't compared (trap 1).
//!
//! Acceptance is a promise and waits for the disk, except for what is on disk already. A
//! heartbeat is therefore answered at once even while the disk is busy.

use std::sync::Arc;

use stdx::{LogIndex, NodeId, Term};

use crate::entry::Payload;
use crate::event::{Event, Misbehaviour, RoleReason};
use crate::message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, LeaseGrant, Round, Session,
};
use crate::persist::{Refusal, WriteNumber};
use crate::planted::planted;
use crate::raft::{Raft, Role};

/// What an append turned out to be.
enum Fit {
    /// It fits, and everything in it is in the log now.
    Through(LogIndex),
    /// The entry before it is missing or another one: look here.
    Not {
        hint_index: LogIndex,
        hint_term: Term,
    },
    /// No correct leader sends this.
    Nonsense(Misbehaviour),
}

impl Raft {
    pub(crate) fn on_append_entries(&mut self, from: NodeId, append: &AppendEntries) {
        let (session, round, prev_index) = (append.session, append.round, append.prev_index);
        if !self.hear_leader(from, append.term, append.revoked, append.lease) {
            if append.term < self.hard_state.term {
                // Teaches the old leader the new term (trap 9b).
                self.reject(from, session, round, prev_index, LogIndex::ZERO, Term::ZERO);
            }
            return;
        }
        let (commit, empty) = (append.commit, append.entries.is_empty());
        match self.fit(append) {
            Fit::Through(through) => self.accept(from, session, round, through, commit, empty),
            Fit::Not {
                hint_index,
                hint_term,
            } => {
                self.reject(from, session, round, prev_index, hint_index, hint_term);
            }
            Fit::Nonsense(what) => self.misbehaved(from, what),
        }
    }

    /// A message of a leader: follows it, and promises to keep still. Says whether it is
    /// this term's leader.
    pub(crate) fn hear_leader(
        &mut self,
        from: NodeId,
        term: Term,
        revoked: u32,
        lease: LeaseGrant,
    ) -> bool {
        if term < self.hard_state.term {
            return false;
        }
        if self.is_leader() {
            self.misbehaved(from, Misbehaviour::SecondLeader);
            return false;
        }
        if !matches!(self.role, Role::Follower(_)) {
            self.become_follower(term, Some(from), RoleReason::LeaderFound);
        }
        let (deadline, span, commit) = (self.election_deadline(), self.promise_span(), self.commit);
        let Role::Follower(follower) = &mut self.role else {
            unreachable!("whoever isn't leader follows by now");
        };
        if follower.leader.is_some_and(|leader| leader != from) {
            self.misbehaved(from, Misbehaviour::SecondLeader);
            return false;
        }
        follower.deadline = deadline;
        if follower.leader.is_none() {
            follower.leader = Some(from);
            follower.verified = commit;
            follower.answered = Round(0);
            self.emit(Event::LeaderChanged {
                leader: Some(from),
                term,
            });
        }
        self.promise.renew(self.now, span, term, revoked);
        self.note_grant(term, lease);
        true
    }

    /// Compares an append with the log, and appends what is new.
    fn fit(&mut self, append: &AppendEntries) -> Fit {
        let base = self.log.base().index;
        let prev = append.prev_index;
        let checked = prev < base || self.log.matches(prev, append.prev_term);
        if !checked {
            if planted!(self.config, NoPrevCheck) && prev == self.log.last_index() {
                return self.take(append);
            }
            let end = prev.min(self.log.last_index());
            let hint = self.log.backtrack(end, append.prev_term);
            let (hint_index, hint_term) = hint.unwrap_or_else(|| (base, self.log.base().term));
            return Fit::Not {
                hint_index,
                hint_term,
            };
        }
        let mut index = prev;
        let mut term = append.prev_term;
        for entry in append.entries.iter() {
            index = index.next();
            if entry.index != index || entry.term < term || entry.term > append.term {
                return Fit::Nonsense(Misbehaviour::EntriesOutOfOrder);
            }
            term = entry.term;
        }
        self.take(append)
    }

    fn take(&mut self, append: &AppendEntries) -> Fit {
        let through = append.prev_index.plus(append.entries.len() as u64);
        let base = self.log.base().index;
        let mut known = 0;
        for entry in append.entries.iter() {
            if entry.index > self.log.last_index() {
                break;
            }
            if entry.index >= base && self.log.term_at(entry.index) != Some(entry.term) {
                if entry.index <= self.commit {
                    return Fit::Nonsense(Misbehaviour::ContradictsCommitted);
                }
                if !planted!(self.config, ConflictKept) {
                    self.truncate_from(entry.index);
                    break;
                }
            }
            known += 1;
        }
        let new = append.entries.part(known, append.entries.len() - known);
        if !new.is_empty() {
            self.note_appended(append.lease.appended_by);
        }
        self.log.append_batch(new.clone());
        for entry in &new {
            if let Payload::Membership(membership) = &entry.payload {
                self.adopt_membership(entry.index, Arc::clone(membership));
            }
        }
        Fit::Through(through)
    }

    /// Drops entries that the leader doesn't have. They can't be committed.
    fn truncate_from(&mut self, from: LogIndex) {
        assert!(from > self.commit, "what is committed stays");
        self.log.truncate_from(from);
        self.persister
            .truncated(from, planted!(self.config, StaleCompletion));
        self.emit(Event::Truncated { from });
        if self.memberships.truncate_from(from) {
            let (index, membership) = (
                self.memberships.index(),
                Arc::clone(self.memberships.current()),
            );
            self.emit(Event::MembershipChanged { index, membership });
        }
    }

    fn accept(
        &mut self,
        from: NodeId,
        session: Session,
        round: Round,
        through: LogIndex,
        commit: LogIndex,
        empty: bool,
    ) {
        let Role::Follower(follower) = &mut self.role else {
            unreachable!("only a follower accepts entries");
        };
        // A committed prefix is the same everywhere.
        follower.verified = follower.verified.max(through).max(self.commit);
        let verified = follower.verified.min(self.log.last_index());
        let answered = follower.answered;
        follower.answered = answered.max(round);
        let known = if planted!(self.config, HeartbeatCommitsUnmatched) {
            self.log.last_index()
        } else {
            verified
        };
        self.commit_to(commit.min(known));
        if empty && round <= answered {
            // News of the commit index; the round has its answer.
            return;
        }
        let durable = self.persister.durable().max(self.log.base().index);
        let matched = if empty {
            verified.min(durable)
        } else {
            through.min(verified)
        };
        let mut after = self.persister.after_entry(matched);
        if planted!(self.config, AckBeforeDurable) {
            after = WriteNumber::default();
        }
        let outcome = AppendOutcome::Accepted {
            matched,
            received: verified,
        };
        let reply = self.append_reply(session, round, outcome);
        self.outbox.promise(&self.persister, after, from, reply);
    }

    fn reject(
        &mut self,
        to: NodeId,
        session: Session,
        round: Round,
        prev_index: LogIndex,
        hint_index: LogIndex,
        hint_term: Term,
    ) {
        let outcome = AppendOutcome::Rejected {
            prev_index,
            hint_index,
            hint_term,
        };
        let reply = self.append_reply(session, round, outcome);
        self.outbox.send(to, Refusal::append(reply));
    }

    fn append_reply(
        &self,
        session: Session,
        round: Round,
        outcome: AppendOutcome,
    ) -> AppendEntriesReply {
        let promise = self.promise_span();
        AppendEntriesReply {
            term: self.hard_state.term,
            session,
            round,
            promise,
            outcome,
        }
    }
}
