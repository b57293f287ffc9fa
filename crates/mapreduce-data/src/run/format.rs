//! The layout of blocks and pairs.

use std::io;

use crate::error::CorruptError;
use crate::limits;

pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const END_BYTES: usize = 32;
const MAGIC: u8 = b'K';
const VERSION: u8 = 1;
/// The longest pair with its two lengths.
const PAIR_BYTES_MAX: usize = 2 * limits::RECORD_BYTES_MAX + 20;

/// Why a run can't be read.
#[derive(Debug)]
pub(crate) enum RunError {
    Io(io::Error),
    Corrupt(CorruptError),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn corrupt(offset: u64, reason: impl Into<String>) -> RunError {
    RunError::Corrupt(CorruptError {
        offset,
        reason: reason.into(),
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Raw,
    Lz4,
    End,
}

/// What stands before a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) stored: u32,
    pub(crate) unpacked: u32,
    pub(crate) records: u32,
}

impl Header {
    /// With the checksum over itself and the block.
    pub(crate) fn encode(&self, block: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let kind = match self.kind {
            Kind::Raw => 0,
            Kind::Lz4 => 1,
            Kind::End => 2,
        };
        bytes[..4].copy_from_slice(&[MAGIC, VERSION, kind, 0]);
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.unpacked.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), block);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks everything but the checksum, which needs the block.
    pub(crate) fn decode(
        bytes: &[u8; HEADER_BYTES],
        number: u32,
        at: u64,
    ) -> Result<Self, RunError> {
        let word = |at: usize| {
            let word = bytes[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(word)
        };
        if bytes[0] != MAGIC || bytes[3] != 0 {
            return Err(corrupt(at, "no block starts here"));
        }
        if bytes[1] != VERSION {
            let reason = format!("version {} of the format is unknown", bytes[1]);
            return Err(corrupt(at, reason));
        }
        let kind = match bytes[2] {
            0 => Kind::Raw,
            1 => Kind::Lz4,
            2 => Kind::End,
            kind => return Err(corrupt(at, format!("blocks of kind {kind} are unknown"))),
        };
        let header = Self {
            kind,
            number: word(4),
            stored: word(8),
            unpacked: word(12),
            records: word(16),
        };
        if header.number != number {
            let reason = format!("block {} where block {number} belongs", header.number);
            return Err(corrupt(at, reason));
        }
        let (stored, unpacked) = (header.stored as usize, header.unpacked as usize);
        let fits = match kind {
            Kind::Raw => stored == unpacked && unpacked <= PAIR_BYTES_MAX,
            Kind::Lz4 => stored <= unpacked && unpacked <= PAIR_BYTES_MAX,
            Kind::End => stored == END_BYTES && unpacked == END_BYTES && header.records == 0,
        };
        if !fits {
            return Err(corrupt(at, "lengths that no block has"));
        }
        Ok(header)
    }

    /// Whether the checksum is right.
    pub(crate) fn check(bytes: &[u8; HEADER_BYTES], block: &[u8], at: u64) -> Result<(), RunError> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), block);
        if crc.to_le_bytes() != bytes[20..] {
            return Err(corrupt(at, "the checksum is wrong"));
        }
        Ok(())
    }
}

/// Appends the two lengths of a pair.
#[inline]
pub(crate) fn encode_lengths(into: &mut Vec<u8>, key: usize, value: usize) {
    encode_length(into, key);
    encode_length(into, value);
}

#[inline]
fn encode_length(into: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        into.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    into.push(length.to_le_bytes()[0]);
}

/// The pair at `at`: where its key starts, where its value starts, where it ends. `None` if it
/// isn't whole.
#[inline]
pub(crate) fn decode_record(data: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let (key_len, at) = decode_length(data, at)?;
    let (value_len, key) = decode_length(data, at)?;
    let value = key.checked_add(key_len)?;
    let end = value.checked_add(value_len)?;
    (end <= data.len()).then_some((key, value, end))
}

#[inline]
fn decode_length(data: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *data.get(at)?;
    if first < 0x80 {
        return Some((usize::from(first), at + 1));
    }
    let mut length = usize::from(first & 0x7f);
    for (index, byte) in data.get(at + 1..)?.iter().take(3).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * (index + 1));
        if *byte < 0x80 {
            return Some((length, at + index + 2));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_survive() {
        for length in [0, 1, 127, 128, 16_383, 16_384, limits::RECORD_BYTES_MAX] {
            let mut bytes = Vec::new();
            encode_length(&mut bytes, length);
            assert_eq!(decode_length(&bytes, 0), Some((length, bytes.len())));
            assert_eq!(decode_length(&bytes[..bytes.len() - 1], 0), None);
        }
        assert_eq!(decode_length(&[0xff; 9], 0), None, "longer than any record");
    }

    #[test]
    fn a_header_is_checked() {
        let header = Header {
            kind: Kind::Raw,
            number: 3,
            stored: 4,
            unpacked: 4,
            records: 1,
        };
        let bytes = header.encode(b"abcd");
        assert_eq!(Header::decode(&bytes, 3, 0).unwrap(), header);
        assert!(Header::check(&bytes, b"abcd", 0).is_ok());
        assert!(Header::check(&bytes, b"abce", 0).is_err());
        assert!(Header::decode(&bytes, 4, 0).is_err(), "out of its place");
        let mut other = bytes;
        other[1] = 2;
        assert!(Header::decode(&other, 3, 0).is_err(), "another version");
    }
}
