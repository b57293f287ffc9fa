//! Reading one extent, pair by pair, from memory or from a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::digest::Digest;
use crate::run::format::{END_BYTES, HEADER_BYTES, Header, Kind, RunError, corrupt, decode_record};

/// How many pairs, their bytes, their digest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

/// Whether the digest is computed and compared while an extent is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Check {
    Digest,
    Counts,
}

#[derive(Debug)]
enum Source {
    Memory,
    File {
        file: Arc<File>,
        start: u64,
        len: u64,
    },
}

/// Reads one extent from its start to its end.
#[derive(Debug)]
pub(crate) struct Cursor {
    source: Source,
    /// The whole extent, where it is in memory.
    memory: Vec<u8>,
    /// The block, where it isn't used in its place.
    block: Vec<u8>,
    stored: Vec<u8>,
    in_place: bool,
    /// In the extent, of the next header.
    offset: u64,
    number: u32,
    /// What is left of the block.
    left: u32,
    /// Of the block within [`Cursor::data`].
    end: usize,
    /// Of the pair.
    key: usize,
    value: usize,
    next: usize,
    check: Check,
    totals: Totals,
}

impl Cursor {
    fn new(source: Source, memory: Vec<u8>, check: Check) -> Self {
        Self {
            source,
            memory,
            block: Vec::new(),
            stored: Vec::new(),
            in_place: false,
            offset: 0,
            number: 0,
            left: 0,
            end: 0,
            key: 0,
            value: 0,
            next: 0,
            check,
            totals: Totals::default(),
        }
    }

    /// Over an extent in memory.
    pub(crate) fn in_memory(bytes: Vec<u8>, check: Check) -> Self {
        Self::new(Source::Memory, bytes, check)
    }

    /// Over an extent in a file.
    pub(crate) fn in_file(file: Arc<File>, start: u64, len: u64, check: Check) -> Self {
        Self::new(Source::File { file, start, len }, Vec::new(), check)
    }

    #[inline]
    fn data(&self) -> &[u8] {
        if self.in_place {
            &self.memory
        } else {
            &self.block
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.data()[self.key..self.value]
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        &self.data()[self.value..self.next]
    }

    /// What was read so far; at the end, the totals of the extent.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Goes to the next pair; false after the last.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, RunError> {
        if self.left == 0 && !self.next_block()? {
            return Ok(false);
        }
        let data = &self.data()[..self.end];
        let Some((key, value, next)) = decode_record(data, self.next) else {
            return Err(corrupt(self.offset, "a pair is not whole"));
        };
        let digest = match self.check {
            Check::Digest => Digest::of_joined(&data[key..next], value - key),
            Check::Counts => Digest::EMPTY,
        };
        self.totals.digest.add(digest);
        self.totals.records += 1;
        self.totals.bytes += (next - key) as u64;
        self.left -= 1;
        (self.key, self.value, self.next) = (key, value, next);
        Ok(true)
    }

    /// False after the end block.
    #[cold]
    fn next_block(&mut self) -> Result<bool, RunError> {
        if self.next != self.end {
            return Err(corrupt(self.offset, "a block holds more than its pairs"));
        }
        let at = self.offset;
        let mut bytes = [0; HEADER_BYTES];
        self.read_header(&mut bytes)?;
        let header = Header::decode(&bytes, self.number, at)?;
        let stored = header.stored as usize;
        self.number = self.number.wrapping_add(1);
        self.offset = at + (HEADER_BYTES + stored) as u64;
        self.load(&bytes, &header, at)?;
        if header.kind == Kind::End {
            return self.finish(at);
        }
        if header.records == 0 {
            return Err(corrupt(at, "a block without pairs"));
        }
        self.left = header.records;
        Ok(true)
    }

    /// Reads, checks and unpacks a block.
    fn load(
        &mut self,
        bytes: &[u8; HEADER_BYTES],
        header: &Header,
        at: u64,
    ) -> Result<(), RunError> {
        let (stored, unpacked) = (header.stored as usize, header.unpacked as usize);
        let torn = || corrupt(at, "the extent ends within a block");
        let begin = usize::try_from(at)
            .map_err(|_| torn())?
            .saturating_add(HEADER_BYTES);
        match &self.source {
            Source::Memory => {
                let block = self.memory.get(begin..begin.saturating_add(stored));
                let block = block.ok_or_else(torn)?;
                Header::check(bytes, block, at)?;
                if header.kind != Kind::Lz4 {
                    self.in_place = true;
                    (self.next, self.end) = (begin, begin + stored);
                    return Ok(());
                }
                unpack(block, unpacked, &mut self.block, at)?;
            }
            Source::File { file, start, len } => {
                if (begin + stored) as u64 > *len {
                    return Err(torn());
                }
                let packed = header.kind == Kind::Lz4;
                let into = if packed {
                    &mut self.stored
                } else {
                    &mut self.block
                };
                into.resize(stored, 0);
                file.read_exact_at(into, start + begin as u64)?;
                Header::check(bytes, into, at)?;
                if packed {
                    unpack(&self.stored, unpacked, &mut self.block, at)?;
                }
            }
        }
        self.in_place = false;
        (self.next, self.end) = (0, unpacked);
        Ok(())
    }

