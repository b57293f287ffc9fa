//! Every limit, by name.

/// The longest record that is read, and the longest key or value that is emitted.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// The least memory that a task can run in.
pub const MEMORY_BYTES_MIN: u64 = 4 << 20;
/// The most reduce partitions of a job.
pub const PARTITIONS_MAX: u32 = 65_536;
/// The most splits of a job.
pub const SPLITS_MAX: usize = 1_000_000;
/// The most counters that a task may have; more are a user's mistake.
pub const COUNTERS_MAX: usize = 1_000;
/// The longest name of a counter, and the longest status line that is kept.
pub const NAME_BYTES_MAX: usize = 256;
/// How much of a failed program's standard error is kept.
pub const STDERR_TAIL_BYTES: usize = 8 << 10;
/// What a block of a run file holds before compression; a longer record has its own block.
pub const BLOCK_BYTES: usize = 64 << 10;
/// The most runs that are merged at once.
pub const FAN_IN_MAX: usize = 256;
