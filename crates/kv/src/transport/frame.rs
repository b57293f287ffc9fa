//! The bytes on a connection between two nodes.
//!
//! ```text
//! connection   preface "KONTIKI" version u8 | item ..
//! item         length u32 | crc32c u32 | kind u8 | body          length and checksum: kind and body
//! hello        cluster u64 | from u64 | to u64 | book            the first item, both ways
//! refusal      text                                              instead of a hello; then the end
//! raft         group u64 | length u32 | message ..               as many as there were
//! forward      id u64 | group u64 | batch                        see kv_core::Batch
//! outcome      id u64 | code u8 | a u64 | b u64 | replies        see kv_core::encode_replies
//! book         book                                              addresses, whenever they change
//! ask          cluster u64 | what u8 | node u64 | address        instead of a hello; see join.rs
//! answer       cluster u64 | code u8 | text length u32 | text | book
//! ```
//!
//! Integers are little-endian. The version stands once, in the preface.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft::Message;
use stdx::{GroupId, NodeId};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::node::error::ExecuteError;
use crate::node::submission::Outcome;

/// What a connection begins with. The last byte is the version of all that follows.
pub(crate) const PREFACE: [u8; 8] = *b"KONTIKI\x01";

/// The largest item: the largest entry, and room for what surrounds it.
pub(crate) const ITEM_BYTES_MAX: usize = 64 << 20;

/// An item of Raft messages is closed when it has grown to this.
pub(crate) const RAFT_ITEM_BYTES_TARGET: usize = 1 << 20;

/// Bytes before an item's body.
pub(crate) const HEADER_BYTES: usize = 9;

/// Room asked for before a read.
const READ_BYTES: usize = 64 << 10;

/// What an item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Refusal = 2,
    Raft = 3,
    Forward = 4,
    Outcome = 5,
    Book = 6,
    Ask = 7,
    Answer = 8,
}

impl Kind {
    const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Hello,
            2 => Self::Refusal,
            3 => Self::Raft,
            4 => Self::Forward,
            5 => Self::Outcome,
            6 => Self::Book,
            7 => Self::Ask,
            8 => Self::Answer,
            _ => return None,
        })
    }
}

/// Why a connection can't go on.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("an item of {length} bytes exceeds the limit")]
    TooLong { length: usize },
    #[error("an item's checksum is wrong")]
    Checksum,
    #[error("{what} is not understood")]
    Malformed { what: &'static str },
}

const fn malformed(what: &'static str) -> FrameError {
    FrameError::Malformed { what }
}

/// One item under construction.
#[derive(Debug)]
pub(crate) struct ItemBuilder {
    buffer: BytesMut,
}

impl ItemBuilder {
    pub(crate) fn new(kind: Kind) -> Self {
        let mut buffer = BytesMut::with_capacity(256);
        begin(&mut buffer, kind);
        Self { buffer }
    }

