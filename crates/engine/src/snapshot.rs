//! Snapshots as a stream of bytes, the same for every engine.
//!
//! ```text
//! stream   header frame | record frames .. | trailer frame
//! frame    length of the body u32 LE | CRC32C of the body u32 LE | body
//! header   1 | magic "KTSN" | format version u8 | index u64 | term u64 | time in ms u64
//! records  2 | (key length u32 | stored value length u32 | key | stored value) ..
//! trailer  3 | number of records u64 | CRC32C of all frames' checksums u32
//! ```
//!
//! Integers are little-endian; a stored value is as `kv_core::layout` says. A reader
//! that sees the trailer has seen every record exactly once and in order.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, BufMut};
use kv_core::Meta;
use kv_core::layout::{put_header, split_value};
use kv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use stdx::{LogIndex, Term};

use crate::engine::SnapshotSource;
use crate::error::EngineError;

/// The version of the stream's format.
const FORMAT_VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"KTSN";
const HEADER: u8 = 1;
const RECORDS: u8 = 2;
const TRAILER: u8 = 3;

/// A frame of records ends when it is longer than this.
const FRAME_BYTES: usize = 64 << 10;
/// The longest frame that a reader accepts: one record of the largest size.
const FRAME_BYTES_MAX: usize = FRAME_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + 1_024;
/// The bytes before a frame's body.
const FRAME_HEADER_BYTES: usize = 8;

/// What a snapshot is a snapshot of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// The last entry in it.
    pub(crate) index: LogIndex,
    /// That entry's term.
    pub(crate) term: Term,
    /// The replicated time.
    pub(crate) now_ms: u64,
}

/// Makes the stream, piece by piece.
pub(crate) struct Writer {
    out: Vec<u8>,
    /// Where the open frame begins in `out`.
    frame: usize,
    count: u64,
    checksum: u32,
}

impl Writer {
    /// A stream that begins with the header.
    pub(crate) fn new(header: Header) -> Self {
        let mut writer = Self {
            out: Vec::new(),
            frame: 0,
            count: 0,
            checksum: 0,
        };
        writer.open(HEADER);
        writer.out.put_slice(MAGIC);
        writer.out.put_u8(FORMAT_VERSION);
        writer.out.put_u64_le(header.index.get());
        writer.out.put_u64_le(header.term.get());
        writer.out.put_u64_le(header.now_ms);
        writer.close();
        writer.open(RECORDS);
        writer
    }

    /// Adds a record.
    pub(crate) fn record(&mut self, key: &[u8], meta: Meta, value: &[u8]) {
        let mut header = Vec::with_capacity(kv_core::layout::HEADER_BYTES_MAX);
        put_header(&mut header, meta);
        self.stored(key, &[&header, value]);
    }

    /// Adds a record whose stored value consists of the parts.
    pub(crate) fn stored(&mut self, key: &[u8], parts: &[&[u8]]) {
        let length = |bytes: usize| u32::try_from(bytes).expect("records are below 4 GiB");
        self.out.put_u32_le(length(key.len()));
        self.out
            .put_u32_le(length(parts.iter().map(|part| part.len()).sum()));
        self.out.put_slice(key);
        for part in parts {
            self.out.put_slice(part);
        }
        self.count += 1;
        if self.out.len() - self.frame > FRAME_BYTES {
            self.close();
            self.open(RECORDS);
        }
    }

    /// The bytes so far, without an unfinished frame.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let open = self.out.split_off(self.frame);
        self.frame = 0;
        std::mem::replace(&mut self.out, open)
    }

    /// Ends the stream; the bytes that were not taken yet.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.open(TRAILER);
        self.out.put_u64_le(self.count);
        self.out.put_u32_le(self.checksum);
        self.close();
        self.out
    }

    fn open(&mut self, tag: u8) {
        self.frame = self.out.len();
        self.out.put_bytes(0, FRAME_HEADER_BYTES);
        self.out.put_u8(tag);
    }

    fn close(&mut self) {
        let body = &self.out[self.frame + FRAME_HEADER_BYTES..];
        let checksum = crc32c::crc32c(body);
        let length = u32::try_from(body.len()).expect("frames are below 4 GiB");
        let mut header = &mut self.out[self.frame..];
        header.put_u32_le(length);
        header.put_u32_le(checksum);
        self.checksum = crc32c::crc32c_append(self.checksum, &checksum.to_le_bytes());
    }
}

