//! Linearizable reads that don't write to the log.
//!
//! A read may be served from any state that contains everything acknowledged before it
//! began. The leader notes its commit index and makes sure that it still leads, by a round
//! of heartbeats that begins *after* the read arrived and that a quorum answers (thesis,
//! section 6.4), or by its lease. Everything that arrives between two polls shares one
//! round. A follower asks its leader for such an index and waits until it has applied it.
//!
//! Two conditions are easy to forget:
//! * A leader knows what is committed only once an entry of its own term is (trap 2).
//!   Reads wait for that.
//! * A leader that answers reads by its lease serves what it has *applied*. A follower that
//!   was told the commit index may have applied more, and shown it. So a lease counts only
//!   where everything committed is applied, too ([`Raft::read_floor`]).

use core::mem;
use std::collections::VecDeque;

use stdx::{Instant, LogIndex, NodeId, Prng};

use crate::config::Config;
use crate::error::ReadError;
use crate::event::{Event, ReadFailure, ReadToken};
use crate::limits::{FORWARDED_BATCHES_MAX, READS_PENDING_MAX};
use crate::message::{ReadIndex, ReadIndexReply, Round};
use crate::planted::planted;
use crate::raft::{Raft, Role};
use crate::replication::Leader;

/// Rounds for reads that a leader has under way at once; heartbeats come on top.
const READ_ROUNDS_MAX: usize = 8;

/// Who waits for a read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    /// This node's owner.
    Local(ReadToken),
    /// Another node's batch.
    Remote { node: NodeId, batch: u64 },
}

/// Reads at a leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaderReads {
    /// They wait for the next round.
    forming: Vec<Reader>,
    /// They wait for a quorum to answer theirs, oldest first.
    asked: VecDeque<Asked>,
    asked_count: usize,
}

#[derive(Clone, Debug)]
struct Asked {
    round: Round,
    index: LogIndex,
    readers: Vec<Reader>,
}

/// Reads that any node has.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    /// Confirmed: they wait until this node has applied their index.
    // Invariant: indexes never fall, except between leaders, which costs only waiting.
    confirmed: VecDeque<(LogIndex, ReadToken)>,
    /// At a follower: to be forwarded with the next poll.
    forming: Vec<ReadToken>,
    /// Forwarded, oldest first.
    forwarded: VecDeque<Forwarded>,
    next_batch: u64,
}

#[derive(Clone, Debug)]
struct Forwarded {
    batch: u64,
    tokens: Vec<ReadToken>,
    deadline: Instant,
}

impl Readers {
    pub(crate) fn new(prng: &mut Prng) -> Self {
        Self {
            confirmed: VecDeque::new(),
            forming: Vec::new(),
            forwarded: VecDeque::new(),
            // An answer to a question of a former life must not fit one of this.
            next_batch: prng.next_u64() >> 1,
        }
    }

    pub(crate) fn forwarded_deadline(&self) -> Option<Instant> {
        self.forwarded.front().map(|forwarded| forwarded.deadline)
    }

    fn count(&self) -> usize {
        let forwarded: usize = self.forwarded.iter().map(|batch| batch.tokens.len()).sum();
        self.confirmed.len() + self.forming.len() + forwarded
    }
}

impl Raft {
    /// Asks for a linearizable read; on a follower the leader is asked. The answer is
    /// [`Event::ReadReady`] or [`Event::ReadFailed`].
    ///
    /// # Errors
    ///
    /// When no answer can be expected.
    pub fn read_index(&mut self, now: Instant, token: ReadToken) -> Result<(), ReadError> {
        self.now = self.now.max(now);
        let Some(leader) = self.leader() else {
            return Err(ReadError::NoLeader);
        };
        let count = self.readers.count() + self.leader_reads_count();
        if count >= READS_PENDING_MAX {
            return Err(ReadError::Overloaded { count });
        }
        if leader == self.id {
            self.read_as_leader(Reader::Local(token));
        } else {
            self.readers.forming.push(token);
        }
        Ok(())
    }

