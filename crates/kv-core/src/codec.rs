//! The binary form of commands and replies.
//!
//! | what | bytes |
//! | --- | --- |
//! | number | LEB128, at most 10 bytes |
//! | signed number | 8 bytes, little-endian |
//! | string | number (its length), then the bytes |
//! | command | opcode byte, then the fields in the order of [`crate::Command`] |
//! | reply | tag byte, then the field |
//!
//! The first byte of whatever carries commands or replies (a log entry, a forwarded
//! batch, its answer) is a format version; see [`crate::batch`]. Opcodes and tags are
//! never reused.
//!
//! Decoding never panics and never allocates more than a small multiple of its input.

mod command;
mod reply;

use bytes::{BufMut, BytesMut};

pub use self::command::encode_put;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the bytes end inside {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A number that has no meaning here, perhaps of a newer version.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A length or count beyond its limit.
    #[error("{what} of {length} exceeds {length_max}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// Its length or count.
        length: u64,
        /// The limit.
        length_max: usize,
    },
    /// Bytes after the end.
    #[error("{count} bytes too many")]
    Trailing {
        /// How many.
        count: usize,
    },
}

pub(super) fn put_number(buf: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        buf.put_u8(0x80 | number.to_le_bytes()[0] & 0x7f);
        number >>= 7;
    }
    buf.put_u8(number.to_le_bytes()[0]);
}

pub(super) fn put_string(buf: &mut BytesMut, bytes: &[u8]) {
    put_number(buf, bytes.len() as u64);
    buf.put_slice(bytes);
}

#[inline]
pub(super) fn take_u8(input: &mut &[u8], what: &'static str) -> Result<u8, DecodeError> {
    let Some((&first, rest)) = input.split_first() else {
        return Err(DecodeError::Truncated { what });
    };
    *input = rest;
    Ok(first)
}

pub(super) fn take_i64(input: &mut &[u8], what: &'static str) -> Result<i64, DecodeError> {
    let Some((bytes, rest)) = input.split_first_chunk::<8>() else {
        return Err(DecodeError::Truncated { what });
    };
    *input = rest;
    Ok(i64::from_le_bytes(*bytes))
}

#[inline]
pub(super) fn take_number(input: &mut &[u8], what: &'static str) -> Result<u64, DecodeError> {
    let first = take_u8(input, what)?;
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    take_long_number(first, input, what)
}

fn take_long_number(first: u8, input: &mut &[u8], what: &'static str) -> Result<u64, DecodeError> {
    let mut number = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let byte = take_u8(input, what)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(DecodeError::Unknown {
        what: "number",
        value: number,
    })
}

#[inline]
pub(super) fn take_string<'a>(
    input: &mut &'a [u8],
    what: &'static str,
    length_max: usize,
) -> Result<&'a [u8], DecodeError> {
    let length = take_number(input, what)?;
    match usize::try_from(length) {
        Ok(bytes) if bytes <= length_max => {
            let Some((string, rest)) = input.split_at_checked(bytes) else {
                return Err(DecodeError::Truncated { what });
            };
            *input = rest;
            Ok(string)
        }
        _ => Err(DecodeError::TooLong {
            what,
            length,
            length_max,
        }),
    }
}

#[inline]
pub(super) fn take_key<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    take_string(input, "a key", KEY_BYTES_MAX)
}

#[inline]
pub(super) fn take_value<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    take_string(input, "a value", VALUE_BYTES_MAX)
}
