//! Bringing a follower up to date when the entries it misses are gone.
//!
//! The core moves a snapshot it never sees: it asks the driver of the sender for one
//! piece after the other, and the driver of the receiver to store them. A snapshot has
//! an id of its sender; the receiver says how many bytes of that id it holds, so a
//! transfer goes on where it stopped. Pieces carry CRC32C.

use bytes::Bytes;
use stdx::{LogIndex, NodeId};

use crate::entry::LogBase;
use crate::message::SnapshotId;

/// What the driver has to do about snapshots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotAction {
    /// At the sender: read a piece and answer with
    /// [`crate::Raft::on_snapshot_chunk_read`] or `on_snapshot_failed`.
    ReadChunk {
        /// The follower it is for.
        to: NodeId,
        /// Which snapshot; `None`: take one (or choose a recent one) at an applied
        /// index not before [`crate::Raft::base`], and say which it is in the answer.
        snapshot: Option<SnapshotId>,
        /// Where the piece begins.
        offset: u64,
        /// How long it may be.
        bytes_max: usize,
    },
    /// At the sender: this follower needs no more of that snapshot.
    Release {
        /// The follower.
        to: NodeId,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// At the receiver: write the piece at its offset (offset 0 begins a new file), and
    /// answer with [`crate::Raft::on_snapshot_chunk_stored`] or `on_snapshot_failed`.
    StoreChunk {
        /// The sender.
        from: NodeId,
        /// The snapshot.
        snapshot: SnapshotId,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// At the receiver: all pieces are stored. Replace the state machine's state,
    /// durably and atomically, and keep `base` with it; then call
    /// [`crate::Raft::on_snapshot_installed`] or `on_snapshot_failed`. Until then no
    /// committed entries are handed out.
    Install {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it stands for.
        base: LogBase,
    },
    /// At the receiver: forget the pieces.
    Discard {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// The answer to [`SnapshotAction::ReadChunk`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkRead {
    /// The follower, as asked.
    pub to: NodeId,
    /// The snapshot, as asked or chosen. Ids of one node never repeat, not even after
    /// a restart, unless the bytes are the same.
    pub snapshot: SnapshotId,
    /// The applied index the snapshot was taken at.
    pub index: LogIndex,
    /// The offset, as asked.
    pub offset: u64,
    /// The piece.
    pub data: Bytes,
    /// Whether it is the last one.
    pub done: bool,
}

/// What the driver couldn't do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotFailure {
    /// Reading for this follower; the transfer starts over later.
    Read {
        /// The follower.
        to: NodeId,
    },
    /// Storing or installing; everything received is forgotten.
    Receive {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}
