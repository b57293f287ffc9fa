//! Every bound of this crate.

/// The smallest segment that can be asked for.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// The largest record (one group's part of one batch), and so the largest segment: offsets inside
/// a segment are 32 bits wide.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;
/// The in-memory index has one point per group for this many bytes of segment.
pub const INDEX_STEP_BYTES: u32 = 16 << 10;
/// Bytes that a reader asks the operating system for at once.
pub const READ_BYTES: usize = 256 << 10;
/// The write buffer keeps so much memory between batches.
pub const BUFFER_KEPT_BYTES: usize = 8 << 20;
/// Live entries of lagging groups are moved out of the oldest segment if they are no more than one
/// part in so many of a segment.
pub const CARRY_FRACTION: u64 = 8;
/// They are moved only when there are at least so many segments.
pub const CARRY_SEGMENTS_MIN: usize = 4;

const _: () = assert!(
    RECORD_BYTES_MAX < u32::MAX as u64 / 2,
    "offsets fit 32 bits"
);
