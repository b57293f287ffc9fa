//! One Raft group of a node: its core, and everybody who waits for something of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use kv_core::{Batch, Reply, begin_payload};
use raft::{Committed, Entry, MembershipError, Payload, ProposeError, Raft, ReadToken};
use stdx::{GroupId, Instant, LogIndex, NodeId, Term};
use tokio::sync::oneshot;

use crate::node::clock;
use crate::node::error::{AdminError, ExecuteError, ReadError};
use crate::node::handle::Shared;
use crate::node::inbox::{Admin, GATHERED_BYTES_MAX, Reader};
use crate::node::submission::{Responder, Submission};

/// Applied bytes between two marks of [`Group::marks`].
const MARK_BYTES: u64 = 1 << 20;

/// The least time between two proposals of a tick.
const TICK_PAUSE: core::time::Duration = core::time::Duration::from_millis(5);

/// How long an entry waits for those who were just answered and are likely to ask again.
const RETURN_WAIT: core::time::Duration = core::time::Duration::from_micros(200);

/// Submissions that wait until the entry before theirs is applied.
#[derive(Default)]
struct Held {
    submissions: Vec<Submission>,
    bytes: usize,
    /// When the first of them has waited long enough.
    due: Option<Instant>,
}

/// An entry of this node that isn't applied yet.
struct Proposal {
    index: LogIndex,
    term: Term,
    deadline: Instant,
    /// Who waits for how many of the entry's replies, in order.
    parts: Vec<(Responder, usize)>,
}

/// An operator's change under way.
struct Change {
    index: LogIndex,
    answer: oneshot::Sender<Result<(), AdminError>>,
}

/// One group.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) raft: Raft,
    shared: Arc<Shared>,
    /// By index.
    proposals: VecDeque<Proposal>,
    held: Held,
    /// So many submissions are expected until then.
    expected: Option<(usize, Instant)>,
    /// Submissions answered since it was last looked at.
    answered: usize,
    reads: BTreeMap<u64, Vec<oneshot::Sender<Result<(), ReadError>>>>,
    last_token: u64,
    changes: Vec<Change>,
    transfer: Option<oneshot::Sender<Result<NodeId, AdminError>>>,
    /// A hand-over is under way: nothing is proposed.
    pub(crate) transferring: bool,
    /// The earliest expiry of any key, in ms of the wall clock.
    expiry: Option<u64>,
    /// A tick that isn't applied yet.
    tick: Option<LogIndex>,
    tick_not_before: Instant,
    /// Bytes of all entries applied since the start.
    pub(crate) applied_bytes: u64,
    /// Applied indexes and the bytes applied until then, every MiB: for cutting the log.
    marks: VecDeque<(LogIndex, u64)>,
    payload: BytesMut,
}

impl Group {
    pub(crate) fn new(id: GroupId, raft: Raft, shared: Arc<Shared>) -> Self {
        let applied = raft.applied();
        Self {
            id,
            raft,
            expiry: shared.engine.next_deadline(),
            shared,
            proposals: VecDeque::new(),
            held: Held::default(),
            expected: None,
            answered: 0,
            reads: BTreeMap::new(),
            last_token: 0,
            changes: Vec::new(),
            transfer: None,
            transferring: false,
            tick: None,
            tick_not_before: Instant::EPOCH,
            applied_bytes: 0,
            marks: VecDeque::from([(applied, 0)]),
            payload: BytesMut::new(),
        }
    }

    fn is_leader(&self) -> bool {
        self.raft.role() == raft::RoleKind::Leader
    }

    /// Takes submissions, and packs those that may go into as few entries as the limits allow.
    pub(crate) fn propose(&mut self, now: Instant, submissions: impl Iterator<Item = Submission>) {
        for submission in submissions {
            self.held.bytes += submission.batch.bytes().len();
            self.held.submissions.push(submission);
        }
        self.release(now);
    }

