//! One member of one group: inputs, outputs and views.

use std::sync::Arc;

use bytes::Bytes;
use stdx::{Instant, LogIndex, NodeId, Term};

use crate::config::{Config, Valid};
use crate::entry::{LogBase, Restored};
use crate::error::{MembershipError, ProposeError, ReadError, TransferError};
use crate::event::{Event, ReadToken, RoleKind};
use crate::fetch::{Committed, Fetch, Fetched};
use crate::membership::{Membership, MembershipChange};
use crate::message::{Envelope, Message, SnapshotId};
use crate::persist::{Durable, Persist};
use crate::progress::PeerProgress;
use crate::snapshot::{ChunkRead, SnapshotAction, SnapshotFailure};

/// Where a proposal stands in the log, if its term lasts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Proposed {
    /// The term it was appended in. An entry of another term at `index` means that it
    /// was lost.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
}

/// One member of one Raft group.
#[derive(Debug)]
pub struct Raft {
    config: Config,
    id: NodeId,
    restored: Restored,
}

impl Raft {
    /// Starts a node from what its storage kept. `seed` must differ from start to start.
    pub fn new(
        config: Valid<Config>,
        id: NodeId,
        restored: Restored,
        now: Instant,
        seed: u64,
    ) -> Self {
        let _ = (now, seed);
        Self {
            config: config.into_inner(),
            id,
            restored,
        }
    }

    /// A message of another member arrived.
    pub fn on_message(&mut self, now: Instant, from: NodeId, message: Message) {
        let _ = (now, from, message);
    }

    /// The moment of [`Self::poll_timeout`] has come; calls at other times do nothing.
    pub fn on_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// A disk write is done. Completions come in the order of the writes.
    pub fn on_persisted(&mut self, now: Instant, durable: Durable) {
        let _ = (now, durable);
    }

    /// The state machine has applied everything through `index`.
    pub fn on_applied(&mut self, index: LogIndex) {
        let _ = index;
    }

    /// The answer to a [`Fetch`].
    pub fn on_entries_fetched(&mut self, now: Instant, fetched: Fetched) {
        let _ = (now, fetched);
    }

    /// The answer to [`SnapshotAction::ReadChunk`].
    pub fn on_snapshot_chunk_read(&mut self, now: Instant, chunk: ChunkRead) {
        let _ = (now, chunk);
    }

    /// The answer to [`SnapshotAction::StoreChunk`]: `bytes` are held from the start.
    pub fn on_snapshot_chunk_stored(&mut self, now: Instant, snapshot: SnapshotId, bytes: u64) {
        let _ = (now, snapshot, bytes);
    }

    /// The answer to [`SnapshotAction::Install`]: the state machine stands at its base.
    pub fn on_snapshot_installed(&mut self, now: Instant, snapshot: SnapshotId) {
        let _ = (now, snapshot);
    }

    /// The driver couldn't do what a [`SnapshotAction`] asked for.
    pub fn on_snapshot_failed(&mut self, now: Instant, failure: SnapshotFailure) {
        let _ = (now, failure);
    }

    /// Appends bytes to the log, if this node leads.
    ///
    /// # Errors
    ///
    /// When it isn't taken, which means that it certainly never will be executed.
    pub fn propose(&mut self, now: Instant, data: Bytes) -> Result<Proposed, ProposeError> {
        let _ = (now, data);
        Err(ProposeError::NotLeader { hint: None })
    }

    /// Starts a change of members, if this node leads.
    ///
    /// # Errors
    ///
    /// When the change isn't allowed now, or never.
    pub fn propose_membership(
        &mut self,
        now: Instant,
        change: &MembershipChange,
    ) -> Result<Proposed, MembershipError> {
        let _ = (now, change);
        Err(MembershipError::NotLeader { hint: None })
    }

    /// Hands leadership over; `None` chooses the voter that lacks least.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub fn transfer_leadership(
        &mut self,
        now: Instant,
        to: Option<NodeId>,
    ) -> Result<(), TransferError> {
        let _ = (now, to);
        Err(TransferError::NotLeader { hint: None })
    }

    /// Asks for a linearizable read; on a follower the leader is asked. The answer is
    /// [`Event::ReadReady`] or [`Event::ReadFailed`].
    ///
    /// # Errors
    ///
    /// When no answer can be expected.
    pub fn read_index(&mut self, now: Instant, token: ReadToken) -> Result<(), ReadError> {
        let _ = (now, token);
        Err(ReadError::NoLeader)
    }

    /// Drops the log through `through`, which the state machine holds durably.
    /// Returns the log's new base, to be given to storage; `None` if nothing is gained.
    pub fn compact(&mut self, through: LogIndex) -> Option<LogBase> {
        let _ = through;
        None
    }

    /// What to write to disk next.
    pub fn poll_persist(&mut self) -> Option<Persist> {
        None
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Envelope> {
        None
    }

    /// What to apply next.
    pub fn poll_committed(&mut self) -> Option<Committed> {
        None
    }

    /// Which entries to read from disk next.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        None
    }

    /// What to do about snapshots next.
    pub fn poll_snapshot(&mut self) -> Option<SnapshotAction> {
        None
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When to call [`Self::on_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The newest term seen.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.restored.hard_state.term
    }

    /// Whom this node voted for in [`Self::term`].
    #[must_use]
    pub const fn vote(&self) -> Option<NodeId> {
        self.restored.hard_state.vote
    }

    /// The part this node plays.
    #[must_use]
    pub const fn role(&self) -> RoleKind {
        RoleKind::Follower
    }

    /// Who leads this term, as far as known; possibly this node.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        None
    }

    /// Where the log begins.
    #[must_use]
    pub const fn base(&self) -> &LogBase {
        &self.restored.base
    }

    /// The end of the log, in memory.
    #[must_use]
    pub const fn last_index(&self) -> LogIndex {
        self.restored.last_index
    }

    /// The term of the entry at an index, if it is in the log or its base.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        let _ = index;
        None
    }

    /// The end of the log on disk.
    #[must_use]
    pub const fn durable(&self) -> LogIndex {
        self.restored.last_index
    }

    /// What is known to be committed.
    #[must_use]
    pub const fn committed(&self) -> LogIndex {
        self.restored.committed
    }

    /// What the state machine has applied.
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.restored.applied
    }

    /// The members in effect.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        &self.restored.base.membership
    }

    /// The followers, if this node leads; else nothing.
    #[must_use]
    pub fn progress(&self) -> Vec<PeerProgress> {
        Vec::new()
    }

    /// Until when this leader may answer reads by itself; `None` without a lease.
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        None
    }

    /// Whether a linearizable read may be served at `now` from what is applied.
    #[must_use]
    pub fn readable_now(&self, now: Instant) -> bool {
        let _ = now;
        false
    }

    /// The index that must be applied before a leader's lease counts for reads.
    #[must_use]
    pub fn read_floor(&self) -> Option<LogIndex> {
        None
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Panics if this node's state contradicts itself; for tests and simulations.
    pub fn check_invariants(&self) {}
}