    pub(crate) const fn body(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    pub(crate) fn finish(mut self) -> Bytes {
        seal(&mut self.buffer);
        self.buffer.freeze()
    }
}

fn begin(buffer: &mut BytesMut, kind: Kind) {
    buffer.put_bytes(0, HEADER_BYTES - 1);
    buffer.put_u8(kind as u8);
}

pub(crate) fn seal(buffer: &mut BytesMut) {
    let length = u32::try_from(buffer.len() - 8).expect("an item stays below ITEM_BYTES_MAX");
    let checksum = crc32c::crc32c(&buffer[8..]);
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Collects the Raft messages for one node into as few items as possible.
#[derive(Debug, Default)]
pub(crate) struct FrameBuilder {
    buffer: BytesMut,
}

impl FrameBuilder {
    /// Adds a message; returns an item that has become large enough to go.
    pub(crate) fn push(&mut self, group: GroupId, message: &Message) -> Option<Bytes> {
        if self.buffer.is_empty() {
            begin(&mut self.buffer, Kind::Raft);
        }
        self.buffer.put_u64_le(group.get());
        let length_at = self.buffer.len();
        self.buffer.put_u32_le(0);
        raft::wire::encode(message, &mut self.buffer);
        let length = u32::try_from(self.buffer.len() - length_at - 4)
            .expect("the largest message stays below ITEM_BYTES_MAX");
        self.buffer[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        (self.buffer.len() >= RAFT_ITEM_BYTES_TARGET)
            .then(|| self.finish())
            .flatten()
    }

    /// The item, if anything was added since the last one.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            return None;
        }
        seal(&mut self.buffer);
        Some(self.buffer.split().freeze())
    }
}

/// Takes the messages out of an item's body; their payloads stay slices of it.
pub(crate) fn decode_raft(mut body: Bytes) -> Result<Vec<(GroupId, Message)>, FrameError> {
    let mut messages = Vec::new();
    while body.has_remaining() {
        let group = take_u64(&mut body)?;
        let mut message = take_chunk(&mut body)?;
        let message = raft::wire::decode(&mut message).map_err(|_| malformed("a Raft message"))?;
        messages.push((GroupId::new(group), message));
    }
    Ok(messages)
}

/// Reads items from a connection.
#[derive(Debug)]
pub(crate) struct ItemReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> ItemReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(READ_BYTES),
        }
    }

    /// The next item; payloads share the memory that they were read into. May be cancelled.
    pub(crate) async fn next(&mut self) -> Result<(Kind, Bytes), FrameError> {
        loop {
            if let Some(item) = self.take()? {
                return Ok(item);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Closed);
            }
        }
    }

    fn take(&mut self) -> Result<Option<(Kind, Bytes)>, FrameError> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            self.buffer.reserve(READ_BYTES);
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3, kind] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > ITEM_BYTES_MAX || length == 0 {
            return Err(FrameError::TooLong { length });
        }
        if self.buffer.len() < 8 + length {
            // At least what is missing, so that a large item is read into one piece.
            self.buffer
                .reserve(READ_BYTES.max(8 + length - self.buffer.len()));
            return Ok(None);
        }
        let item = self.buffer.split_to(8 + length).freeze();
        if crc32c::crc32c(&item[8..]) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::from_u8(kind).ok_or(malformed("an item's kind"))?;
        Ok(Some((kind, item.slice(HEADER_BYTES..))))
    }
}

pub(crate) fn take_u64(body: &mut Bytes) -> Result<u64, FrameError> {
    body.try_get_u64_le().map_err(|_| malformed("a number"))
}

pub(crate) fn take_u8(body: &mut Bytes) -> Result<u8, FrameError> {
    body.try_get_u8().map_err(|_| malformed("a byte"))
}

/// A length of 32 bits and as many bytes.
pub(crate) fn take_chunk(body: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = body.try_get_u32_le().map_err(|_| malformed("a length"))? as usize;
    if length > body.len() {
        return Err(malformed("a length"));
    }
    Ok(body.split_to(length))
}

pub(crate) fn take_text(body: &mut Bytes) -> Result<String, FrameError> {
    let bytes = take_chunk(body)?;
    String::from_utf8(bytes.into()).map_err(|_| malformed("a text"))
}

pub(crate) fn put_text(body: &mut BytesMut, text: &str) {
    let length = u32::try_from(text.len()).expect("texts between nodes are short");
    body.put_u32_le(length);
    body.put_slice(text.as_bytes());
}

/// Codes of outcomes on the wire. Zero is success; retired numbers are never used again.
const OUTCOMES: [(u8, ExecuteError); 6] = [
    (1, ExecuteError::NoLeader { leader: None }),
    (2, ExecuteError::Overloaded),
    (
        3,
        ExecuteError::TooLarge {
            bytes: 0,
            bytes_max: 0,
        },
    ),
    (4, ExecuteError::ShuttingDown),
    (5, ExecuteError::DiskFull),
    (6, ExecuteError::Unknown),
];

