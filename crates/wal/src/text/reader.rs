//! Reading entries while the log is being written.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use stdx::{GroupId, LogIndex};

use super::group::LogFile;
use super::line::Line;
use super::payload::PayloadText;
use crate::disk::read_full_at;
use crate::error::{CorruptError, ReadError};
use crate::limits::READ_BYTES;
use crate::log::{LogEntry, LogReader};

/// The files of all groups as of the last write. A reader works on the file that it found, even
/// when that is replaced meanwhile.
#[derive(Debug, Default)]
pub(super) struct Shared {
    files: RwLock<BTreeMap<GroupId, Arc<LogFile>>>,
}

impl Shared {
    pub(super) fn publish(&self, group: GroupId, file: LogFile) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.insert(group, Arc::new(file));
    }

    fn find(&self, group: GroupId) -> Option<Arc<LogFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.get(&group).map(Arc::clone)
    }
}

/// Reads entries of all groups.
#[derive(Debug)]
pub(super) struct TextReader {
    pub(super) shared: Arc<Shared>,
    pub(super) payloads: Arc<dyn PayloadText>,
}

impl LogReader for TextReader {
    fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let log = self.shared.find(group);
        let (base, last) = log
            .as_ref()
            .map_or_else(Default::default, |log| (log.base, log.last));
        if from <= base {
            return Err(ReadError::Compacted { group, base });
        }
        let point = log.as_ref().and_then(|log| log.point(from));
        let (Some(log), Some(point)) = (log, point.filter(|_| from <= to && to <= last)) else {
            return Err(ReadError::OutOfRange {
                group,
                from,
                to,
                first: base.next(),
                last,
            });
        };
        let mut lines = Lines::new(&log, point.offset, point.link);
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut room = bytes_max;
        let mut next = from;
        while next <= to {
            let offset = lines.offset;
            let Some(entry) = lines.next_entry(&*self.payloads)? else {
                return Err(lines.corrupt(offset).into());
            };
            if entry.index < from {
                continue;
            }
            match room.checked_sub(entry.payload.len()) {
                Some(left) => room = left,
                None if entries.is_empty() => room = 0,
                None => break,
            }
            next = entry.index.next();
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// The lines of a file from some offset on.
#[derive(Debug)]
struct Lines<'a> {
    log: &'a LogFile,
    /// Of the next line.
    offset: u64,
    link: u32,
    buffer: Vec<u8>,
    used: usize,
}

impl<'a> Lines<'a> {
    const fn new(log: &'a LogFile, offset: u64, link: u32) -> Self {
        Self {
            log,
            offset,
            link,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// The next entry; `None` if the line is damaged.
    fn next_entry(&mut self, payloads: &dyn PayloadText) -> Result<Option<LogEntry>, ReadError> {
        let Some(count) = self.next_line()? else {
            return Ok(None);
        };
        let Some(line) = Line::parse(&self.buffer[self.used..self.used + count], self.link) else {
            return Ok(None);
        };
        let entry = line.entry(payloads);
        self.link = line.link;
        self.used += count + 1;
        self.offset += count as u64 + 1;
        Ok(entry)
    }

    /// Bytes of the next line without its line feed, read if necessary; `None` at the end.
    fn next_line(&mut self) -> Result<Option<usize>, ReadError> {
        loop {
            let rest = &self.buffer[self.used..];
            if let Some(count) = rest.iter().position(|&byte| byte == b'\n') {
                return Ok(Some(count));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            let start = self.buffer.len();
            let from = self.offset + start as u64;
            let left = usize::try_from(self.log.end.saturating_sub(from)).unwrap_or(READ_BYTES);
            self.buffer.resize(start + left.min(READ_BYTES), 0);
            let filled = read_full_at(&*self.log.file, &mut self.buffer[start..], from).map_err(
                |source| ReadError::Io {
                    path: self.log.path.clone(),
                    source,
                },
            )?;
            self.buffer.truncate(start + filled);
            if filled == 0 {
                return Ok(None);
            }
        }
    }

    fn corrupt(&self, offset: u64) -> CorruptError {
        CorruptError {
            file: self.log.path.clone(),
            offset,
            expected: "a line with the right checksum".into(),
            found: "a damaged line".into(),
        }
    }
}
