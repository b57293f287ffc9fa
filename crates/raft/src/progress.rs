//! What a leader knows about each of its followers.

use stdx::{Instant, LogIndex, NodeId};

use crate::message::Session;

/// How a leader treats a follower at the moment.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ProgressState {
    /// One message at a time, to find where the logs agree.
    Probe,
    /// A stream of messages, without waiting for each answer.
    Replicate,
    /// The entries it misses are gone: it gets a snapshot.
    Snapshot,
}

/// One follower as its leader sees it, for a person to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerProgress {
    /// The follower.
    pub id: NodeId,
    /// Whether its vote counts.
    pub voter: bool,
    /// Its stay in the group.
    pub session: Session,
    /// Its log equals the leader's through here, durably.
    pub matched: LogIndex,
    /// The next entry to send.
    pub next: LogIndex,
    /// How it is treated.
    pub state: ProgressState,
    /// Entries of the leader that it isn't known to have.
    pub lag: u64,
    /// When it was last heard.
    pub last_heard: Instant,
}
