//! Writing: a batch is staged in one buffer, then put on the disk with one write.

use std::ops::Range;
use std::sync::Arc;

use stdx::{ByteSize, GroupId, LogIndex};

use super::index::Position;
use super::record::{HEADER_BYTES, Header, Kind, Part, record_bytes};
use super::replay::Group;
use super::segment::{Ending, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{Active, BinaryLog, Failure, Reserve};
use crate::error::WalError;
use crate::limits::{BUFFER_KEPT_BYTES, RECORD_BYTES_MAX};
use crate::log::{Append, Base, LogEntry};
use crate::shape::BaseRule;

/// Encoded records that are not yet written, and how to forget them.
#[derive(Debug, Default)]
pub(super) struct Staged {
    buffer: Vec<u8>,
    records: Vec<StagedRecord>,
    /// What the groups looked like before, in the order of the changes.
    undo: Vec<(GroupId, Option<Group>)>,
}

#[derive(Debug)]
struct StagedRecord {
    group: GroupId,
    /// Header, body and padding in the buffer.
    start: usize,
    body_bytes: usize,
    extent: Option<(LogIndex, LogIndex)>,
    has_vote: bool,
    base: Option<(LogIndex, BaseRule)>,
}

impl StagedRecord {
    fn bytes(&self) -> u32 {
        u32::try_from(record_bytes(self.body_bytes)).expect("RECORD_BYTES_MAX fits 32 bits")
    }
}

impl Staged {
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.records.clear();
        self.undo.clear();
    }

    /// Encodes a record; its header is filled in when its place is known.
    fn push(&mut self, part: &Part<'_>) -> Result<(), WalError> {
        let body_bytes = part.body_bytes();
        let bytes = record_bytes(body_bytes);
        if bytes > RECORD_BYTES_MAX {
            return Err(WalError::TooLarge {
                group: part.group,
                bytes: ByteSize::bytes(bytes),
                bytes_max: ByteSize::bytes(RECORD_BYTES_MAX),
            });
        }
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER_BYTES, 0);
        part.encode(&mut self.buffer);
        let end = start + usize::try_from(bytes).expect("RECORD_BYTES_MAX fits 32 bits");
        self.buffer.resize(end, 0);
        self.records.push(StagedRecord {
            group: part.group,
            start,
            body_bytes,
            extent: part
                .entries
                .first()
                .zip(part.entries.last())
                .map(|(a, b)| (a.index, b.index)),
            has_vote: part.vote.is_some(),
            base: part.base.map(|(base, rule)| (base.index, rule)),
        });
        Ok(())
    }
}