    /// Proposes what is held back, unless it should wait; tells whether it did something.
    ///
    /// An entry costs every node a dozen wake-ups and an fsync, whatever its size. So while one is
    /// on its way, the submissions that arrive gather, and go when it is applied: its clients
    /// are then about to ask again, too. They never wait longer than [`Config::entry_delay`],
    /// which bounds what this costs where the other nodes are far away.
    ///
    /// [`Config::entry_delay`]: crate::config::Config::entry_delay
    pub(crate) fn release(&mut self, now: Instant) -> bool {
        self.expected = self.expected.filter(|(_, until)| now < *until);
        if self.held.submissions.is_empty() {
            return false;
        }
        let refuse = !self.is_leader() || self.transferring;
        if self.enough(now) > 0 && self.held.bytes < GATHERED_BYTES_MAX {
            let delay = self.shared.config.entry_delay;
            if now < *self.held.due.get_or_insert_with(|| now.after(delay)) {
                return false;
            }
        }
        self.expected = None;
        let held = core::mem::take(&mut self.held);
        if refuse {
            let leader = self.other_leader();
            for Submission {
                batch, responder, ..
            } in held.submissions
            {
                responder.not_leader(ExecuteError::NoLeader { leader }, batch);
            }
        } else {
            self.pack(now, held.submissions);
        }
        true
    }

    /// How many more submissions are worth an entry now.
    pub(crate) fn enough(&self, now: Instant) -> usize {
        if !self.is_leader() || self.transferring {
            0
        } else if !self.proposals.is_empty() {
            usize::MAX
        } else {
            let (count, _) = self
                .expected
                .filter(|(_, until)| now < *until)
                .unwrap_or_default();
            count.saturating_sub(self.held.submissions.len())
        }
    }

    fn pack(&mut self, now: Instant, submissions: Vec<Submission>) {
        let mut waiting: Vec<(Responder, Batch)> = Vec::with_capacity(submissions.len());
        let mut bytes = 0;
        let target = self.shared.config.entry_target.as_usize();
        for Submission {
            batch, responder, ..
        } in submissions
        {
            if bytes > 0 && bytes + batch.bytes().len() > target {
                self.propose_entry(now, &mut waiting, bytes);
                bytes = 0;
            }
            bytes += batch.bytes().len();
            waiting.push((responder, batch));
        }
        if !waiting.is_empty() {
            self.propose_entry(now, &mut waiting, bytes);
        }
    }

    /// The leader, if it is another node.
    fn other_leader(&self) -> Option<NodeId> {
        self.raft
            .leader()
            .filter(|leader| *leader != self.raft.id())
    }

    fn begin_payload(&mut self, bytes: usize) {
        self.payload
            .reserve(bytes + kv_core::batch::PAYLOAD_HEADER_BYTES);
        begin_payload(&mut self.payload, clock::wall_ms());
    }

    fn propose_entry(&mut self, now: Instant, waiting: &mut Vec<(Responder, Batch)>, bytes: usize) {
        self.begin_payload(bytes);
        for (_, batch) in waiting.iter() {
            self.payload.extend_from_slice(batch.bytes());
        }
        let payload = self.payload.split().freeze();
        match self.raft.propose(now, payload) {
            Ok(proposed) => {
                let metrics = &self.shared.metrics;
                let commands: usize = waiting.iter().map(|(_, batch)| batch.len()).sum();
                metrics.entries.increment(1);
                metrics.commands.increment(commands as u64);
                metrics.entry_submissions.record(float(waiting.len()));
                metrics.entry_bytes.record(float(bytes));
                let parts = waiting
                    .drain(..)
                    .map(|(responder, batch)| (responder, batch.len()));
                self.forget_from(proposed.index);
                self.proposals.push_back(Proposal {
                    index: proposed.index,
                    term: proposed.term,
                    deadline: now.after(self.shared.config.execute_timeout),
                    parts: parts.collect(),
                });
            }
            Err(error) => self.refuse(error, waiting),
        }
    }

