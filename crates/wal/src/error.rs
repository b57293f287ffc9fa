//! What can go wrong, one enum per operation. Every message says what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{ByteSize, GroupId, LogIndex};
use thiserror::Error;

use crate::options::Identity;

/// Data that was durable is not what was written.
///
/// The log never repairs this by itself: dropping the damaged part could forget a vote or an
/// acknowledged write, which breaks the promises of the whole cluster.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{} is corrupt at byte {offset}: expected {expected}, found {found}; nothing was changed. \
     Restore this node's data directory from a backup made after its last start, or remove the \
     node from the cluster and add it again under a new id with an empty directory; check the \
     disk for errors",
    file.display()
)]
pub struct CorruptError {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What should be there.
    pub expected: Box<str>,
    /// What is there.
    pub found: Box<str>,
}

/// Why a log could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by another process: stop that process, or choose another \
         directory",
        dir.display()
    )]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// It belongs to somebody else.
    #[error(
        "the data directory {} belongs to {found}, but this is {expected}: choose this node's own \
         directory, or an empty one",
        dir.display()
    )]
    OtherIdentity {
        /// The log's directory.
        dir: PathBuf,
        /// Who opens it.
        expected: Identity,
        /// Whose it is.
        found: Identity,
    },
    /// It is kept in the other format.
    #[error(
        "the log in {} is in the {found} format, but the configuration says {expected}: set the \
         log format to {found}, or choose an empty directory",
        dir.display()
    )]
    OtherFormat {
        /// The log's directory.
        dir: PathBuf,
        /// The format asked for.
        expected: &'static str,
        /// The format found.
        found: Box<str>,
    },
    /// A newer version wrote it.
    #[error(
        "{} has format version {found}, this program knows versions up to {known}: use the \
         program that wrote it, or a newer one",
        file.display()
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// An option is out of its range.
    #[error("segments of {segment_bytes} are not possible: choose between {min} and {max}")]
    SegmentBytes {
        /// What was asked for.
        segment_bytes: ByteSize,
        /// The least.
        min: ByteSize,
        /// The most.
        max: ByteSize,
    },
    /// Durable data is damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptError),
    /// No room for the first segment.
    #[error("the disk is full: could not allocate {wanted} in {}; free some space and start again", dir.display())]
    DiskFull {
        /// The log's directory.
        dir: PathBuf,
        /// What was missing.
        wanted: ByteSize,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// The failure after which a log accepts nothing any more.
#[derive(Debug, Error)]
#[error("could not {action} {}", path.display())]
pub struct PoisonCause {
    /// What was tried.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

/// Why something could not be written.
#[derive(Clone, Debug, Error)]
pub enum WalError {
    /// A write or an fsync failed, now or earlier. The log stays closed until a restart has read
    /// back what is really on the disk: after a failed fsync Linux marks the pages clean, so that
    /// a second fsync reports success for data that is lost ("fsyncgate", 2018; Rebello et al.,
    /// "Can applications recover from fsync failures?", USENIX ATC 2020).
    #[error(
        "the log is closed after a failed write, because data may be lost that a repeated fsync \
         would report as safe (fsyncgate): check the disk, then restart the node"
    )]
    Poisoned(#[source] Arc<PoisonCause>),
    /// No room for the next segment. Nothing of the batch was written and nothing is lost.
    #[error(
        "the disk is full: could not allocate {wanted} for the log in {}; nothing was written and \
         nothing is lost: free some space and try again",
        dir.display()
    )]
    DiskFull {
        /// The log's directory.
        dir: PathBuf,
        /// What was missing.
        wanted: ByteSize,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The entries don't follow on the log or on each other. Nothing was written.
    #[error("entry {found} of {group} does not continue the log: expected {expected}")]
    Gap {
        /// The group.
        group: GroupId,
        /// The index that would have been right, or the highest that would have been.
        expected: LogIndex,
        /// The index that came.
        found: LogIndex,
    },
    /// One append is larger than a record can be. Nothing was written.
    #[error("an append of {bytes} for {group} exceeds the largest record, {bytes_max}")]
    TooLarge {
        /// The group.
        group: GroupId,
        /// Its size when encoded.
        bytes: ByteSize,
        /// The limit.
        bytes_max: ByteSize,
    },
}

/// Why entries could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// They were compacted away: a snapshot has them.
    #[error("entries of {group} through {base} are compacted")]
    Compacted {
        /// The group.
        group: GroupId,
        /// The last index that is gone.
        base: LogIndex,
    },
    /// They are not in the log (yet).
    #[error("{group} has entries {first} to {last}, not {from} to {to}")]
    OutOfRange {
        /// The group.
        group: GroupId,
        /// The first index that was asked for.
        from: LogIndex,
        /// The last index that was asked for.
        to: LogIndex,
        /// The first index there is.
        first: LogIndex,
        /// The last index there is.
        last: LogIndex,
    },
    /// What was read back is not what was written.
    #[error(transparent)]
    Corrupt(#[from] CorruptError),
    /// The operating system refused.
    #[error("could not read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}
