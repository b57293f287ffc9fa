//! Where the bytes of a Parquet file are: a file, an object, or memory.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::InputError;
use crate::input::plan::is_url;
use crate::input::source::open_file;

/// A file that can be read anywhere.
pub(crate) enum Chunks {
    File(File),
    #[cfg(feature = "objects")]
    Object(std::sync::Arc<crate::input::objects::Windows>),
    /// For the fuzzer.
    Memory(Bytes),
}

impl Chunks {
    /// Opens what had `len` bytes when it was found.
    pub(crate) fn open(location: &str, len: u64) -> Result<Self, InputError> {
        if is_url(location) {
            return Self::open_object(location, len);
        }
        open_file(location, len).map(Self::File)
    }

    #[cfg(feature = "objects")]
    fn open_object(location: &str, len: u64) -> Result<Self, InputError> {
        let windows = crate::input::objects::Windows::open(location, len)?;
        Ok(Self::Object(std::sync::Arc::new(windows)))
    }

    #[cfg(not(feature = "objects"))]
    fn open_object(location: &str, _: u64) -> Result<Self, InputError> {
        Err(crate::input::source::no_objects(location))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => Length::len(file),
            #[cfg(feature = "objects")]
            Self::Object(object) => object.len(),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Chunk;

    fn get_read(&self, start: u64) -> Result<Chunk> {
        Ok(match self {
            Self::File(file) => Chunk::File(file.get_read(start)?),
            #[cfg(feature = "objects")]
            Self::Object(object) => Chunk::Object {
                object: std::sync::Arc::clone(object),
                at: start,
            },
            Self::Memory(bytes) => Chunk::Memory(bytes.get_read(start)?),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::File(file) => {
                // Its metadata says how long a piece is, and may be wrong.
                let end = start.checked_add(length as u64);
                if end.is_none_or(|end| end > Length::len(file)) {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                file.get_bytes(start, length)
            }
            Self::Memory(bytes) => {
                let end = start.checked_add(length as u64);
                if end.is_none_or(|end| end > bytes.len() as u64) {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                bytes.get_bytes(start, length)
            }
            #[cfg(feature = "objects")]
            Self::Object(object) => {
                let first = object.at(start)?;
                if first.len() >= length {
                    return Ok(first.slice(..length));
                }
                let mut all = Vec::new();
                let piece = Chunk::Object {
                    object: std::sync::Arc::clone(object),
                    at: start,
                };
                piece.take(length as u64).read_to_end(&mut all)?;
                if all.len() < length {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Ok(all.into())
            }
        }
    }
}

/// Reads on from a place.
pub(crate) enum Chunk {
    File(BufReader<File>),
    #[cfg(feature = "objects")]
    Object {
        object: std::sync::Arc<crate::input::objects::Windows>,
        at: u64,
    },
    Memory(bytes::buf::Reader<Bytes>),
}

impl Read for Chunk {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(into),
            #[cfg(feature = "objects")]
            Self::Object { object, at } => {
                let bytes = object.at(*at)?;
                let count = bytes.len().min(into.len());
                into[..count].copy_from_slice(&bytes[..count]);
                *at += count as u64;
                Ok(count)
            }
            Self::Memory(bytes) => {
                let count = bytes.get_ref().remaining().min(into.len());
                bytes.read_exact(&mut into[..count])?;
                Ok(count)
            }
        }
    }
}
