//! Every bound that isn't a matter of configuration, with the reason for its value.
//!
//! What a person may want to tune is in [`crate::Config`]; what the algorithm or the
//! formats rely on is here, and relations between them are checked by the compiler.

use core::time::Duration;

/// Members of one group, learners included. Progress lives in small sorted vectors
/// and quorums are computed on the stack, which is only right for small groups.
pub const MEMBERS_MAX: usize = 32;

/// Bytes of one entry's payload that no configuration may exceed, so that a length
/// always fits the wire format's 32 bits with room to spare.
pub const ENTRY_BYTES_LIMIT: usize = 1 << 30;

/// Bytes of one snapshot chunk that no configuration may exceed.
pub const SNAPSHOT_CHUNK_BYTES_LIMIT: usize = 64 << 20;

/// Reads that wait for a quorum round at one node. Each costs some 32 bytes.
pub const READS_PENDING_MAX: usize = 1 << 16;

/// Rounds of heartbeats whose send time the leader remembers. A reply to an older
/// round counts for nothing, which only delays a lease.
pub const ROUNDS_REMEMBERED_MAX: usize = 64;

/// Batches of forwarded reads that one follower has under way, and that a leader
/// keeps for one follower.
pub const FORWARDED_BATCHES_MAX: usize = 64;

/// How far a clock's rate may be configured to be off, in millionths: at a fifth nobody
/// would call it a clock.
pub const DRIFT_PPM_MAX: u32 = 200_000;

/// The shortest lease a group may have: below it, renewals are all there is.
pub const LEASE_MIN: Duration = Duration::from_millis(10);

/// The longest lease a group may have: as long may nobody be able to write after a crash.
pub const LEASE_MAX: Duration = Duration::from_secs(60);

/// A leader renews a lease in the log when this part of it has passed since its newest
/// entry: late enough to cost little, early enough for two round trips.
pub const LEASE_RENEWAL_PART: u32 = 3;

/// Entries whose time a leader remembers until they are committed. Beyond that the lease is
/// a little shorter than it could be.
pub const LEASE_MARKS_MAX: usize = 64;

const _: () = assert!(
    ENTRY_BYTES_LIMIT < u32::MAX as usize / 2,
    "lengths on the wire are 32 bits"
);
const _: () = assert!(
    SNAPSHOT_CHUNK_BYTES_LIMIT < u32::MAX as usize,
    "lengths on the wire are 32 bits"
);
