//! What a node tells its owner: one typed event per noteworthy change.
//!
//! The core never logs. A driver turns these into log lines and metrics, answers
//! waiting clients from them, and a simulator hashes them into its trace.

use std::sync::Arc;

use stdx::{Instant, LogIndex, NodeId, Term};

use crate::membership::Membership;

/// A read that somebody waits for; chosen by the caller, unique while it waits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReadToken(pub u64);

/// The part a node plays at the moment.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RoleKind {
    /// Takes entries from a leader, or waits for one.
    Follower,
    /// Asks whether an election could be won, without disturbing anybody.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Orders the log.
    Leader,
}

/// Why a read can't be answered here and now. The read had no effect: try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadFailure {
    /// This node is no longer (or not yet) sure who leads.
    LeaderChanged,
    /// The leader didn't answer in time.
    TimedOut,
}

/// How a leadership transfer ended at the leader that started it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransferOutcome {
    /// Somebody else leads a newer term, or is about to.
    SteppedDown,
    /// The target didn't take over in time; this node leads on and accepts proposals.
    TimedOut,
    /// The target is no longer a voter.
    TargetRemoved,
}

/// Something the owner of a node may want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The node plays another part.
    RoleChanged {
        /// The part until now.
        from: RoleKind,
        /// The part from now on.
        to: RoleKind,
        /// The term it happened in.
        term: Term,
        /// What made it happen.
        reason: RoleReason,
    },
    /// Another node is believed to lead; `None` while nobody is known to.
    LeaderChanged {
        /// The leader, possibly this node.
        leader: Option<NodeId>,
        /// Its term.
        term: Term,
    },
    /// A newer term was seen or started.
    TermChanged {
        /// The new term.
        term: Term,
    },
    /// The read may be served from the state machine as it is now.
    ReadReady {
        /// The read.
        token: ReadToken,
        /// The index it linearizes after; applied here already.
        index: LogIndex,
    },
    /// The read can't be served; nothing happened.
    ReadFailed {
        /// The read.
        token: ReadToken,
        /// Why.
        reason: ReadFailure,
    },
    /// The leader's lease was gained (with its first end) or given up (`None`). One that is
    /// merely not renewed in time isn't reported: see [`crate::Raft::lease_until`].
    LeaseChanged {
        /// When it ends unless renewed.
        until: Option<Instant>,
    },
    /// Other members are in effect: an entry was appended, truncated or snapshotted.
    MembershipChanged {
        /// The entry (or base) that put them in effect.
        index: LogIndex,
        /// The members.
        membership: Arc<Membership>,
    },
    /// The members in effect are committed: they can no longer be rolled back.
    MembershipCommitted {
        /// The entry.
        index: LogIndex,
        /// The members.
        membership: Arc<Membership>,
    },
    /// A transfer that this node started is over.
    TransferEnded {
        /// Whom leadership was offered to.
        to: NodeId,
        /// How it ended.
        outcome: TransferOutcome,
    },
    /// Entries from this index on were replaced here. The outcome of proposals there is
    /// *unknown*: another node may still hold one, lead later and commit it. Lost for good
    /// is only what an entry of another term was applied in place of.
    Truncated {
        /// The first index that is gone.
        from: LogIndex,
    },
    /// A follower needs a snapshot, because the entries it misses are compacted.
    SnapshotStarted {
        /// The follower.
        to: NodeId,
    },
    /// A follower has installed the snapshot and takes entries again.
    SnapshotSent {
        /// The follower.
        to: NodeId,
        /// The index it stands at.
        index: LogIndex,
    },
    /// This node replaced its state by a snapshot.
    SnapshotInstalled {
        /// The index it stands at.
        index: LogIndex,
    },
    /// This new leader commits nothing before then: an earlier one may still have a lease.
    LeaseWait {
        /// By this node's clock.
        until: Instant,
    },
    /// The oldest disk write has been under way for too long: the node hands
    /// leadership over or steps down, and doesn't campaign until the disk answers.
    DiskStalled {
        /// When that write was handed out.
        since: Instant,
    },
    /// A peer sent something that no correct peer sends; it was dropped.
    Misbehaved {
        /// The peer.
        peer: NodeId,
        /// What was wrong.
        what: Misbehaviour,
    },
}

/// What made a node play another part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RoleReason {
    /// No leader was heard for an election timeout.
    ElectionTimeout,
    /// Enough voters would vote for this node.
    PreVoteWon,
    /// A quorum voted for this node.
    Elected,
    /// A quorum refused.
    Refused,
    /// Somebody is in a newer term.
    NewerTerm,
    /// Another node leads this term.
    LeaderFound,
    /// The leader asked this node to take over.
    TransferReceived,
    /// A quorum wasn't heard for an election timeout.
    QuorumLost,
    /// A majority didn't renew the lease in time.
    LeaseLost,
    /// This node is no longer a voter.
    Removed,
    /// The disk didn't answer for too long.
    DiskStalled,
}

/// What a peer did that no correct peer does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misbehaviour {
    /// Two leaders in one term.
    SecondLeader,
    /// Entries that contradict what is committed here.
    ContradictsCommitted,
    /// A snapshot chunk whose checksum doesn't fit.
    ChunkChecksum,
    /// An acknowledgement of entries that were never sent.
    AcknowledgedTooMuch,
    /// Entries that aren't in order.
    EntriesOutOfOrder,
}
