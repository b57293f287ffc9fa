//! The interface of storage engines.

use std::io::Read;

use kv_core::Reply;
use stdx::{LogIndex, Term};

use crate::error::EngineError;
use crate::view::ReadView;

/// Storage of one Raft group's state machine: one thread applies, many read.
pub trait Engine: Send + Sync {
    /// The index of the last applied entry.
    fn applied(&self) -> LogIndex;

    /// The term of the last applied entry.
    fn applied_term(&self) -> Term;

    /// Applies a committed entry: `payload` as `kv_core::batch` describes it, empty for
    /// an entry that is not the state machine's. An index at or below the applied one
    /// is skipped without replies: it is a replay after a restart. Otherwise one reply
    /// per command is appended to `replies`.
    ///
    /// # Errors
    ///
    /// When the entry can't be understood, doesn't follow the last one, or storage
    /// fails. The engine is then poisoned.
    fn apply(
        &self,
        index: LogIndex,
        term: Term,
        payload: &[u8],
        replies: Option<&mut Vec<Reply>>,
    ) -> Result<(), EngineError>;

    /// A view that stays the same while it is held, between two commands. It blocks
    /// [`Self::apply`]: take it, read, drop it; never hold it across an `await`.
    fn view(&self) -> ReadView<'_>;

    /// Writes everything that changed since the last checkpoint, with the applied index,
    /// atomically. For a background thread: applying goes on meanwhile. Returns the
    /// index of the checkpoint. It survives a crash of the process, and of the machine
    /// if [`Self::persist`] returned it.
    ///
    /// # Errors
    ///
    /// [`EngineError::DiskFull`] when there is no room: nothing has changed, try again later.
    /// When storage fails otherwise; the engine is then poisoned.
    fn checkpoint(&self) -> Result<LogIndex, EngineError>;

    /// A checkpoint forced to disk: the log may be truncated through the index returned.
    ///
    /// # Errors
    ///
    /// As [`Self::checkpoint`].
    fn persist(&self) -> Result<LogIndex, EngineError>;

    /// A consistent copy of everything at some applied entry, to be read as a stream
    /// while applying goes on.
    ///
    /// # Errors
    ///
    /// When storage fails.
    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, EngineError>;

    /// Replaces everything by a snapshot, on disk too before it returns; a crash leaves
    /// either the old or the new state. Returns the snapshot's position.
    ///
    /// # Errors
    ///
    /// When the snapshot is damaged or can't be read (nothing is changed), or storage
    /// fails.
    fn install(&self, source: &mut dyn Read) -> Result<(LogIndex, Term), EngineError>;

    /// The earliest deadline of any key, in ms since 1970. When a leader's clock has
    /// passed it, it should propose a `Tick`.
    fn next_deadline(&self) -> Option<u64>;

    /// Sizes and counters.
    fn stats(&self) -> EngineStats;
}

/// A snapshot being read: a stream of bytes with its own checksums, the same for every
/// engine. It keeps disk space in use until it is dropped.
pub trait SnapshotSource: Read + Send {
    /// The last entry that the snapshot contains.
    fn index(&self) -> LogIndex;

    /// That entry's term.
    fn term(&self) -> Term;
}

/// Sizes and counters of an engine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EngineStats {
    /// Keys that exist.
    pub keys: u64,
    /// Bytes of their keys and values.
    pub data_bytes: u64,
    /// Keys held in memory.
    pub resident_keys: u64,
    /// Bytes of memory for them, allocator overhead not counted.
    pub resident_bytes: u64,
    /// Bytes changed since the last checkpoint.
    pub dirty_bytes: u64,
    /// The applied index of the last checkpoint.
    pub checkpoint_index: u64,
    /// Checkpoints written since the start.
    pub checkpoints: u64,
    /// Look-ups that went to the disk since the start.
    pub disk_reads: u64,
    /// Keys evicted from memory since the start.
    pub evictions: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}
