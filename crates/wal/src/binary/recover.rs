//! Opening a binary log.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use stdx::{ByteSize, GroupId};

use super::index::{Index, Shared};
use super::pool::Pool;
use super::record::{HEADER_BYTES, Header, Kind, record_bytes};
use super::replay::{Replay, Stop, find_evidence};
use super::segment::{
    Ending, HeaderFault, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, VERSION, segment_name,
    segment_sequence,
};
use super::write::Staged;
use super::{Active, BinaryLog, Failure};
use crate::disk::{Disk, DiskFile, read_full_at};
use crate::error::{CorruptError, OpenError, WalError};
use crate::limits::{RECORD_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::log::{Opened, Recovered};
use crate::options::{Identity, Options};

impl Active {
    /// A segment without records.
    pub(super) fn at_start_of(segment: Arc<Segment>) -> Self {
        let ending = Ending {
            end: SEGMENT_HEADER_BYTES,
            link: segment.salt,
        };
        Self {
            segment,
            ending,
            synced: SEGMENT_HEADER_BYTES,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        let Failure {
            action,
            path,
            source,
        } = failure;
        Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The segment length that the options ask for.
fn segment_bytes(options: &Options) -> Result<u32, OpenError> {
    let bytes = options.segment_bytes.get();
    u32::try_from(bytes)
        .ok()
        .filter(|_| (SEGMENT_BYTES_MIN..=RECORD_BYTES_MAX).contains(&bytes))
        .ok_or(OpenError::SegmentBytes {
            segment_bytes: options.segment_bytes,
            min: ByteSize::bytes(SEGMENT_BYTES_MIN),
            max: ByteSize::bytes(RECORD_BYTES_MAX),
        })
}

/// Puts an empty log into a directory that has no identity file yet.
///
/// The identity file is written after the first segment, so that a directory with an identity file
/// and no segment is known to have lost it.
pub(crate) fn create(disk: &dyn Disk, options: &Options) -> Result<(), OpenError> {
    let segment_bytes = segment_bytes(options)?;
    let names = disk
        .list("")
        .map_err(Failure::on("list", disk.root().to_path_buf()))?;
    for name in names.iter().filter(|name| segment_sequence(name).is_some()) {
        remove_unused(disk, name)?;
    }
    let mut pool = Pool::new(segment_bytes, 1);
    if let Err(failure) = pool.reserve(disk, &[segment_bytes]) {
        return Err(if failure.is_disk_full() {
            OpenError::DiskFull {
                dir: disk.root().to_path_buf(),
                wanted: options.segment_bytes,
                source: failure.source,
            }
        } else {
            failure.into()
        });
    }
    let header = SegmentHeader {
        identity: options.identity,
        sequence: 1,
        previous: Ending::default(),
        bytes: segment_bytes,
    };
    pool.begin(disk, header)?;
    Ok(())
}

/// Removes the first segment if an earlier start was interrupted right after making it.
fn remove_unused(disk: &dyn Disk, name: &str) -> Result<(), OpenError> {
    let file = disk
        .open(name)
        .map_err(Failure::on("open", disk.path(name)))?;
    let mut start = [0; SEGMENT_HEADER_BYTES as usize + HEADER_BYTES];
    let count =
        read_full_at(&*file, &mut start, 0).map_err(Failure::on("read", disk.path(name)))?;
    let (header, rest) = start.split_at(SEGMENT_HEADER_BYTES as usize);
    let header = header.try_into().expect("split at its length");
    let unused = match SegmentHeader::parse(header) {
        Ok((header, salt)) => header.sequence == 1 && Header::parse(rest, salt).is_none(),
        Err(_) => false,
    };
    if count < start.len() || !unused {
        return Err(OpenError::Corrupt(CorruptError {
            file: disk.path(crate::open::IDENTITY_NAME),
            offset: 0,
            expected: "the file that says whose log this is".into(),
            found: format!("no such file, but the log {name}").into(),
        }));
    }
    disk.remove(name)
        .map_err(Failure::on("remove", disk.path(name)))?;
    Ok(())
}

/// Opens the log in a directory whose identity file was checked.
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    options: &Options,
    lock: Option<File>,
) -> Result<Opened, OpenError> {
    let mut pool = Pool::new(segment_bytes(options)?, options.spare_segments_max.max(1));
    let names = disk
        .list("")
        .map_err(Failure::on("list", disk.root().to_path_buf()))?;
    let found = open_segments(&*disk, &names, options.identity)?;
    let mut replay = Replay::new(&options.special_kinds);
    let (stop, closed) = replay_all(&mut replay, &found)?;
    let groups = recovered_groups(&mut replay, &found[0].0)?;

    // Nothing was changed so far. What was read may be only in the operating system's cache, if it
    // was the process that ended and not the machine: make it durable before anybody relies on it.
    let last = &found.last().expect("there is at least one segment").0;
    last.file
        .sync_data()
        .map_err(Failure::on("fsync", last.path.clone()))?;
    disk.sync_dir("")
        .map_err(Failure::on("fsync", disk.root().to_path_buf()))?;
    pool.adopt(&*disk, &names)?;

    let active = Active {
        segment: Arc::clone(last),
        ending: stop.ending,
        synced: stop.ending.end,
    };
    let segments = found
        .iter()
        .map(|(segment, _)| (segment.sequence, Arc::clone(segment)));
    let index = Index {
        groups: replay.indexes,
        segments: segments.collect(),
    };
    let mut log = BinaryLog {
        disk,
        identity: options.identity,
        groups: replay.groups,
        shared: Arc::new(Shared::new(index)),
        active,
        closed,
        pool,
        staged: Staged::default(),
        reclaim_due: true,
        poison: None,
        _lock: lock,
    };
    drop(found);
    log.begin_opening(replay.openings + 1)?;
    let identity = options.identity;
    Ok(Opened {
        log: Box::new(log),
        groups,
        identity,
        torn_bytes: stop.torn_bytes,
    })
}

/// Opens all segments and checks their headers.
fn open_segments(
    disk: &dyn Disk,
    names: &[String],
    identity: Identity,
) -> Result<Vec<(Arc<Segment>, SegmentHeader)>, OpenError> {
    let mut found: Vec<(Arc<Segment>, SegmentHeader)> = Vec::new();
    for name in names {
        let Some(sequence) = segment_sequence(name) else {
            continue;
        };
        let expected = found
            .last()
            .map_or(sequence, |(before, _)| before.sequence + 1);
        if sequence != expected {
            return Err(missing_segment(disk, expected).into());
        }
        let file = disk
            .open(name)
            .map_err(Failure::on("open", disk.path(name)))?;
        let (header, salt) = read_header(disk, name, &*file)?;
        check_header(disk, name, &header, sequence, identity)?;
        let size = file
            .size()
            .map_err(Failure::on("read the size of", disk.path(name)))?;
        if size < u64::from(header.bytes) {
            return Err(OpenError::Corrupt(CorruptError {
                file: disk.path(name),
                offset: size,
                expected: format!("a file of {} bytes", header.bytes).into(),
                found: "its end".into(),
            }));
        }
        let segment = Segment {
            sequence,
            file,
            path: disk.path(name),
            name: name.clone(),
            salt,
            bytes: header.bytes,
        };
        found.push((Arc::new(segment), header));
    }
    if found.is_empty() {
        return Err(missing_segment(disk, 1).into());
    }
    Ok(found)
}

fn missing_segment(disk: &dyn Disk, sequence: u64) -> CorruptError {
    CorruptError {
        file: disk.path(&segment_name(sequence)),
        offset: 0,
        expected: "a segment of the log".into(),
        found: "no such file".into(),
    }
}

/// The header of a segment's file and its salt.
pub(super) fn read_header(
    disk: &dyn Disk,
    name: &str,
    file: &dyn DiskFile,
) -> Result<(SegmentHeader, u32), OpenError> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    read_full_at(file, &mut bytes, 0).map_err(Failure::on("read", disk.path(name)))?;
    SegmentHeader::parse(&bytes).map_err(|fault| {
        let found = match fault {
            HeaderFault::Magic => "something that is no segment of a log",
            HeaderFault::Checksum => "a header with a wrong checksum",
            HeaderFault::Version(found) => {
                let file = disk.path(name);
                return OpenError::NewerVersion {
                    file,
                    found,
                    known: VERSION,
                };
            }
        };
        OpenError::Corrupt(CorruptError {
            file: disk.path(name),
            offset: 0,
            expected: "the header of a segment".into(),
            found: found.into(),
        })
    })
}

fn check_header(
    disk: &dyn Disk,
    name: &str,
    header: &SegmentHeader,
    sequence: u64,
    identity: Identity,
) -> Result<(), OpenError> {
    if header.identity == identity && header.sequence == sequence {
        return Ok(());
    }
    Err(OpenError::Corrupt(CorruptError {
        file: disk.path(name),
        offset: 16,
        expected: format!("segment {sequence} of {identity}").into(),
        found: format!("segment {} of {}", header.sequence, header.identity).into(),
    }))
}

/// Replays all segments: how the last one ends, and where the records of the others end.
fn replay_all(
    replay: &mut Replay,
    found: &[(Arc<Segment>, SegmentHeader)],
) -> Result<(Stop, BTreeMap<u64, u32>), OpenError> {
    let mut content = Vec::new();
    let mut closed = BTreeMap::new();
    for (at, (segment, _)) in found.iter().enumerate() {
        let next = found.get(at + 1).map(|(_, header)| header.previous);
        let count = next.map_or(segment.bytes, |ending| ending.end.min(segment.bytes));
        content.resize(count as usize, 0);
        let filled = read_full_at(&*segment.file, &mut content, 0)
            .map_err(Failure::on("read", segment.path.clone()))?;
        content.truncate(filled);
        let stop = replay.segment(segment, &content)?;
        let Some(ending) = next else {
            check_last(segment, &content, &stop)?;
            return Ok((stop, closed));
        };
        check_closed(segment, &stop, ending)?;
        closed.insert(segment.sequence, ending.end);
    }
    unreachable!("the last segment has no next one")
}

/// A segment that isn't the last one ends exactly where the next one says.
fn check_closed(segment: &Segment, stop: &Stop, expected: Ending) -> Result<(), CorruptError> {
    if stop.ending == expected {
        return Ok(());
    }
    Err(CorruptError {
        file: segment.path.clone(),
        offset: u64::from(stop.ending.end),
        expected: format!(
            "records linked to each other up to byte {} (the next segment says so)",
            expected.end
        )
        .into(),
        found: "a damaged record".into(),
    })
}

/// The last segment may end in a torn write, but not before what is known to have been durable.
fn check_last(segment: &Segment, content: &[u8], stop: &Stop) -> Result<(), CorruptError> {
    let end = stop.ending.end;
    let evidence = match find_evidence(segment, content, end) {
        None if stop.synced > end => Some((end, stop.synced)),
        other => other,
    };
    let Some((at, synced)) = evidence else {
        return Ok(());
    };
    Err(CorruptError {
        file: segment.path.clone(),
        offset: u64::from(end),
        expected: format!(
            "a whole record (the one at byte {at} says that all before byte {synced} was durable)"
        )
        .into(),
        found: "a damaged record".into(),
    })
}

fn recovered_groups(
    replay: &mut Replay,
    oldest: &Segment,
) -> Result<BTreeMap<GroupId, Recovered>, OpenError> {
    replay.recovered().map_err(|(group, index)| {
        OpenError::Corrupt(CorruptError {
            file: oldest.path.clone(),
            offset: u64::from(SEGMENT_HEADER_BYTES),
            expected: format!("entry {index} of {group}").into(),
            found: "only later entries: an older segment is missing".into(),
        })
    })
}

impl BinaryLog {
    /// Writes a record that makes the chain from here on different from all that was written
    /// before: what a crash has left behind the end can never become part of it.
    fn begin_opening(&mut self, number: u64) -> Result<(), OpenError> {
        let fail = |error| match error {
            WalError::Poisoned(cause) => match Arc::try_unwrap(cause) {
                Ok(cause) => OpenError::Io {
                    action: cause.action,
                    path: cause.path,
                    source: cause.source,
                },
                Err(cause) => OpenError::Io {
                    action: cause.action,
                    path: cause.path.clone(),
                    source: std::io::Error::new(cause.source.kind(), cause.source.to_string()),
                },
            },
            other => unreachable!("opening writes no entries: {other}"),
        };
        let spare = self.pool.segment_bytes();
        let room = self.active.segment.bytes - self.active.ending.end;
        let reserved = self.pool.reserve(&*self.disk, &[spare]);
        let is_needed = u64::from(room) < record_bytes(8);
        match reserved {
            Ok(()) => {}
            // The reserve can wait until there is room again.
            Err(failure) if failure.is_disk_full() && !is_needed => {}
            Err(failure) if failure.is_disk_full() => {
                return Err(OpenError::DiskFull {
                    dir: self.disk.root().to_path_buf(),
                    wanted: ByteSize::bytes(u64::from(spare)),
                    source: failure.source,
                });
            }
            Err(failure) => return Err(failure.into()),
        }
        if is_needed {
            // The header of a new segment does the same.
            return self.rotate(spare).map_err(fail);
        }
        self.write_opening(number).map_err(fail)
    }

    fn write_opening(&mut self, number: u64) -> Result<(), WalError> {
        let Active {
            segment,
            ending,
            synced,
        } = &mut self.active;
        let body = number.to_le_bytes();
        let header = Header::seal(Kind::Opened, &body, ending.link, *synced, segment.salt);
        let mut record = header.to_bytes().to_vec();
        record.extend_from_slice(&body);
        let written = segment.file.write_all_at(&record, u64::from(ending.end));
        let end = ending.end + u32::try_from(record.len()).expect("a few bytes");
        *ending = Ending {
            end,
            link: header.link,
        };
        let path = segment.path.clone();
        written.map_err(|source| {
            self.poisoned(Failure {
                action: "write",
                path,
                source,
            })
        })?;
        self.sync_active()
    }
}
