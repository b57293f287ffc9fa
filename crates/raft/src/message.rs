//! What members say to each other: four pairs, a hand-over and a question.
//!
//! Requests and replies come in pairs named as in the paper. Numbers of the variants
//! are those on the wire; zero is reserved, retired numbers are never used again.
//!
//! Some replies are *promises*: a granted vote, an acknowledged append, an installed
//! snapshot. They say "this will survive my crash", so they may leave only after the
//! disk said so; `persist.rs` sees to that with types.

use core::time::Duration;

use bytes::Bytes;
use stdx::{LogIndex, NodeId, Term};

use crate::entry::{Entries, LogBase};

/// A message and the member it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// The member it is for.
    pub to: NodeId,
    /// What to tell it.
    pub message: Message,
}

/// Tells one stay of a member in the group from its next one.
///
/// A node that was removed and added again within one term must not be credited with
/// acknowledgements of its former stay (trap 6). The session is the index of the
/// membership entry that added it (or of the leader's first entry), which no leader
/// of that term uses twice.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Session(pub u64);

/// A numbered round of heartbeats of one leader in one term; counts from 1.
///
/// A quorum that answered a round still followed this leader when the round was sent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Round(pub u64);

/// A snapshot at its sender; another snapshot, or one of another node, has another id.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SnapshotId(pub u64);

/// Everything members say to each other.
#[derive(Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Message {
    /// "Would you vote for me?"
    RequestPreVote(RequestPreVote) = 1,
    /// The answer; changes nothing anywhere.
    RequestPreVoteReply(RequestPreVoteReply) = 2,
    /// "Vote for me."
    RequestVote(RequestVote) = 3,
    /// The answer; a granted vote is a promise.
    RequestVoteReply(RequestVoteReply) = 4,
    /// Entries, a heartbeat, or news of the commit index.
    AppendEntries(AppendEntries) = 5,
    /// The answer; an acceptance is a promise.
    AppendEntriesReply(AppendEntriesReply) = 6,
    /// A piece of a snapshot.
    InstallSnapshot(InstallSnapshot) = 7,
    /// The answer; an installation is a promise.
    InstallSnapshotReply(InstallSnapshotReply) = 8,
    /// "Campaign now: I hand over to you."
    TimeoutNow(TimeoutNow) = 9,
    /// "From which index on may I serve reads?"
    ReadIndex(ReadIndex) = 10,
    /// The answer.
    ReadIndexReply(ReadIndexReply) = 11,
}

/// Asks whether a campaign for `term` would get this vote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestPreVote {
    /// The term the sender would campaign for: its own plus one.
    pub term: Term,
    /// The sender's last entry.
    pub last_index: LogIndex,
    /// The term of that entry.
    pub last_term: Term,
}

/// Answers a [`RequestPreVote`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestPreVoteReply {
    /// The term asked for if granted, else the voter's own (trap 9a: a refusal must
    /// teach a newer term).
    pub term: Term,
    /// Whether the vote would be given.
    pub granted: bool,
}

/// Asks for a vote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestVote {
    /// The term the sender campaigns for.
    pub term: Term,
    /// The sender's last entry.
    pub last_index: LogIndex,
    /// The term of that entry.
    pub last_term: Term,
    /// The old leader's permission to campaign although it was heard just now.
    pub transfer: Option<TransferTicket>,
    /// What the sender knows of leases, and would claim.
    pub lease: LeaseClaim,
}

/// What a candidate says about leases.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LeaseClaim {
    /// The longest lease that anybody may have, as far as the sender knows: what a voter that
    /// forgot everything has to reckon with.
    pub longest: Duration,
    /// How long, from when this was made, the sender would serve inherited reads if elected.
    pub inherit: Duration,
}

/// Answers a [`RequestVote`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestVoteReply {
    /// The voter's term.
    pub term: Term,
    /// Whether it voted for the sender.
    pub granted: bool,
    /// What may be left of old leases, as far as the voter knows: counted from receipt.
    pub old_lease: Duration,
}

/// A leader's permission to override the promise not to vote while it is alive.
///
/// The leader may take it back: heartbeats say up to which number tickets are revoked,
/// and a voter that acknowledged such a heartbeat no longer honours them. That is what
/// makes it safe to regain a lease after a transfer that failed (trap 13).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransferTicket {
    /// The term of the leader that hands over.
    pub term: Term,
    /// Which of its attempts this is, from 1.
    pub number: u32,
    /// Nobody needs to wait for that leader's lease, or for one before it.
    pub void: bool,
}

/// What a leader's message says about its lease.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LeaseGrant {
    /// How long the leader counts on whoever hears this, from when it was sent; zero in other
    /// modes than waiting out, and while there is no lease to be had.
    pub duration: Duration,
    /// A true time by which the last entry of the sender's log was appended; zero if it can't
    /// tell.
    pub appended_by: u64,
}