impl BinaryLog {
    /// Checks and encodes a batch and updates the groups.
    pub(super) fn stage_all(&mut self, batch: &[Append<'_>]) -> Result<(), WalError> {
        for append in batch {
            self.stage(append)?;
        }
        Ok(())
    }

    fn stage(&mut self, append: &Append<'_>) -> Result<(), WalError> {
        let before = self.groups.get(&append.group);
        self.staged.undo.push((append.group, before.cloned()));
        let group = self.groups.entry(append.group).or_default();
        let base = append
            .base
            .as_ref()
            .filter(|base| base.index > group.shape.base());
        let base = base.map(|base| (base, group.shape.base_rule(base.index, base.term)));
        if let Some((base, rule)) = base {
            group.shape.rebase(base.index, base.term, rule);
            group.base = base.clone();
        }
        let gap = |(expected, found)| WalError::Gap {
            group: append.group,
            expected,
            found,
        };
        group.shape.check(append.entries).map_err(gap)?;
        for entry in append.entries {
            group.shape.push(entry.index, entry.term);
        }
        group.vote = append.vote.unwrap_or(group.vote);
        if append.vote.is_none() && base.is_none() && append.entries.is_empty() {
            return Ok(());
        }
        self.reclaim_due |= base.is_some();
        let Append {
            group,
            vote,
            entries,
            ..
        } = *append;
        self.staged.push(&Part {
            group,
            vote,
            base,
            entries,
        })
    }

    /// Encodes the record of a compaction, unless there is nothing to compact.
    pub(super) fn stage_compaction(&mut self, id: GroupId, base: &Base) -> Result<(), WalError> {
        let Some(group) = self
            .groups
            .get_mut(&id)
            .filter(|group| base.index > group.shape.base())
        else {
            return Ok(());
        };
        self.staged.undo.push((id, Some(group.clone())));
        let within = base.index <= group.shape.last();
        let rule = if within {
            BaseRule::Keep
        } else {
            BaseRule::Reset
        };
        group.shape.rebase(base.index, base.term, rule);
        group.base = base.clone();
        self.reclaim_due = true;
        let base = Some((base, rule));
        self.staged.push(&Part {
            group: id,
            vote: None,
            base,
            entries: &[],
        })
    }

    /// Encodes a record that says everything about a group again, so that no older segment is
    /// needed for it.
    pub(super) fn stage_carried(
        &mut self,
        id: GroupId,
        entries: &[LogEntry],
    ) -> Result<(), WalError> {
        let Some(group) = self.groups.get(&id) else {
            return Ok(());
        };
        let rule = if entries.is_empty() {
            BaseRule::Keep
        } else {
            BaseRule::Reset
        };
        let stated = group.base_segment.is_some() || !entries.is_empty();
        let base = stated.then_some((&group.base, rule));
        self.staged.push(&Part {
            group: id,
            vote: Some(group.vote),
            base,
            entries,
        })
    }

    /// Forgets what was staged.
    pub(super) fn unstage(&mut self) {
        while let Some((id, before)) = self.staged.undo.pop() {
            match before {
                Some(group) => self.groups.insert(id, group),
                None => self.groups.remove(&id),
            };
        }
        self.staged.clear();
    }

    /// Puts everything staged on the disk: one write, unless a segment fills up in between.
    pub(super) fn write_staged(&mut self, reserve: Reserve) -> Result<(), WalError> {
        self.reserve(reserve)?;
        let mut from = 0;
        while from < self.staged.records.len() {
            let fitting = self.fitting(from);
            if fitting == from {
                let bytes = self.staged.records[from].bytes();
                self.rotate(self.segment_bytes_for(bytes))?;
            } else {
                self.write_records(from..fitting)?;
                from = fitting;
            }
        }
        Ok(())
    }

    /// Allocates all segments that the staged records will need, before any of them is written.
    fn reserve(&mut self, reserve: Reserve) -> Result<(), WalError> {
        let mut wanted = Vec::new();
        let mut room = self.active.segment.bytes - self.active.ending.end;
        for record in &self.staged.records {
            let bytes = record.bytes();
            if bytes > room {
                let segment_bytes = self.segment_bytes_for(bytes);
                wanted.push(segment_bytes);
                room = segment_bytes - SEGMENT_HEADER_BYTES;
            }
            room -= bytes;
        }
        if wanted.is_empty() {
            return Ok(());
        }
        if reserve == Reserve::Keep {
            wanted.push(self.pool.segment_bytes());
        }
        self.pool.reserve(&*self.disk, &wanted).map_err(|failure| {
            if failure.is_disk_full() {
                self.disk_full(wanted.iter().copied().map(u64::from).sum(), failure)
            } else {
                self.poisoned(failure)
            }
        })
    }

    fn segment_bytes_for(&self, record: u32) -> u32 {
        self.pool.segment_bytes().max(SEGMENT_HEADER_BYTES + record)
    }

    /// The end of the staged records, from one on, that fit the active segment.
    fn fitting(&self, from: usize) -> usize {
        let mut room = self.active.segment.bytes - self.active.ending.end;
        let records = &self.staged.records[from..];
        let fits = records
            .iter()
            .take_while(|record| match room.checked_sub(record.bytes()) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            });
        from + fits.count()
    }

