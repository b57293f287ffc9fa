//! Bytes of a split, decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::ops::Range;

use crate::error::InputError;
use crate::input::plan::is_url;
use crate::split::{Compression, Format, Split};

/// What decompressors read at once.
const PACKED_BYTES: usize = 256 << 10;

/// Opens the bytes of a split from `start` on to the end of the file.
pub(crate) fn open(split: &Split, start: u64) -> Result<Box<dyn Read>, InputError> {
    let location = &split.location;
    if split.format == Format::Parquet {
        return open_rows(split);
    }
    if is_url(location) {
        let object = open_object(location, start, split.file_len)?;
        return unpack(split.compression, object).map_err(|error| InputError::io(location, error));
    }
    let mut file = open_file(location, split.file_len)?;
    if start > 0 {
        file.seek(SeekFrom::Start(start))
            .map_err(|error| InputError::io(location, error))?;
    }
    unpack(split.compression, Box::new(file)).map_err(|error| InputError::io(location, error))
}

/// Opens a file that had `planned` bytes when the job was planned: one that lost bytes since would
/// give fewer records, and nobody would know.
pub(super) fn open_file(location: &str, planned: u64) -> Result<File, InputError> {
    let failed = |error| InputError::io(location, error);
    let file = File::open(location).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if len < planned {
        let text = format!("it has {len} bytes, and had {planned} when the job was planned");
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
    }
    Ok(file)
}

/// The bytes of a file or object from `range.start` to `range.end`, as they are stored.
///
/// # Errors
///
/// When it can't be opened, or a file is shorter than that.
pub fn open_range(location: &str, range: Range<u64>) -> Result<Box<dyn Read>, InputError> {
    if is_url(location) {
        return open_object(location, range.start, range.end);
    }
    let mut file = open_file(location, range.end)?;
    let failed = |error| InputError::io(location, error);
    file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
}

#[cfg(feature = "parquet")]
fn open_rows(split: &Split) -> Result<Box<dyn Read>, InputError> {
    super::parquet::open(split)
}

#[cfg(not(feature = "parquet"))]
fn open_rows(split: &Split) -> Result<Box<dyn Read>, InputError> {
    Err(no_parquet(&split.location))
}

#[cfg(feature = "objects")]
fn open_object(location: &str, start: u64, end: u64) -> Result<Box<dyn Read>, InputError> {
    super::objects::open(location, start, end)
}

#[cfg(not(feature = "objects"))]
fn open_object(location: &str, _: u64, _: u64) -> Result<Box<dyn Read>, InputError> {
    Err(no_objects(location))
}

#[cfg(not(feature = "parquet"))]
pub(super) fn no_parquet(location: &str) -> InputError {
    InputError::Unsupported {
        location: location.to_owned(),
        reason: "this build does not read Parquet: it was built without the feature `parquet`"
            .to_owned(),
    }
}

#[cfg(not(feature = "objects"))]
pub(super) fn no_objects(location: &str) -> InputError {
    InputError::Unsupported {
        location: location.to_owned(),
        reason: "this build reads no object stores: it was built without the feature `objects`"
            .to_owned(),
    }
}

pub(crate) fn unpack(compression: Compression, packed: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
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
