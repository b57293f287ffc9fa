//! Commands travelling together.
//!
//! A front door encodes what its client pipelined into one [`Batch`]; a follower
//! forwards it to the leader; the leader's driver packs the batches that have arrived
//! into one log entry, stamped with its clock:
//!
//! ```text
//! entry payload     version u8 | leader's clock, ms since 1970, u64 LE | commands ..
//! forwarded batch   version u8 | count u32 LE | commands ..
//! forwarded replies version u8 | count u32 LE | replies ..
//! ```
//!
//! A malformed command inside a *committed* entry is a replica's end of the road: it
//! may not be skipped, because the others may understand it. That is why batches are
//! checked when they come in from outside ([`Batch::decode`]), not when they are applied.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, encode_put};
use crate::command::Command;
use crate::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX};
use crate::reply::Reply;

/// The version of the formats in this file.
pub const FORMAT_VERSION: u8 = 1;

/// The bytes before the commands of a log entry's payload.
pub const PAYLOAD_HEADER_BYTES: usize = 9;

/// Encoded commands and how many they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    // Invariant: exactly `count` well-formed commands.
    bytes: BytesMut,
    count: usize,
}

impl Batch {
    /// No commands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes and checks a batch from another node.
    ///
    /// # Errors
    ///
    /// When it is not exactly a batch within the limits.
    pub fn decode(mut input: Bytes) -> Result<Self, DecodeError> {
        let count = take_header(&mut input, BATCH_COMMANDS_MAX)?;
        if input.len() > BATCH_BYTES_MAX {
            return Err(DecodeError::TooLong {
                what: "a batch",
                length: input.len() as u64,
                length_max: BATCH_BYTES_MAX,
            });
        }
        let mut rest: &[u8] = &input;
        for _ in 0..count {
            Command::decode(&mut rest)?;
        }
        if !rest.is_empty() {
            return Err(DecodeError::Trailing { count: rest.len() });
        }
        Ok(Self {
            bytes: BytesMut::from(input),
            count,
        })
    }

    /// Appends the form that [`Self::decode`] reads.
    pub fn encode(&self, buf: &mut BytesMut) {
        put_header(buf, self.count);
        buf.put_slice(&self.bytes);
    }

    /// Adds a command.
    pub fn push(&mut self, command: &Command<'_>) {
        command.encode(&mut self.bytes);
        self.count += 1;
    }

    /// Adds an unconditional put without expiry.
    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        encode_put(&mut self.bytes, key, value);
        self.count += 1;
    }

    /// Removes all commands and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The encoded commands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of commands, and so of replies.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no commands.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Begins a log entry's payload; append the bytes of batches to it.
pub fn begin_payload(buf: &mut BytesMut, now_ms: u64) {
    buf.put_u8(FORMAT_VERSION);
    buf.put_u64_le(now_ms);
}

/// Takes the header off a payload: the leader's clock in ms.
///
/// # Errors
///
/// When it is shorter than a header or of an unknown version.
pub fn take_payload_header(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let Some((header, rest)) = input.split_first_chunk::<PAYLOAD_HEADER_BYTES>() else {
        return Err(DecodeError::Truncated {
            what: "a payload header",
        });
    };
    let [version, stamp @ ..] = header;
    check_version(*version)?;
    *input = rest;
    Ok(u64::from_le_bytes(*stamp))
}

/// Appends replies in the form that [`decode_replies`] reads.
pub fn encode_replies(replies: &[Reply], buf: &mut BytesMut) {
    put_header(buf, replies.len());
    for reply in replies {
        reply.encode(buf);
    }
}

/// Decodes the replies to a forwarded batch; values are slices of `input`.
///
/// # Errors
///
/// When the bytes are not exactly that.
pub fn decode_replies(mut input: Bytes) -> Result<Vec<Reply>, DecodeError> {
    let count = take_header(&mut input, BATCH_COMMANDS_MAX)?;
    let mut replies = Vec::with_capacity(count.min(input.len()));
    for _ in 0..count {
        replies.push(Reply::decode(&mut input)?);
    }
    if !input.is_empty() {
        return Err(DecodeError::Trailing { count: input.len() });
    }
    Ok(replies)
}

fn put_header(buf: &mut BytesMut, count: usize) {
    buf.put_u8(FORMAT_VERSION);
    buf.put_u32_le(
        u32::try_from(count).expect("a batch holds at most BATCH_COMMANDS_MAX commands"),
    );
}

fn take_header(input: &mut Bytes, count_max: usize) -> Result<usize, DecodeError> {
    if input.len() < 5 {
        return Err(DecodeError::Truncated { what: "a header" });
    }
    check_version(input.get_u8())?;
    let length = input.get_u32_le();
    match usize::try_from(length) {
        Ok(count) if count <= count_max => Ok(count),
        _ => Err(DecodeError::TooLong {
            what: "a batch",
            length: u64::from(length),
            length_max: count_max,
        }),
    }
}

const fn check_version(version: u8) -> Result<(), DecodeError> {
    if version == FORMAT_VERSION {
        Ok(())
    } else {
        Err(DecodeError::Unknown {
            what: "format version",
            value: version as u64,
        })
    }
}