    /// Entries of an earlier reign at or behind `index` are no longer in this node's log; another
    /// node may still bring them back.
    fn forget_from(&mut self, index: LogIndex) {
        while self
            .proposals
            .back()
            .is_some_and(|last| last.index >= index)
        {
            if let Some(replaced) = self.proposals.pop_back() {
                replaced.answer_all(ExecuteError::Unknown);
            }
        }
    }

    fn refuse(&self, error: ProposeError, waiting: &mut Vec<(Responder, Batch)>) {
        for (responder, batch) in waiting.drain(..) {
            match error {
                ProposeError::NotLeader { .. } | ProposeError::Transferring { .. } => {
                    let leader = self.other_leader();
                    responder.not_leader(ExecuteError::NoLeader { leader }, batch);
                }
                ProposeError::TooLarge { bytes, bytes_max } => {
                    responder.answer(Err(ExecuteError::TooLarge { bytes, bytes_max }));
                }
                // Both are over in a while, and nothing happened.
                ProposeError::Overloaded { .. } | ProposeError::LeaseWait => {
                    responder.answer(Err(ExecuteError::Overloaded));
                }
            }
        }
    }

    /// Applies committed entries and answers who waits for them.
    pub(crate) fn apply(&mut self, committed: Committed) -> Result<(), engine::EngineError> {
        let began = std::time::Instant::now();
        let mut last = LogIndex::ZERO;
        let count = committed.entries.len();
        for entry in committed.entries {
            last = entry.index;
            self.applied_bytes += entry.encoded_len() as u64;
            self.apply_entry(&entry)?;
        }
        self.raft.on_applied(last);
        self.expect_return();
        if self
            .marks
            .back()
            .is_none_or(|(_, bytes)| self.applied_bytes - bytes >= MARK_BYTES)
        {
            self.marks.push_back((last, self.applied_bytes));
        }
        self.expiry = self.shared.engine.next_deadline();
        let metrics = &self.shared.metrics;
        metrics.applied.increment(count as u64);
        metrics.apply_seconds.record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Clients who wait for each answer before they ask again come back all at once.
    fn expect_return(&mut self) {
        let answered = core::mem::take(&mut self.answered);
        if answered > 1 && self.proposals.is_empty() {
            let until = clock::now().after(RETURN_WAIT);
            self.expected = Some((answered + self.held.submissions.len(), until));
        }
    }

    fn apply_entry(&mut self, entry: &Entry) -> Result<(), engine::EngineError> {
        let payload: &[u8] = match &entry.payload {
            Payload::Data(data) => data,
            Payload::Noop | Payload::Membership(_) => &[],
        };
        let engine = &self.shared.engine;
        // Whatever stood before it and wasn't applied one by one came with a snapshot.
        while self
            .proposals
            .front()
            .is_some_and(|proposal| proposal.index < entry.index)
        {
            if let Some(proposal) = self.proposals.pop_front() {
                proposal.answer_all(ExecuteError::Unknown);
            }
        }
        let Some(proposal) = self
            .proposals
            .pop_front_if(|front| front.index == entry.index)
        else {
            return engine.apply(entry.index, entry.term, payload, None);
        };
        if proposal.term != entry.term {
            engine.apply(entry.index, entry.term, payload, None)?;
            // Another entry was committed here, so the proposed one never can be.
            proposal.answer_all(ExecuteError::NoLeader {
                leader: self.other_leader(),
            });
            return Ok(());
        }
        let count = proposal.parts.iter().map(|(_, count)| count).sum();
        let mut replies = Vec::with_capacity(count);
        engine.apply(entry.index, entry.term, payload, Some(&mut replies))?;
        assert_eq!(replies.len(), count, "the engine answers every command");
        self.answered += proposal.parts.len();
        proposal.answer(replies);
        Ok(())
    }

    /// Proposes a tick if a key's time has come and nothing else carries the time on.
    pub(crate) fn propose_tick(&mut self, now: Instant) {
        let ticking = self.tick.is_some_and(|index| self.raft.applied() < index);
        let due = self.expiry.is_some_and(|expiry| expiry <= clock::wall_ms());
        if !due || ticking || !self.is_leader() || self.transferring || now < self.tick_not_before {
            return;
        }
        self.begin_payload(0);
        let payload = self.payload.split().freeze();
        self.tick_not_before = now.after(TICK_PAUSE);
        // A refusal is fine: expiry waits until something else is proposed, or the next look.
        self.tick = self
            .raft
            .propose(now, payload)
            .ok()
            .map(|proposed| proposed.index);
    }

    /// When [`Self::propose_tick`] wants to be called.
    pub(crate) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let expiry = self
            .expiry
            .filter(|_| self.is_leader() && !self.transferring)?;
        if self.tick.is_some_and(|index| self.raft.applied() < index) {
            return None;
        }
        let wait = expiry.saturating_sub(clock::wall_ms());
        let due = now.after(core::time::Duration::from_millis(wait));
        Some(due.max(self.tick_not_before))
    }

