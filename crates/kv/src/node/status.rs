//! What a node tells about itself.

use core::time::Duration;
use std::sync::Arc;

use stdx::{LogIndex, NodeId, Term};

/// The part a node plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Gets the log, has no vote.
    Learner,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Learner => "learner",
        }
    }
}

/// What a node knows and does.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// This node.
    pub node_id: NodeId,
    /// The cluster it belongs to, as 16 hexadecimal digits.
    pub cluster_id: Box<str>,
    /// Its role.
    pub role: Role,
    /// The current term.
    pub term: Term,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// The address of the leader's gRPC door, if it is known.
    pub leader_address: Option<Arc<str>>,
    /// The last index of its log.
    pub last_index: LogIndex,
    /// The last index that is on its own disk.
    pub durable: LogIndex,
    /// The last index known to be committed.
    pub committed: LogIndex,
    /// The last index that is in the state machine.
    pub applied: LogIndex,
    /// The first index that is still in the log.
    pub first_index: LogIndex,
    /// All members, and (at the leader) how far each is.
    pub members: Vec<MemberStatus>,
    /// What is on disk.
    pub disk: DiskStatus,
    /// The data.
    pub data: DataStatus,
    /// Time since the node started.
    pub uptime: Duration,
    /// Whether linearizable reads can be served at once.
    pub has_lease: bool,
}

/// One member of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberStatus {
    /// Its id.
    pub node_id: NodeId,
    /// The address of its gRPC door, if it is known.
    pub address: Option<Arc<str>>,
    /// Whether it has a vote.
    pub voter: bool,
    /// The last index known to be on its disk; zero except at the leader.
    pub matched: LogIndex,
    /// Entries that it still lacks; zero except at the leader.
    pub lag: u64,
    /// What replication to it is doing, for people.
    pub state: &'static str,
}

/// What is on disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DiskStatus {
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Files of the log.
    pub wal_segments: u64,
    /// Bytes of the engine.
    pub engine_bytes: u64,
    /// Whether writes are refused because the disk is full.
    pub full: bool,
}

/// The data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DataStatus {
    /// Keys.
    pub keys: u64,
    /// Bytes that keys and values take in memory.
    pub memory_bytes: u64,
}
