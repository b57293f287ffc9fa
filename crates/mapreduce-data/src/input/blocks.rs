//! Whole records in large pieces.
//!
//! A split is read through one buffer, a large read at a time. What is handed out are blocks of
//! whole records; the rest of the last one moves to the front of the buffer.

use std::io::Read;

use memchr::{memchr, memchr_iter, memrchr};

use crate::digest::{Digest, StreamDigest};
use crate::error::InputError;
use crate::input::source;
use crate::limits;
use crate::split::{Compression, Format, Split};

/// How much is read at once: large enough that the call costs nothing, small enough for the cache.
const READ_BYTES: usize = 512 << 10;

/// How records end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    /// At line feeds.
    Lines,
    /// At line feeds that are not within quotes.
    Quoted,
}

/// Some whole records.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// With their ends.
    pub(crate) bytes: &'a [u8],
    /// Of the first byte, in the decompressed file.
    position: u64,
    ends: Ends,
    /// Lines without anything are no records.
    skip_blank: bool,
}

impl<'a> Block<'a> {
    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        if self.ends == Ends::Quoted || self.skip_blank {
            return self.records().count() as u64;
        }
        let ends = memchr_iter(b'\n', self.bytes).count() as u64;
        ends + u64::from(self.bytes.last().is_some_and(|last| *last != b'\n'))
    }

    /// Each record's position, counted in decompressed bytes of the file, and its bytes without
    /// their end.
    pub fn records(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let Self {
            bytes,
            position,
            ends,
            skip_blank,
        } = *self;
        let mut at = 0;
        core::iter::from_fn(move || {
            loop {
                let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
                let end = match ends {
                    Ends::Lines => memchr(b'\n', rest),
                    Ends::Quoted => quoted_end(rest),
                };
                let len = end.unwrap_or(rest.len());
                let start = position + at as u64;
                at += len + 1;
                let record = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]);
                if skip_blank && record.trim_ascii().is_empty() {
                    continue;
                }
                return Some((start, record));
            }
        })
    }
}

/// The first line feed that is not within quotes.
fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let mut within = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => within = !within,
            b'\n' if !within => return Some(at),
            _ => {}
        }
    }
    None
}

