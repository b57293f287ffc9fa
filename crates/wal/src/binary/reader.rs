//! Reading entries while the log is being written.
//!
//! The lock is held only to look up where the entries are. The bytes themselves never change after
//! that: records are not overwritten, and a segment that somebody reads is unlinked, not recycled.

use std::sync::Arc;

use stdx::{GroupId, LogIndex};

use super::index::{Position, Shared};
use super::record::{Body, GROUP_BYTES, HEADER_BYTES, Header, Kind, group_of};
use super::segment::Segment;
use crate::disk::read_full_at;
use crate::error::{CorruptError, ReadError};
use crate::limits::READ_BYTES;
use crate::log::{LogEntry, LogReader};

/// Reads entries of all groups.
#[derive(Debug)]
pub(super) struct BinaryReader {
    shared: Arc<Shared>,
}

impl BinaryReader {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Where the entries are, as of one moment.
    fn spans(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Span>, ReadError> {
        let index = self.shared.read();
        let found = index.groups.get(&group);
        let (base, last) = found.map_or_else(Default::default, |found| (found.base, found.last));
        if from <= base {
            return Err(ReadError::Compacted { group, base });
        }
        let Some(found) = found.filter(|_| from <= to && to <= last) else {
            return Err(ReadError::OutOfRange {
                group,
                from,
                to,
                first: base.next(),
                last,
            });
        };
        let spans = found
            .spans(from, to, bytes_max)
            .map(|(position, through)| Span {
                segment: Arc::clone(&index.segments[&position.sequence]),
                position,
                through,
            });
        Ok(spans.collect())
    }
}

impl LogReader for BinaryReader {
    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let mut wanted = Wanted {
            group,
            next: from,
            entries: Vec::new(),
            room: bytes_max,
        };
        let spans = self.spans(group, from, to, bytes_max)?;
        let mut window: Option<Window<'_>> = None;
        for span in &spans {
            let same = window
                .take()
                .filter(|window| window.segment.sequence == span.sequence());
            let window =
                window.insert(same.unwrap_or_else(|| Window::new(&span.segment, bytes_max)));
            if !wanted.read_span(span, window)? {
                break;
            }
        }
        assert!(
            !wanted.entries.is_empty(),
            "at least one entry is always returned"
        );
        Ok(wanted.entries)
    }
}

/// Consecutive entries through `through` that lie behind `position`.
#[derive(Debug)]
struct Span {
    segment: Arc<Segment>,
    position: Position,
    through: LogIndex,
}

impl Span {
    const fn sequence(&self) -> u64 {
        self.position.sequence
    }
}

/// What is being collected.
#[derive(Debug)]
struct Wanted {
    group: GroupId,
    next: LogIndex,
    entries: Vec<LogEntry>,
    room: usize,
}

impl Wanted {
    /// Collects from one span; false when there is no more room.
    fn read_span(&mut self, span: &Span, window: &mut Window<'_>) -> Result<bool, ReadError> {
        let mut offset = u64::from(span.position.offset);
        while self.next <= span.through {
            let header = window.header(offset)?;
            let body_offset = offset + HEADER_BYTES as u64;
            if header.kind == Kind::Append
                && group_of(window.bytes(body_offset, GROUP_BYTES)?) == Some(self.group)
            {
                let body = window.bytes(body_offset, header.body_bytes as usize)?;
                if crc32c::crc32c(body) != header.body_crc {
                    return Err(window
                        .corrupt(offset, "a record with the right checksum")
                        .into());
                }
                if !self.take_from(body, span.through).ok_or_else(|| {
                    window.corrupt(offset, "a record of entries that follow on each other")
                })? {
                    return Ok(false);
                }
            }
            offset += header.record_bytes();
        }
        Ok(true)
    }

    /// Takes the wanted entries of one record: false when there is no more room, `None` if the
    /// record isn't what the index promised.
    fn take_from(&mut self, body: &[u8], through: LogIndex) -> Option<bool> {
        let mut entries = Body::parse(body)?.entries;
        while let Some(entry) = entries.take_next() {
            let entry = entry.ok()?;
            if entry.index < self.next {
                continue;
            }
            if entry.index > through {
                break;
            }
            if entry.index > self.next {
                return None;
            }
            match self.room.checked_sub(entry.payload.len()) {
                Some(room) => self.room = room,
                None if self.entries.is_empty() => self.room = 0,
                None => return Some(false),
            }
            self.entries.push(entry.to_entry());
            self.next = entry.index.next();
        }
        Some(true)
    }
}

/// A part of a segment in memory.
#[derive(Debug)]
struct Window<'a> {
    segment: &'a Segment,
    start: u64,
    buffer: Vec<u8>,
    /// How much to read at once.
    step: usize,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment, bytes_max: usize) -> Self {
        const LEAST: usize = 32 << 10;
        let step = bytes_max.saturating_add(LEAST / 2).clamp(LEAST, READ_BYTES);
        Self {
            segment,
            start: 0,
            buffer: Vec::new(),
            step,
        }
    }

    /// The bytes at this place, read if necessary.
    fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], ReadError> {
        let end = offset + count as u64;
        if end > u64::from(self.segment.bytes) {
            return Err(self.corrupt(offset, "a record inside the segment").into());
        }
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            self.buffer.resize(count.max(self.step), 0);
            let filled =
                read_full_at(&*self.segment.file, &mut self.buffer, offset).map_err(|source| {
                    ReadError::Io {
                        path: self.segment.path.clone(),
                        source,
                    }
                })?;
            self.buffer.truncate(filled);
            self.start = offset;
            if filled < count {
                return Err(self.corrupt(offset, "a longer file").into());
            }
        }
        let from = usize::try_from(offset - self.start).expect("inside the buffer");
        Ok(&self.buffer[from..from + count])
    }

    fn header(&mut self, offset: u64) -> Result<Header, ReadError> {
        let salt = self.segment.salt;
        let bytes = self.bytes(offset, HEADER_BYTES)?;
        let header = Header::parse(bytes, salt);
        header.ok_or_else(|| self.corrupt(offset, "the header of a record").into())
    }

    fn corrupt(&self, offset: u64, expected: &str) -> CorruptError {
        CorruptError {
            file: self.segment.path.clone(),
            offset,
            expected: expected.into(),
            found: "something else".into(),
        }
    }
}
