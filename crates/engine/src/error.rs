//! What can go wrong with storage.

use std::io;
use std::path::PathBuf;

use kv_core::{ApplyError, DecodeError};

/// Why the engine failed.
///
/// Whatever fails while an entry is applied or a checkpoint is
/// written leaves the engine poisoned: what is in memory can't be trusted to be what
/// other replicas have, so the process must restart from disk and the log. A full disk
/// is the exception ([`Self::DiskFull`]).
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A committed entry can't be understood, perhaps because a newer version wrote it.
    #[error("the log entry can't be understood")]
    Entry(#[source] DecodeError),
    /// An entry that isn't the one behind the last applied one.
    #[error("entry {index} does not follow {applied}")]
    Gap {
        /// The entry's index.
        index: u64,
        /// The last applied index.
        applied: u64,
    },
    /// An earlier failure; see its log line.
    #[error("the engine failed before and takes no more work; restart the node")]
    Poisoned,
    /// Another process has the directory open.
    #[error("{path} is in use by another process; stop it first")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// No room on the disk. Nothing is lost: what was to be written stays in memory, and
    /// in the log. The engine goes on and the same may be tried again.
    #[error(
        "the disk is full: no room to {action} in {path}; nothing is lost: free some space \
         (reads go on, and so do writes once there is space)"
    )]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// The directory or file.
        path: PathBuf,
    },
    /// The LSM failed.
    #[error("the LSM in {path} failed to {action}")]
    Lsm {
        /// What was being done.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The LSM's own error.
        #[source]
        source: fjall::Error,
    },
    /// A file could not be read or written.
    #[error("failed to {action} {path}")]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The data on disk is not what was written.
    #[error("the data in {path} is corrupt: {what}; restore the node from a peer")]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The data on disk has a format that this version does not know.
    #[error("the data in {path} has format {found}, this version reads {expected}")]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The format that this version writes.
        expected: u32,
    },
    /// A snapshot that can't be installed; nothing was changed.
    #[error("the snapshot is damaged: {what}")]
    Snapshot {
        /// What is wrong.
        what: &'static str,
    },
    /// A snapshot could not be read; nothing was changed.
    #[error("failed to read the snapshot")]
    SnapshotRead(#[source] io::Error),
}

impl EngineError {
    /// Whether the disk is full: nothing is lost, and the same may succeed later.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

/// Whether an error or one of its causes says that the disk is full.
pub(crate) fn says_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<ApplyError<Self>> for EngineError {
    fn from(error: ApplyError<Self>) -> Self {
        match error {
            ApplyError::Decode(error) => Self::Entry(error),
            ApplyError::Table(error) => error,
        }
    }
}