/// After the last record that is whole.
fn whole(ends: Ends, bytes: &[u8]) -> Option<usize> {
    match ends {
        Ends::Lines => memrchr(b'\n', bytes).map(|at| at + 1),
        Ends::Quoted => {
            let (mut within, mut end) = (false, None);
            for (at, byte) in bytes.iter().enumerate() {
                match byte {
                    b'"' => within = !within,
                    b'\n' if !within => end = Some(at + 1),
                    _ => {}
                }
            }
            end
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Reading,
    Done,
}

/// Reads the records of a split, a block at a time.
pub struct Reader {
    source: Box<dyn Read>,
    location: String,
    ends: Ends,
    skip_blank: bool,
    buffer: Vec<u8>,
    /// What was handed out, at the front of `buffer`.
    used: usize,
    /// What is in `buffer`.
    filled: usize,
    /// Of the start of `buffer` in the decompressed file.
    position: u64,
    /// Records that start here or later belong to another split.
    end: u64,
    /// The start of the first record is still to be found.
    unaligned: bool,
    header: bool,
    state: State,
    digest: StreamDigest,
}

impl core::fmt::Debug for Reader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("location", &self.location)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a split.
    ///
    /// # Errors
    ///
    /// When it can't be opened.
    pub fn open(split: &Split) -> Result<Self, InputError> {
        // The byte before tells whether a record starts with the split. Rows start with theirs.
        let start = match split.format {
            Format::Parquet => 0,
            _ => split.start.saturating_sub(1),
        };
        Ok(Self::over(source::open(split, start)?, split, start))
    }

    /// Reads a split from its bytes, which begin at `start`.
    pub(crate) fn over(source: Box<dyn Read>, split: &Split, start: u64) -> Self {
        let packed = split.compression != Compression::None;
        let rows = split.format == Format::Parquet;
        let (ends, header) = match &split.format {
            Format::Csv(csv) if csv.multiline => (Ends::Quoted, csv.header),
            Format::Csv(csv) => (Ends::Lines, csv.header),
            Format::Text | Format::JsonLines | Format::Parquet => (Ends::Lines, false),
        };
        Self {
            source,
            location: split.location.clone(),
            ends,
            skip_blank: split.format == Format::JsonLines,
            buffer: vec![0; READ_BYTES],
            used: 0,
            filled: 0,
            position: start,
            end: if packed || rows {
                u64::MAX
            } else {
                split.start + split.len
            },
            unaligned: split.start > 0 && !rows,
            header: header && split.start == 0,
            state: if split.len == 0 {
                State::Done
            } else {
                State::Reading
            },
            digest: StreamDigest::new(),
        }
    }

    /// Of the records that were handed out.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.finish()
    }

    /// The next records; `None` after the last.
    ///
    /// # Errors
    ///
    /// When it can't be read, or has a record that is too long.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, InputError> {
        loop {
            if self.state == State::Done {
                return Ok(None);
            }
            let Some((start, end)) = self.find_block()? else {
                continue;
            };
            self.used = end;
            if start == end {
                continue;
            }
            let block = Block {
                bytes: &self.buffer[start..end],
                position: self.position + start as u64,
                ends: self.ends,
                skip_blank: self.skip_blank,
            };
            if end - start > limits::RECORD_BYTES_MAX {
                self.check_lengths(&block)?;
            }
            self.digest.update(block.bytes);
            return Ok(Some(Block {
                bytes: &self.buffer[start..end],
                ..block
            }));
        }
    }

    #[cold]
    fn check_lengths(&self, block: &Block<'_>) -> Result<(), InputError> {
        let mut records = block.records();
        let long = records.find(|(_, record)| record.len() > limits::RECORD_BYTES_MAX);
        long.map_or(Ok(()), |(offset, _)| Err(self.too_long(offset)))
    }

    fn too_long(&self, offset: u64) -> InputError {
        InputError::RecordTooLong {
            location: self.location.clone(),
            offset,
            limit: limits::RECORD_BYTES_MAX,
        }
    }

    /// Reads on, and finds whole records in the buffer.
    fn find_block(&mut self) -> Result<Option<(usize, usize)>, InputError> {
        let more = self.fill()?;
        let filled = &self.buffer[..self.filled];
        let mut start = 0;
        if self.unaligned {
            let Some(at) = memchr(b'\n', filled) else {
                // All of it belongs to the split before.
                self.used = self.filled;
                if !more || self.position + self.used as u64 >= self.end {
                    self.state = State::Done;
                }
                return Ok(None);
            };
            start = at + 1;
            self.unaligned = false;
        }
        if self.header {
            match memchr(b'\n', &filled[start..]) {
                Some(at) => start += at + 1,
                None if more => return self.grow(start).map(|()| None),
                None => start = self.filled,
            }
            self.header = false;
        }
        if self.position + start as u64 >= self.end {
            self.state = State::Done;
            return Ok(None);
        }
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        if room <= self.filled {
            // The last record of the split starts before `room`; it ends with the first end at or
            // after its last byte.
            let rest = &filled[room - 1..];
            if let Some(at) = memchr(b'\n', rest) {
                self.state = State::Done;
                return Ok(Some((start, room + at)));
            }
        }
        if !more {
            self.state = State::Done;
            return Ok(Some((start, self.filled)));
        }
        match whole(self.ends, &filled[start..]) {
            Some(len) => Ok(Some((start, start + len))),
            None => self.grow(start).map(|()| None),
        }
    }

    /// Makes the buffer larger: it holds no whole record.
    fn grow(&mut self, start: usize) -> Result<(), InputError> {
        if self.filled - start > limits::RECORD_BYTES_MAX {
            return Err(self.too_long(self.position + start as u64));
        }
        self.used = start;
        if start == 0 && self.filled == self.buffer.len() {
            let len = (2 * self.buffer.len()).min(limits::RECORD_BYTES_MAX + READ_BYTES);
            self.buffer.resize(len, 0);
        }
        Ok(())
    }

    /// Moves what is left to the front and fills the buffer; false at the end of the input.
    fn fill(&mut self) -> Result<bool, InputError> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.position += self.used as u64;
        self.used = 0;
        while self.filled < self.buffer.len() {
            let read = self.source.read(&mut self.buffer[self.filled..]);
            match read {
                Ok(0) => return Ok(false),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
            if self.position + self.filled as u64 > self.end {
                break;
            }
        }
        Ok(true)
    }

    #[cold]
    fn failed(&self, source: std::io::Error) -> InputError {
        InputError::Io {
            location: format!(
                "{} after byte {}",
                self.location,
                self.position + self.filled as u64
            ),
            source,
        }
    }
}