/// Entries, a heartbeat (no entries), or news of the commit index (likewise).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// Which stay of the follower this is meant for.
    pub session: Session,
    /// The entry before the first one here; zero means "nothing claimed".
    pub prev_index: LogIndex,
    /// The term of that entry.
    pub prev_term: Term,
    /// What the leader knows to be committed.
    pub commit: LogIndex,
    /// The newest round when this was sent.
    pub round: Round,
    /// Transfer tickets up to this number are void.
    pub revoked: u32,
    /// What it says about the sender's lease.
    pub lease: LeaseGrant,
    /// The entries, in order, without gaps.
    pub entries: Entries,
}

/// Answers an [`AppendEntries`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AppendEntriesReply {
    /// The follower's term.
    pub term: Term,
    /// As in the request.
    pub session: Session,
    /// As in the request.
    pub round: Round,
    /// For how long after receipt the follower refuses to vote for others: the leader
    /// needn't assume that all nodes are configured alike (trap 15).
    pub promise: Duration,
    /// Whether the entries fit.
    pub outcome: AppendOutcome,
}

/// Whether entries fit onto a follower's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendOutcome {
    /// They did.
    Accepted {
        /// The follower's log equals the leader's through here, durably.
        matched: LogIndex,
        /// The same in memory; what lies between is being written.
        received: LogIndex,
    },
    /// The entry before them is missing or of another term.
    Rejected {
        /// `prev_index` of the request, to tell a late reply.
        prev_index: LogIndex,
        /// The best place where the logs may agree: the follower's last index, not
        /// after `prev_index`, whose term isn't newer than `prev_term` ...
        hint_index: LogIndex,
        /// ... and that term. The leader skips its own newer terms in turn, so that
        /// each round trip passes a whole term, not an entry.
        hint_term: Term,
    },
}

/// A piece of the state at `base`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// Which stay of the follower this is meant for.
    pub session: Session,
    /// The newest round when this was sent.
    pub round: Round,
    /// Transfer tickets up to this number are void.
    pub revoked: u32,
    /// What it says about the sender's lease.
    pub lease: LeaseGrant,
    /// What the snapshot stands for.
    pub base: LogBase,
    /// Which snapshot it is a piece of.
    pub snapshot: SnapshotId,
    /// Where in the snapshot the piece begins.
    pub offset: u64,
    /// CRC32C of `data`.
    pub crc: u32,
    /// Whether it is the last piece.
    pub done: bool,
    /// The piece.
    pub data: Bytes,
}

/// Answers an [`InstallSnapshot`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InstallSnapshotReply {
    /// The follower's term.
    pub term: Term,
    /// As in the request.
    pub session: Session,
    /// As in the request.
    pub round: Round,
    /// As in [`AppendEntriesReply::promise`].
    pub promise: Duration,
    /// As in the request.
    pub snapshot: SnapshotId,
    /// How far it is.
    pub outcome: SnapshotOutcome,
}

/// How far a follower is with a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotOutcome {
    /// It holds the first `offset` bytes: go on from there.
    Received {
        /// Bytes held.
        offset: u64,
    },
    /// Its log equals the leader's through here, durably; no more is needed.
    Installed {
        /// That index.
        index: LogIndex,
    },
}

/// Asks the receiver to campaign at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
    /// The number for the [`TransferTicket`].
    pub number: u32,
    /// Where the sender's log ended when it gave its lease up, if whoever leads with just that
    /// log needs to wait for nobody; else zero.
    pub void_at: LogIndex,
}

/// Asks the leader for an index from which on a batch of reads may be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadIndex {
    /// The follower's term.
    pub term: Term,
    /// Names the batch; never used again by this node.
    pub batch: u64,
}

/// Answers a [`ReadIndex`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadIndexReply {
    /// The answering node's term.
    pub term: Term,
    /// As in the request.
    pub batch: u64,
    /// The index; `None` if this node can't say, for instance because it doesn't lead.
    pub index: Option<LogIndex>,
}

impl Message {
    /// The term the sender speaks for.
    #[must_use]
    pub const fn term(&self) -> Term {
        match self {
            Self::RequestPreVote(message) => message.term,
            Self::RequestPreVoteReply(message) => message.term,
            Self::RequestVote(message) => message.term,
            Self::RequestVoteReply(message) => message.term,
            Self::AppendEntries(message) => message.term,
            Self::AppendEntriesReply(message) => message.term,
            Self::InstallSnapshot(message) => message.term,
            Self::InstallSnapshotReply(message) => message.term,
            Self::TimeoutNow(message) => message.term,
            Self::ReadIndex(message) => message.term,
            Self::ReadIndexReply(message) => message.term,
        }
    }
}

macro_rules! into_message {
    ($($name:ident),+ $(,)?) => {$(
        impl From<$name> for Message {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        }
    )+};
}

into_message!(
    RequestPreVote,
    RequestPreVoteReply,
    RequestVote,
    RequestVoteReply,
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    TimeoutNow,
    ReadIndex,
    ReadIndexReply,
);
