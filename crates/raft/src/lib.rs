//! Raft as a state machine: elections, replication, leases, reads, membership, snapshots; no IO, no clock.

mod config;
mod election;
mod entry;
mod error;
mod event;
mod fetch;
mod follow;
mod invariants;
mod lease;
pub mod limits;
mod log;
mod membership;
mod message;
mod persist;
mod planted;
mod progress;
pub mod quorum;
mod raft;
mod read;
mod reconfigure;
mod replication;
mod snapshot;
mod transfer;
pub mod wire;

pub use config::{Config, ConfigError, Lease, Valid};
pub use entry::{Entries, Entry, HardState, LogBase, Payload, Restored};
pub use error::{MembershipError, ProposeError, ReadError, TransferError};
pub use event::{
    Event, Misbehaviour, ReadFailure, ReadToken, RoleKind, RoleReason, TransferOutcome,
};
pub use fetch::{Committed, Fetch, FetchId, Fetched};
pub use membership::{ChangeError, Membership, MembershipChange};
pub use message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Envelope, InstallSnapshot,
    InstallSnapshotReply, Message, ReadIndex, ReadIndexReply, RequestPreVote, RequestPreVoteReply,
    RequestVote, RequestVoteReply, Round, Session, SnapshotId, SnapshotOutcome, TimeoutNow,
    TransferTicket,
};
pub use persist::{Durable, Persist};
#[cfg(feature = "planted")]
pub use planted::PlantedBug;
pub use progress::{PeerProgress, ProgressState};
pub use raft::{Proposed, Raft};
pub use snapshot::{ChunkRead, SnapshotAction, SnapshotFailure};