    /// Writes records that fit the active segment.
    fn write_records(&mut self, range: Range<usize>) -> Result<(), WalError> {
        let Active {
            segment,
            ending,
            synced,
        } = &self.active;
        let mut after = *ending;
        let buffer = &mut self.staged.buffer;
        for record in &self.staged.records[range.clone()] {
            let body_start = record.start + HEADER_BYTES;
            let body = &buffer[body_start..body_start + record.body_bytes];
            let header = Header::seal(Kind::Append, body, after.link, *synced, segment.salt);
            buffer[record.start..body_start].copy_from_slice(&header.to_bytes());
            after = Ending {
                end: after.end + record.bytes(),
                link: header.link,
            };
        }
        let start = self.staged.records[range.start].start;
        let bytes = &buffer[start..start + (after.end - ending.end) as usize];
        if let Err(source) = segment.file.write_all_at(bytes, u64::from(ending.end)) {
            let path = segment.path.clone();
            return Err(self.poisoned(Failure {
                action: "write",
                path,
                source,
            }));
        }
        self.index_records(range);
        self.active.ending = after;
        Ok(())
    }

    /// Tells the readers, and notes which segment says what.
    fn index_records(&mut self, range: Range<usize>) {
        let sequence = self.active.segment.sequence;
        let mut offset = self.active.ending.end;
        let mut index = self.shared.write();
        for record in &self.staged.records[range] {
            let group = self.groups.entry(record.group).or_default();
            let group_index = index.groups.entry(record.group).or_default();
            if record.has_vote {
                group.vote_segment = Some(sequence);
            }
            if let Some((base, rule)) = record.base {
                group.base_segment = Some(sequence);
                group_index.rebase(base, rule);
            }
            if let Some((first, last)) = record.extent {
                let position = Position { sequence, offset };
                group_index.append(first, last, position, u64::from(record.bytes()));
            }
            offset += record.bytes();
        }
    }

    /// Makes the active segment durable, once and for all, and begins the next one.
    pub(super) fn rotate(&mut self, segment_bytes: u32) -> Result<(), WalError> {
        self.sync_file()?;
        let header = SegmentHeader {
            identity: self.identity,
            sequence: self.active.segment.sequence + 1,
            previous: self.active.ending,
            bytes: segment_bytes,
        };
        let begun = self.pool.begin(&*self.disk, header);
        let segment = begun.map_err(|failure| self.poisoned(failure))?;
        self.closed
            .insert(self.active.segment.sequence, self.active.ending.end);
        self.shared
            .write()
            .segments
            .insert(segment.sequence, Arc::clone(&segment));
        self.active = Active::at_start_of(segment);
        self.reclaim_due = true;
        Ok(())
    }

    /// Makes everything written durable and leaves a mark behind it that says so.
    pub(super) fn sync_active(&mut self) -> Result<(), WalError> {
        if self.active.synced == self.active.ending.end {
            return Ok(());
        }
        self.sync_file()?;
        let Active {
            segment,
            ending,
            synced,
        } = &self.active;
        if ((segment.bytes - ending.end) as usize) < HEADER_BYTES {
            return Ok(());
        }
        let mark = Header::seal(Kind::Mark, &[], ending.link, *synced, segment.salt);
        let written = segment
            .file
            .write_all_at(&mark.to_bytes(), u64::from(ending.end));
        let path = segment.path.clone();
        written.map_err(|source| {
            self.poisoned(Failure {
                action: "write",
                path,
                source,
            })
        })
    }

    fn sync_file(&mut self) -> Result<(), WalError> {
        if self.active.synced < self.active.ending.end {
            if let Err(source) = self.active.segment.file.sync_data() {
                let path = self.active.segment.path.clone();
                return Err(self.poisoned(Failure {
                    action: "fsync",
                    path,
                    source,
                }));
            }
            self.active.synced = self.active.ending.end;
        }
        Ok(())
    }
}
