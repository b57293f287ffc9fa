//! Bytes of a split, decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use crate::error::InputError;
use crate::split::{Compression, Split};

/// What decompressors read at once.
const PACKED_BYTES: usize = 256 << 10;

/// Opens the bytes of a split from `start` on to the end of the file.
pub(crate) fn open(split: &Split, start: u64) -> Result<Box<dyn Read>, InputError> {
    let location = &split.location;
    let mut file = File::open(location).map_err(|error| InputError::io(location, error))?;
    if start > 0 {
        file.seek(SeekFrom::Start(start))
            .map_err(|error| InputError::io(location, error))?;
    }
    unpack(split.compression, Box::new(file)).map_err(|error| InputError::io(location, error))
}

fn unpack(compression: Compression, packed: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let buffered = |packed| BufReader::with_capacity(PACKED_BYTES, packed);
    Ok(match compression {
        Compression::None => packed,
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(packed))),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(buffered(packed))),
        Compression::Zstd => Box::new(Zstd::new(buffered(packed))?),
    })
}

/// Zstandard frames, one after the other.
struct Zstd {
    frame: Option<Frame>,
}

impl Zstd {
    fn new(packed: BufReader<Box<dyn Read>>) -> io::Result<Self> {
        Ok(Self {
            frame: next_frame(packed)?,
        })
    }
}

type Frame =
    ruzstd::decoding::StreamingDecoder<BufReader<Box<dyn Read>>, ruzstd::decoding::FrameDecoder>;

fn next_frame(mut packed: BufReader<Box<dyn Read>>) -> io::Result<Option<Frame>> {
    use std::io::BufRead as _;

    if packed.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let frame = ruzstd::decoding::StreamingDecoder::new(packed);
    frame.map(Some).map_err(io::Error::other)
}

impl Read for Zstd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(frame) = &mut self.frame {
            let count = frame.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            let ended = self.frame.take().expect("it was just read");
            self.frame = next_frame(ended.into_inner())?;
        }
        Ok(0)
    }
}