pub(crate) fn encode_outcome(id: u64, outcome: &Outcome) -> Bytes {
    let mut item = ItemBuilder::new(Kind::Outcome);
    let body = item.body();
    body.put_u64_le(id);
    match outcome {
        Ok(replies) => {
            body.put_u8(0);
            body.put_u64_le(0);
            body.put_u64_le(0);
            kv_core::encode_replies(replies, body);
        }
        Err(error) => {
            let code = OUTCOMES
                .iter()
                .find(|(_, known)| core::mem::discriminant(known) == core::mem::discriminant(error))
                .map_or(6, |(code, _)| *code);
            let (a, b) = match *error {
                ExecuteError::NoLeader { leader } => (leader.map_or(0, NodeId::get), 0),
                ExecuteError::TooLarge { bytes, bytes_max } => (bytes as u64, bytes_max as u64),
                _ => (0, 0),
            };
            body.put_u8(code);
            body.put_u64_le(a);
            body.put_u64_le(b);
        }
    }
    item.finish()
}

pub(crate) fn decode_outcome(mut body: Bytes) -> Result<(u64, Outcome), FrameError> {
    let id = take_u64(&mut body)?;
    let code = take_u8(&mut body)?;
    let a = take_u64(&mut body)?;
    let b = take_u64(&mut body)?;
    if code == 0 {
        let replies = kv_core::decode_replies(body).map_err(|_| malformed("a reply"))?;
        return Ok((id, Ok(replies)));
    }
    let (_, error) = OUTCOMES
        .iter()
        .find(|(known, _)| *known == code)
        .ok_or(malformed("the code of an outcome"))?;
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let error = match error {
        ExecuteError::NoLeader { .. } => ExecuteError::NoLeader {
            leader: (a != 0).then(|| NodeId::new(a)),
        },
        ExecuteError::TooLarge { .. } => ExecuteError::TooLarge {
            bytes: size(a),
            bytes_max: size(b),
        },
        other => *other,
    };
    Ok((id, Err(error)))
}

#[cfg(test)]
mod tests {
    use kv_core::Reply;

    use super::*;

    async fn read_all(bytes: &[u8]) -> Result<Vec<(Kind, Bytes)>, FrameError> {
        let mut reader = ItemReader::new(bytes);
        let mut items = Vec::new();
        loop {
            match reader.next().await {
                Ok(item) => items.push(item),
                Err(FrameError::Closed) => return Ok(items),
                Err(error) => return Err(error),
            }
        }
    }

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in ["one", "", "a longer one"] {
            let mut item = ItemBuilder::new(Kind::Book);
            item.body().put_slice(text.as_bytes());
            bytes.extend_from_slice(&item.finish());
        }
        bytes
    }

    #[tokio::test]
    async fn items_arrive_as_they_were_sent() {
        let items = read_all(&sample()).await.unwrap();
        let bodies: Vec<&[u8]> = items.iter().map(|(_, body)| body.as_ref()).collect();
        assert_eq!(bodies, [b"one".as_slice(), b"", b"a longer one"]);
    }

    #[tokio::test]
    async fn every_flipped_bit_is_noticed() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A length that has grown leaves the item incomplete; everything else is an error.
            let intact = read_all(&flipped).await.map_or(0, |items| items.len());
            assert!(intact < 3, "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn outcomes_survive_the_wire() {
        let outcomes = [
            Ok(vec![Reply::Ok, Reply::Integer(-7)]),
            Err(ExecuteError::NoLeader {
                leader: Some(NodeId::new(3)),
            }),
            Err(ExecuteError::NoLeader { leader: None }),
            Err(ExecuteError::TooLarge {
                bytes: 9,
                bytes_max: 8,
            }),
            Err(ExecuteError::DiskFull),
            Err(ExecuteError::Unknown),
        ];
        for outcome in outcomes {
            let item = encode_outcome(5, &outcome);
            let (id, decoded) = decode_outcome(item.slice(HEADER_BYTES..)).unwrap();
            assert_eq!((id, decoded), (5, outcome));
        }
    }
}