/// Reads a whole stream; `record` is called for each record in order.
pub(crate) fn read(
    source: &mut dyn Read,
    mut record: impl FnMut(&[u8], Meta, &[u8]) -> Result<(), EngineError>,
) -> Result<Header, EngineError> {
    let mut frames = Frames {
        source,
        body: Vec::new(),
        checksum: 0,
    };
    let header = read_header(frames.next()?)?;
    let mut count = 0_u64;
    loop {
        let checksum = frames.checksum;
        match frames.next()? {
            [RECORDS, records @ ..] => {
                let mut rest = records;
                while !rest.is_empty() {
                    let (key, stored) = take_record(&mut rest)?;
                    let (meta, value) = split_value(stored).ok_or(damaged("a value's header"))?;
                    record(key, meta, value)?;
                    count += 1;
                }
            }
            [TRAILER, trailer @ ..] => {
                let mut expected = count.to_le_bytes().to_vec();
                expected.put_u32_le(checksum);
                if trailer != expected {
                    return Err(damaged("its trailer doesn't fit its records"));
                }
                return Ok(header);
            }
            _ => return Err(damaged("an unknown frame")),
        }
    }
}

/// Reads frames and checks their checksums.
struct Frames<'a> {
    source: &'a mut dyn Read,
    body: Vec<u8>,
    checksum: u32,
}

impl Frames<'_> {
    fn next(&mut self) -> Result<&[u8], EngineError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.source.read_exact(&mut header).map_err(read_error)?;
        let mut header = &header[..];
        let (length, checksum) = (header.get_u32_le(), header.get_u32_le());
        match usize::try_from(length) {
            Ok(length) if length <= FRAME_BYTES_MAX => self.body.resize(length, 0),
            _ => return Err(damaged("a frame is too long")),
        }
        self.source.read_exact(&mut self.body).map_err(read_error)?;
        if crc32c::crc32c(&self.body) != checksum {
            return Err(damaged("a checksum"));
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &checksum.to_le_bytes());
        Ok(&self.body)
    }
}

fn read_header(frame: &[u8]) -> Result<Header, EngineError> {
    let [HEADER, b'K', b'T', b'S', b'N', version, rest @ ..] = frame else {
        return Err(damaged("it does not begin as one"));
    };
    if *version != FORMAT_VERSION {
        return Err(damaged("it has an unknown format version"));
    }
    if rest.len() != 24 {
        return Err(damaged("its header"));
    }
    let mut rest = rest;
    Ok(Header {
        index: LogIndex::new(rest.get_u64_le()),
        term: Term::new(rest.get_u64_le()),
        now_ms: rest.get_u64_le(),
    })
}

fn take_record<'a>(input: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), EngineError> {
    let split = || {
        let (key_len, rest) = input.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).ok();
        let (key, rest) = rest.split_at_checked(length(*key_len)?)?;
        let (value, rest) = rest.split_at_checked(length(*value_len)?)?;
        Some((key, value, rest))
    };
    let (key, value, rest) = split().ok_or(damaged("a record"))?;
    *input = rest;
    Ok((key, value))
}

const fn damaged(what: &'static str) -> EngineError {
    EngineError::Snapshot { what }
}

fn read_error(error: io::Error) -> EngineError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => EngineError::SnapshotRead(error),
    }
}

/// A snapshot that is all in memory.
pub(crate) struct Buffered {
    header: Header,
    bytes: io::Cursor<Vec<u8>>,
}

impl Buffered {
    /// The stream with this header.
    pub(crate) fn new(header: Header, bytes: Vec<u8>) -> Self {
        Self {
            header,
            bytes: io::Cursor::new(bytes),
        }
    }
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Read for Buffered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buf)
    }
}

impl SnapshotSource for Buffered {
    fn index(&self) -> LogIndex {
        self.header.index
    }

    fn term(&self) -> Term {
        self.header.term
    }
}
