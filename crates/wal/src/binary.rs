//! The binary format: one log for all groups, in segments.

mod dump;
mod fuzz;
mod index;
mod pool;
mod reader;
mod reclaim;
mod record;
mod recover;
mod replay;
mod segment;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{ByteSize, GroupId};

use crate::disk::Disk;
use crate::error::{PoisonCause, WalError};
use crate::log::{Append, Base, Log, LogReader, Usage};
use crate::options::Identity;

use index::Shared;
use pool::Pool;
use reader::BinaryReader;
use replay::Group;
use segment::{Ending, Segment};
use write::Staged;

pub(crate) use dump::dump_segments;
pub(crate) use fuzz::{fuzz_record, fuzz_segment, record_bodies};
pub(crate) use recover::{create, recover};

/// The writing end of a binary log.
#[derive(Debug)]
pub(crate) struct BinaryLog {
    disk: Arc<dyn Disk>,
    identity: Identity,
    /// What every group's log looks like once everything staged is written.
    groups: BTreeMap<GroupId, Group>,
    shared: Arc<Shared>,
    active: Active,
    /// Where the records of the segments before the active one end.
    closed: BTreeMap<u64, u32>,
    pool: Pool,
    staged: Staged,
    /// Something happened that may have freed a segment.
    reclaim_due: bool,
    poison: Option<Arc<PoisonCause>>,
    /// Keeps other processes out as long as it is open.
    _lock: Option<File>,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    /// After the last record, and its link.
    ending: Ending,
    /// Everything before this is durable.
    synced: u32,
}

/// Whether the segment in reserve may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reserve {
    Keep,
    Use,
}

impl Log for BinaryLog {
    fn append(&mut self, batch: &[Append<'_>]) -> Result<(), WalError> {
        self.check_poison()?;
        self.staged.clear();
        let written = self
            .stage_all(batch)
            .and_then(|()| self.write_staged(Reserve::Keep));
        if written.is_err() {
            self.unstage();
        }
        written
    }

    fn sync(&mut self) -> Result<(), WalError> {
        self.check_poison()?;
        self.sync_active()?;
        if std::mem::take(&mut self.reclaim_due) {
            self.reclaim()?;
        }
        Ok(())
    }

    fn compact(&mut self, group: GroupId, base: Base) -> Result<(), WalError> {
        self.check_poison()?;
        self.staged.clear();
        let written = self
            .stage_compaction(group, &base)
            .and_then(|()| self.write_staged(Reserve::Use));
        if written.is_err() {
            self.unstage();
        }
        written
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(BinaryReader::new(Arc::clone(&self.shared)))
    }

    fn usage(&self) -> Usage {
        let index = self.shared.read();
        let segments = index
            .segments
            .values()
            .map(|segment| u64::from(segment.bytes));
        Usage {
            bytes: self.closed.values().copied().map(u64::from).sum::<u64>()
                + u64::from(self.active.ending.end),
            allocated_bytes: segments.sum::<u64>() + self.pool.bytes(),
            segments: index.segments.len() as u64,
            spare_segments: self.pool.count() as u64,
        }
    }
}

/// An operation of the operating system that failed.
#[derive(Debug)]
struct Failure {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Failure {
    /// Makes one of an IO error.
    fn on(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path,
            source,
        }
    }

    fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

impl BinaryLog {
    fn check_poison(&self) -> Result<(), WalError> {
        self.poison
            .as_ref()
            .map_or(Ok(()), |cause| Err(WalError::Poisoned(Arc::clone(cause))))
    }

    /// Closes the log for ever.
    fn poisoned(&mut self, failure: Failure) -> WalError {
        let Failure {
            action,
            path,
            source,
        } = failure;
        let cause = Arc::new(PoisonCause {
            action,
            path,
            source,
        });
        self.poison = Some(Arc::clone(&cause));
        WalError::Poisoned(cause)
    }

    fn disk_full(&self, wanted: u64, failure: Failure) -> WalError {
        WalError::DiskFull {
            dir: self.disk.root().to_path_buf(),
            wanted: ByteSize::bytes(wanted),
            source: Arc::new(failure.source),
        }
    }
}