    /// Gives up on proposals whose time is over.
    pub(crate) fn expire_proposals(&mut self, now: Instant) {
        while let Some(late) = self.proposals.pop_front_if(|front| front.deadline <= now) {
            late.answer_all(ExecuteError::Unknown);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let proposal = self.proposals.front().map(|proposal| proposal.deadline);
        let returned = self.expected.map(|(_, until)| until);
        [proposal, self.held.due, returned]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn has_proposals(&self) -> bool {
        !self.proposals.is_empty() || !self.held.submissions.is_empty()
    }

    /// Confirms reads, all with one question to the quorum.
    pub(crate) fn read(&mut self, now: Instant, readers: impl Iterator<Item = Reader>) {
        let waiting: Vec<_> = readers.map(|reader| reader.answer).collect();
        if self.raft.readable_now(now) {
            return answer_reads(waiting, Ok(()));
        }
        self.last_token += 1;
        match self.raft.read_index(now, ReadToken(self.last_token)) {
            Ok(()) => {
                self.reads.insert(self.last_token, waiting);
            }
            Err(raft::ReadError::NoLeader) => {
                answer_reads(waiting, Err(ReadError::NoLeader { leader: None }));
            }
            Err(raft::ReadError::Overloaded { .. }) => {
                answer_reads(waiting, Err(ReadError::Overloaded));
            }
        }
    }

    /// The answer to [`Self::read`].
    pub(crate) fn finish_read(&mut self, token: ReadToken, result: Result<(), ReadError>) {
        if let Some(waiting) = self.reads.remove(&token.0) {
            answer_reads(waiting, result);
        }
    }

    /// Does what an operator asks for.
    pub(crate) fn administrate(&mut self, now: Instant, admin: Admin) {
        match admin {
            Admin::Change { change, answer } => match self.raft.propose_membership(now, &change) {
                Ok(proposed) => self.changes.push(Change {
                    index: proposed.index,
                    answer,
                }),
                Err(MembershipError::NotLeader { hint }) => {
                    send(
                        answer,
                        Err(AdminError::NotLeader {
                            leader: hint,
                            address: None,
                        }),
                    );
                }
                Err(error) => send(answer, Err(refused(&error))),
            },
            Admin::Transfer { to, answer } => match self.raft.transfer_leadership(now, to) {
                Ok(()) => {
                    self.transferring = true;
                    self.transfer = Some(answer);
                }
                Err(raft::TransferError::NotLeader { hint }) => {
                    send(
                        answer,
                        Err(AdminError::NotLeader {
                            leader: hint,
                            address: None,
                        }),
                    );
                }
                Err(error) => send(answer, Err(refused(&error))),
            },
        }
    }

    /// Members are committed and final: changes up to here are done.
    pub(crate) fn members_committed(&mut self, index: LogIndex) {
        for change in self.changes.extract_if(.., |change| change.index <= index) {
            send(change.answer, Ok(()));
        }
    }

    /// A hand-over ended at this node.
    pub(crate) fn transfer_ended(&mut self, outcome: raft::TransferOutcome) {
        let error = match outcome {
            // The answer is the next leader, which isn't known yet.
            raft::TransferOutcome::SteppedDown => {
                self.transferring = false;
                return;
            }
            raft::TransferOutcome::TimedOut => AdminError::Refused {
                reason: "the other node did not take over in time; this node leads on".into(),
            },
            raft::TransferOutcome::TargetRemoved => AdminError::Refused {
                reason: "the other node is no longer a voter".into(),
            },
        };
        self.transferring = false;
        if let Some(answer) = self.transfer.take() {
            send(answer, Err(error));
        }
    }

    /// Another leader is known, or none.
    pub(crate) fn leader_changed(&mut self, leader: Option<NodeId>) {
        if let Some(leader) = leader
            && !self.transferring
            && let Some(answer) = self.transfer.take()
        {
            send(answer, Ok(leader));
        }
    }

    /// This node no longer leads: what was asked of the leader is undecided.
    pub(crate) fn stepped_down(&mut self) {
        self.transferring = false;
        for change in self.changes.drain(..) {
            send(change.answer, Err(AdminError::Unknown));
        }
    }

    /// How far the log may be cut if the state machine is durable through `through`, so that
    /// followers that lag a little find what they need.
    pub(crate) fn compaction_point(&mut self, through: LogIndex) -> Option<LogIndex> {
        let keep = self.shared.config.log_keep.get();
        let mut point = None;
        while let Some((index, bytes)) = self.marks.front()
            && *index <= through
            && self.applied_bytes - bytes >= keep
        {
            point = Some(*index);
            self.marks.pop_front();
        }
        point
    }

    /// Everything before the snapshot is gone.
    pub(crate) fn installed(&mut self, index: LogIndex) {
        self.marks.clear();
        self.marks.push_back((index, self.applied_bytes));
        while let Some(proposal) = self.proposals.pop_front_if(|front| front.index <= index) {
            proposal.answer_all(ExecuteError::Unknown);
        }
        self.expiry = self.shared.engine.next_deadline();
    }

    /// The end: whoever still waits learns that the outcome is unknown.
    pub(crate) fn abandon(&mut self) {
        for proposal in self.proposals.drain(..) {
            proposal.answer_all(ExecuteError::Unknown);
        }
        for held in core::mem::take(&mut self.held).submissions {
            let error = ExecuteError::NoLeader { leader: None };
            held.responder.not_leader(error, held.batch);
        }
        for (_, waiting) in core::mem::take(&mut self.reads) {
            answer_reads(waiting, Err(ReadError::ShuttingDown));
        }
    }
}

impl Proposal {
    fn answer(mut self, replies: Vec<Reply>) {
        if self.parts.len() == 1
            && let Some((responder, _)) = self.parts.pop()
        {
            return responder.answer(Ok(replies));
        }
        let mut replies = replies.into_iter();
        for (responder, count) in self.parts {
            responder.answer(Ok(replies.by_ref().take(count).collect()));
        }
    }

    fn answer_all(self, error: ExecuteError) {
        for (responder, _) in self.parts {
            responder.answer(Err(error));
        }
    }
}

fn answer_reads(
    waiting: Vec<oneshot::Sender<Result<(), ReadError>>>,
    result: Result<(), ReadError>,
) {
    for answer in waiting {
        send(answer, result);
    }
}

/// Answers; whoever asked may have given up.
fn send<T>(answer: oneshot::Sender<T>, value: T) {
    drop(answer.send(value));
}

fn refused(error: &dyn core::error::Error) -> AdminError {
    AdminError::Refused {
        reason: error.to_string().into(),
    }
}

/// A count for a histogram.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