    /// The index that must be applied before a leader's lease counts for reads: everything
    /// it has committed, since followers told of it may have shown it to somebody already.
    /// `None` unless this node leads and its term's first entry is committed.
    #[must_use]
    pub fn read_floor(&self) -> Option<LogIndex> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        if planted!(self.config, ReadBeforeNoop) {
            return Some(LogIndex::ZERO);
        }
        (self.commit >= leader.term_start).then_some(self.commit)
    }

    fn leader_reads_count(&self) -> usize {
        match &self.role {
            Role::Leader(leader) => leader.reads.forming.len() + leader.reads.asked_count,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => 0,
        }
    }

    /// Whether this leader may answer at once.
    fn leads_for_sure(&self) -> bool {
        let alone = self.lease_until().is_some_and(|until| self.now < until);
        self.read_floor().is_some() && (alone || planted!(self.config, ReadWithoutRound))
    }

    fn read_as_leader(&mut self, reader: Reader) {
        if self.leads_for_sure() {
            self.confirm(self.commit, reader);
            return;
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.forming.push(reader);
            leader.dirty = true;
        }
    }

    pub(crate) fn on_read_index(&mut self, from: NodeId, request: ReadIndex) {
        let full = self.leader_reads_count() + self.readers.count() >= READS_PENDING_MAX;
        if !self.is_leader() || full {
            self.reply_to_reader(from, request.batch, None);
            return;
        }
        self.read_as_leader(Reader::Remote {
            node: from,
            batch: request.batch,
        });
    }

    pub(crate) fn on_read_index_reply(&mut self, reply: ReadIndexReply) {
        let mut batches = self.readers.forwarded.iter();
        let Some(at) = batches.position(|forwarded| forwarded.batch == reply.batch) else {
            return;
        };
        let forwarded = self
            .readers
            .forwarded
            .remove(at)
            .expect("it was just found");
        for token in forwarded.tokens {
            match reply.index {
                Some(index) => self.confirm(index, Reader::Local(token)),
                None => self.fail_read(token, ReadFailure::LeaderChanged),
            }
        }
    }

    /// Answers what a quorum has confirmed.
    pub(crate) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.reads.asked.is_empty() {
            return;
        }
        let round = leader.quorum(&self.config, u64::MAX, |peer| peer.acked_round.0);
        while let Role::Leader(leader) = &mut self.role
            && leader
                .reads
                .asked
                .front()
                .is_some_and(|asked| asked.round.0 <= round)
        {
            let asked = leader
                .reads
                .asked
                .pop_front()
                .expect("the front was just looked at");
            leader.reads.asked_count -= asked.readers.len();
            for reader in asked.readers {
                self.confirm(asked.index, reader);
            }
        }
    }

    /// The read may be served from `index` on, wherever that is applied.
    fn confirm(&mut self, index: LogIndex, reader: Reader) {
        match reader {
            Reader::Remote { node, batch } => self.reply_to_reader(node, batch, Some(index)),
            Reader::Local(token) if self.applied >= index => {
                self.emit(Event::ReadReady { token, index });
            }
            Reader::Local(token) => self.readers.confirmed.push_back((index, token)),
        }
    }

    /// More is applied: some reads may be served.
    pub(crate) fn answer_applied_reads(&mut self) {
        while let Some(&(index, token)) = self.readers.confirmed.front()
            && index <= self.applied
        {
            self.readers.confirmed.pop_front();
            self.emit(Event::ReadReady { token, index });
        }
    }

    fn reply_to_reader(&mut self, to: NodeId, batch: u64, index: Option<LogIndex>) {
        let term = self.hard_state.term;
        self.outbox.send(to, ReadIndexReply { term, batch, index });
    }

    fn fail_read(&mut self, token: ReadToken, reason: ReadFailure) {
        self.emit(Event::ReadFailed { token, reason });
    }

    /// Nothing a former leader was asked can be answered by it any more.
    pub(crate) fn fail_leader_reads(&mut self, reads: LeaderReads) {
        let asked = reads.asked.into_iter().flat_map(|asked| asked.readers);
        for reader in asked.chain(reads.forming) {
            match reader {
                Reader::Local(token) => self.fail_read(token, ReadFailure::LeaderChanged),
                Reader::Remote { node, batch } => self.reply_to_reader(node, batch, None),
            }
        }
    }

    /// The leader that was asked may never answer.
    pub(crate) fn fail_forwarded_reads(&mut self) {
        let forwarded = mem::take(&mut self.readers.forwarded);
        let tokens = forwarded.into_iter().flat_map(|forwarded| forwarded.tokens);
        let forming = mem::take(&mut self.readers.forming);
        for token in tokens.chain(forming) {
            self.fail_read(token, ReadFailure::LeaderChanged);
        }
    }

    pub(crate) fn expire_forwarded_reads(&mut self) {
        while self
            .readers
            .forwarded_deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            let forwarded = self
                .readers
                .forwarded
                .pop_front()
                .expect("it has a deadline");
            for token in forwarded.tokens {
                self.fail_read(token, ReadFailure::TimedOut);
            }
        }
    }

    /// Sends what has gathered to the leader, in one question.
    pub(crate) fn forward_reads(&mut self) {
        let full = self.readers.forwarded.len() >= FORWARDED_BATCHES_MAX;
        let (false, false, Some(to)) = (self.readers.forming.is_empty(), full, self.leader())
        else {
            return;
        };
        let tokens = mem::take(&mut self.readers.forming);
        let batch = self.readers.next_batch;
        self.readers.next_batch += 1;
        let deadline = self.now.after(self.config.election_timeout_min);
        self.readers.forwarded.push_back(Forwarded {
            batch,
            tokens,
            deadline,
        });
        self.outbox.send(
            to,
            ReadIndex {
                term: self.hard_state.term,
                batch,
            },
        );
    }
}

impl Leader {
    /// Gives the reads that have gathered a round of their own.
    pub(crate) fn start_read_round(&mut self, now: Instant, commit: LogIndex, config: &Config) {
        let known = commit >= self.term_start || planted!(config, ReadBeforeNoop);
        if self.reads.forming.is_empty() || !known || self.reads.asked.len() >= READ_ROUNDS_MAX {
            return;
        }
        let readers = mem::take(&mut self.reads.forming);
        let round = self.rounds.start_next(now);
        self.reads.asked_count += readers.len();
        self.reads.asked.push_back(Asked {
            round,
            index: commit,
            readers,
        });
        for peer in &mut self.peers {
            peer.heartbeat_due = true;
        }
    }
}
