//! Writing run files.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::TaskError;
use crate::limits::BLOCK_BYTES;
use crate::run::format::{END_BYTES, HEADER_BYTES, Header, Kind, decode_record, encode_lengths};
use crate::task::{Extent, ShuffleCompression};

/// What is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;
/// After a block that did not compress, so many are not tried.
const BLOCKS_UNTRIED: u32 = 63;

/// Writes extents, one after the other.
#[derive(Debug)]
pub(crate) struct RunWriter<W> {
    sink: W,
    /// Finished blocks, then the one in progress (its header is filled in at its end).
    buffer: Vec<u8>,
    /// Where in `buffer` the pairs of the block in progress start.
    block: usize,
    block_records: u32,
    /// Of the block in progress.
    number: u32,
    /// In the file, of the start of `buffer`.
    offset: u64,
    extent: Extent,
    compression: ShuffleCompression,
    untried: u32,
    packed: Vec<u8>,
    digests: bool,
}

impl<W: Write> RunWriter<W> {
    /// With `digests`, extents have those of their pairs; runs that do not leave the task need none.
    pub(crate) fn new(sink: W, compression: ShuffleCompression, digests: bool) -> Self {
        let mut writer = Self {
            sink,
            buffer: Vec::with_capacity(WRITE_BYTES + 2 * BLOCK_BYTES),
            block: 0,
            block_records: 0,
            number: 0,
            offset: 0,
            extent: Extent::default(),
            compression,
            untried: 0,
            packed: Vec::new(),
            digests,
        };
        writer.start_block();
        writer
    }

    fn start_block(&mut self) {
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        self.block = self.buffer.len();
        self.block_records = 0;
    }

    /// Appends a pair.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.make_room(key.len() + value.len() + 10)?;
        encode_lengths(&mut self.buffer, key.len(), value.len());
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.count(start, key.len());
        Ok(())
    }

    /// Appends a pair that is encoded already.
    #[inline]
    pub(crate) fn push_encoded(&mut self, pair: &[u8]) -> io::Result<()> {
        self.make_room(pair.len())?;
        let (key, value, _) = decode_record(pair, 0).expect("this process encoded the pair");
        let at = self.buffer.len();
        self.buffer.extend_from_slice(pair);
        self.count(at + key, value - key);
        Ok(())
    }

    #[inline]
    fn count(&mut self, start: usize, key_len: usize) {
        let pair = &self.buffer[start..];
        self.block_records += 1;
        self.extent.records += 1;
        self.extent.bytes += pair.len() as u64;
        if self.digests {
            self.extent.digest.add(Digest::of_joined(pair, key_len));
        }
    }

    #[inline]
    fn make_room(&mut self, len: usize) -> io::Result<()> {
        if self.buffer.len() - self.block + len > BLOCK_BYTES && self.block_records > 0 {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let unpacked = self.buffer.len() - self.block;
        let mut kind = Kind::Raw;
        if self.pack() {
            kind = Kind::Lz4;
            self.buffer.truncate(self.block);
            self.buffer.extend_from_slice(&self.packed);
        }
        self.seal(kind, unpacked);
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        self.start_block();
        Ok(())
    }

    /// Whether the block in progress is better packed, which is then in `packed`.
    fn pack(&mut self) -> bool {
        let block = &self.buffer[self.block..];
        let enough = match self.compression {
            ShuffleCompression::Never => return false,
            ShuffleCompression::Always => block.len().saturating_sub(1),
            ShuffleCompression::Auto => block.len() / 2,
        };
        if self.untried > 0 {
            self.untried -= 1;
            return false;
        }
        self.packed
            .resize(lz4_flex::block::get_maximum_output_size(block.len()), 0);
        let packed = lz4_flex::block::compress_into(block, &mut self.packed).unwrap_or(usize::MAX);
        if packed > enough {
            if self.compression == ShuffleCompression::Auto {
                self.untried = BLOCKS_UNTRIED;
            }
            return false;
        }
        self.packed.truncate(packed);
        true
    }

    /// Fills in the header of the block in progress.
    fn seal(&mut self, kind: Kind, unpacked: usize) {
        let (head, block) = self.buffer.split_at_mut(self.block);
        let length =
            |length: usize| u32::try_from(length).expect("a block holds one pair or few bytes");
        let header = Header {
            kind,
            number: self.number,
            stored: length(block.len()),
            unpacked: length(unpacked),
            records: if kind == Kind::End {
                0
            } else {
                self.block_records
            },
        };
        head[self.block - HEADER_BYTES..].copy_from_slice(&header.encode(block));
        self.number += 1;
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the extent of a partition; one without pairs takes no bytes.
    pub(crate) fn end_extent(&mut self) -> io::Result<Extent> {
        if self.extent.records > 0 {
            if self.block_records > 0 {
                self.end_block()?;
            }
            let Extent {
                records,
                bytes,
                digest,
                ..
            } = self.extent;
            self.buffer.extend_from_slice(&records.to_le_bytes());
            self.buffer.extend_from_slice(&bytes.to_le_bytes());
            self.buffer.extend_from_slice(&digest.to_bytes());
            self.seal(Kind::End, END_BYTES);
            self.start_block();
        }
        // The header of the next block is there already.
        let end = self.offset + (self.buffer.len() - HEADER_BYTES) as u64;
        self.extent.len = end - self.extent.offset;
        self.number = 0;
        let next = Extent {
            offset: end,
            ..Extent::default()
        };
        Ok(core::mem::replace(&mut self.extent, next))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.buffer.truncate(self.buffer.len() - HEADER_BYTES);
        self.write_out()?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

/// A run file that is being written.
#[derive(Debug)]
pub(crate) struct RunFile {
    path: PathBuf,
    writer: RunWriter<File>,
}

impl RunFile {
    pub(crate) fn create(
        path: &Path,
        compression: ShuffleCompression,
        digests: bool,
    ) -> Result<Self, TaskError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|error| TaskError::disk(path, "create", error))?;
        Ok(Self {
            path: path.to_path_buf(),
            writer: RunWriter::new(file, compression, digests),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), TaskError> {
        let result = self.writer.push(key, value);
        result.map_err(|error| self.failed(error))
    }

    #[inline]
    pub(crate) fn push_encoded(&mut self, pair: &[u8]) -> Result<(), TaskError> {
        let result = self.writer.push_encoded(pair);
        result.map_err(|error| self.failed(error))
    }

    pub(crate) fn end_extent(&mut self) -> Result<Extent, TaskError> {
        let result = self.writer.end_extent();
        result.map_err(|error| self.failed(error))
    }

    pub(crate) fn finish(self) -> Result<File, TaskError> {
        let path = self.path;
        self.writer
            .finish()
            .map_err(|error| TaskError::disk(&path, "write", error))
    }

    #[cold]
    fn failed(&self, error: io::Error) -> TaskError {
        TaskError::disk(&self.path, "write", error)
    }
}
