//! The knobs of the engine.

use stdx::ByteSize;

/// How a [`crate::FjallEngine`] is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// The Raft group whose state this is: the first part of every stored key. Must be
    /// the same at every start. Default 0.
    pub group: u32,
    /// Memory for records, overhead included. Beyond it, records that are on disk are
    /// dropped from memory and read back when needed, at about a tenth of the speed.
    /// What has changed since the last checkpoint always stays. Default 2 GiB.
    pub memory_bytes_max: ByteSize,
    /// How many bytes may change before an apply waits for a checkpoint of its own:
    /// the bound on memory that can't be dropped. The node should start one in the
    /// background long before, at about an eighth. Default 512 MiB.
    pub dirty_bytes_max: ByteSize,
    /// Memory for blocks of the LSM, which only reads of dropped records use; the
    /// operating system's cache stands behind it. Default 16 MiB.
    pub cache_bytes: ByteSize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group: 0,
            memory_bytes_max: ByteSize::mib(2 << 10),
            dirty_bytes_max: ByteSize::mib(512),
            cache_bytes: ByteSize::mib(16),
        }
    }
}