    fn read_header(&self, bytes: &mut [u8; HEADER_BYTES]) -> Result<(), RunError> {
        let torn = || corrupt(self.offset, "the extent ends without its end block");
        match &self.source {
            Source::Memory => {
                let begin = usize::try_from(self.offset).map_err(|_| torn())?;
                let header = self.memory.get(begin..).and_then(|rest| rest.first_chunk());
                *bytes = *header.ok_or_else(torn)?;
            }
            Source::File { file, start, len } => {
                if self.offset + HEADER_BYTES as u64 > *len {
                    return Err(torn());
                }
                file.read_exact_at(bytes, start + self.offset)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, at: u64) -> Result<bool, RunError> {
        let end = parse_end(&self.data()[self.next..self.end]);
        let matches = match self.check {
            Check::Digest => end == self.totals,
            Check::Counts => (end.records, end.bytes) == (self.totals.records, self.totals.bytes),
        };
        if !matches {
            return Err(corrupt(at, "the totals differ from the pairs"));
        }
        let len = match self.source {
            Source::Memory => self.memory.len() as u64,
            Source::File { len, .. } => len,
        };
        if self.offset != len {
            return Err(corrupt(self.offset, "something follows the end block"));
        }
        // Nothing can be read any more: give the memory back while the others go on.
        self.memory = Vec::new();
        self.block = Vec::new();
        self.stored = Vec::new();
        (self.key, self.value, self.next, self.end) = (0, 0, 0, 0);
        Ok(false)
    }
}

fn parse_end(block: &[u8]) -> Totals {
    let end: &[u8; END_BYTES] = block.first_chunk().expect("the header says so");
    let number = |at: usize| u64::from_le_bytes(end[at..at + 8].try_into().expect("eight bytes"));
    Totals {
        records: number(0),
        bytes: number(8),
        digest: Digest::from_bytes(end[16..].try_into().expect("sixteen bytes")),
    }
}

fn unpack(packed: &[u8], unpacked: usize, into: &mut Vec<u8>, at: u64) -> Result<(), RunError> {
    into.resize(unpacked, 0);
    match lz4_flex::block::decompress_into(packed, into) {
        Ok(len) if len == unpacked => Ok(()),
        Ok(_) => Err(corrupt(at, "a packed block is shorter than it says")),
        Err(error) => Err(corrupt(at, format!("a packed block: {error}"))),
    }
}

/// Reads an extent of `len` bytes from `body`, checks its blocks, and hands its bytes on as they
/// come. The pairs are not looked at.
pub(crate) fn verify(
    body: &mut dyn Read,
    len: u64,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Totals, VerifyError> {
    let (mut at, mut number, mut block) = (0, 0_u32, Vec::new());
    loop {
        let mut bytes = [0; HEADER_BYTES];
        if at + HEADER_BYTES as u64 > len {
            return Err(corrupt(at, "the extent ends without its end block").into());
        }
        body.read_exact(&mut bytes).map_err(RunError::Io)?;
        let header = Header::decode(&bytes, number, at)?;
        let next = at + HEADER_BYTES as u64 + u64::from(header.stored);
        if next > len {
            return Err(corrupt(at, "the extent ends within a block").into());
        }
        block.resize(header.stored as usize, 0);
        body.read_exact(&mut block).map_err(RunError::Io)?;
        Header::check(&bytes, &block, at)?;
        sink(&bytes).map_err(VerifyError::Sink)?;
        sink(&block).map_err(VerifyError::Sink)?;
        if header.kind == Kind::End {
            if next != len {
                return Err(corrupt(next, "something follows the end block").into());
            }
            return Ok(parse_end(&block));
        }
        (at, number) = (next, number.wrapping_add(1));
    }
}

/// Why [`verify`] stopped.
#[derive(Debug)]
pub(crate) enum VerifyError {
    Run(RunError),
    Sink(io::Error),
}

impl From<RunError> for VerifyError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}
