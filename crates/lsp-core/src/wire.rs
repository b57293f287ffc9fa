//! Version 1 on the wire: one JSON object a datagram, byte for byte what Go writes.
//!
//! ```text
//! {"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVsbG8="}
//! ```
//!
//! Six fields in this order, no spaces, the payload in base64 (standard alphabet,
//! padded), `null` where there is none. Writing is one pass over a buffer, since the form
//! is fixed. Reading goes through `serde_json`, because a peer may be any program that
//! writes JSON: order, spaces and unknown fields are its own business; missing fields
//! are zero, as in Go.
//!
//! Nothing here panics on bytes from outside; [`decode`] says what is wrong and the
//! caller counts and drops it.
//!
//! A second version would live beside this module as another pair of `encode` and
//! `decode` of the same [`Message`]s, chosen per connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use thiserror::Error;

use crate::checksum::checksum;
use crate::limits::{DATAGRAM_BYTES_MAX, WIRE_NUMBER_MAX};
use crate::message::{ConnId, Message, SeqNum};

/// The `Type` of each kind of message. Zero is a kind here: the original's choice.
const CONNECT: u8 = 0;
const DATA: u8 = 1;
const ACK: u8 = 2;
const CACK: u8 = 3;

/// Why a datagram is no message. Its sender hears nothing: it is counted and dropped.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DecodeError {
    /// Longer than any message.
    #[error("datagram of {bytes} bytes exceeds {DATAGRAM_BYTES_MAX}")]
    TooLong {
        /// The datagram's length.
        bytes: usize,
    },
    /// No JSON object of the six fields, or a field of another type.
    #[error("not a JSON message")]
    NotJson,
    /// A kind that version 1 doesn't have.
    #[error("unknown message type {kind}")]
    UnknownType {
        /// The number in the `Type` field.
        kind: i64,
    },
    /// A negative number where none can be.
    #[error("negative connection id, sequence number or size")]
    Negative,
    /// A payload shorter than its size: cut on the way.
    #[error("payload of {bytes} bytes is shorter than its size {size}")]
    ShortPayload {
        /// The payload's length.
        bytes: usize,
        /// What the message says that it should be.
        size: u64,
    },
    /// The checksum doesn't match: changed on the way.
    #[error("checksum {found} should be {expected}")]
    Checksum {
        /// The one in the message.
        found: u16,
        /// The one that its fields give.
        expected: u16,
    },
}

/// Appends a message's datagram to a buffer.
// spec: LSP-2.1
pub fn encode(message: &Message, buffer: &mut Vec<u8>) {
    let (kind, seq, payload, sum) = match message {
        Message::Connect { isn, offer } => {
            let payload = (!offer.is_empty()).then_some(offer);
            (CONNECT, *isn, payload, 0)
        }
        Message::Data { id, seq, payload } => {
            (DATA, *seq, Some(payload), checksum(*id, *seq, payload))
        }
        Message::Ack { seq, .. } => (ACK, *seq, None, 0),
        Message::CAck { seq, .. } => (CACK, *seq, None, 0),
    };
    buffer.extend_from_slice(b"{\"Type\":");
    number(buffer, u64::from(kind));
    buffer.extend_from_slice(b",\"ConnID\":");
    number(buffer, message.id().get());
    buffer.extend_from_slice(b",\"SeqNum\":");
    number(buffer, seq.get());
    buffer.extend_from_slice(b",\"Size\":");
    number(buffer, payload.map_or(0, |payload| payload.len() as u64));
    buffer.extend_from_slice(b",\"Checksum\":");
    number(buffer, u64::from(sum));
    match payload {
        None => buffer.extend_from_slice(b",\"Payload\":null}"),
        Some(payload) => {
            buffer.extend_from_slice(b",\"Payload\":\"");
            base64(buffer, payload);
            buffer.extend_from_slice(b"\"}");
        }
    }
}

/// How many bytes [`encode`] appends for a message.
#[must_use]
pub fn encoded_len(message: &Message) -> usize {
    const FIXED: usize = br#"{"Type":0,"ConnID":,"SeqNum":,"Size":,"Checksum":,"Payload":}"#.len();
    let (seq, payload, sum) = match message {
        Message::Connect { isn, offer } => (*isn, (!offer.is_empty()).then_some(offer), 0),
        Message::Data { id, seq, payload } => (*seq, Some(payload), checksum(*id, *seq, payload)),
        Message::Ack { seq, .. } | Message::CAck { seq, .. } => (*seq, None, 0),
    };
    let (size, text) = match payload {
        None => (0, "null".len()),
        Some(payload) => (payload.len(), payload.len().div_ceil(3) * 4 + 2),
    };
    let numbers = digits(message.id().get())
        + digits(seq.get())
        + digits(size as u64)
        + digits(u64::from(sum));
    FIXED + numbers + text
}

/// Reads a datagram.
///
/// A payload longer than its size is cut to it before its checksum is computed; a
/// shorter one, or a wrong checksum, is an error. Neither applies to anything but Data.
///
/// # Errors
///
/// [`DecodeError`] for everything that isn't a well-formed message.
// spec: LSP-2.2 LSP-2.3 LSP-2.5
pub fn decode(datagram: &[u8]) -> Result<Message, DecodeError> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(DecodeError::TooLong {
            bytes: datagram.len(),
        });
    }
    // Serde would read a list of the fields' values as well; Go doesn't.
    if datagram.trim_ascii_start().first() != Some(&b'{') {
        return Err(DecodeError::NotJson);
    }
    let raw: Raw = serde_json::from_slice(datagram).map_err(|_| DecodeError::NotJson)?;
    let id = ConnId::new(natural(raw.conn_id)?);
    let seq = SeqNum::new(natural(raw.seq_num)?);
    match u8::try_from(raw.kind) {
        Ok(CONNECT) => Ok(Message::Connect {
            isn: seq,
            offer: raw.payload,
        }),
        Ok(DATA) => decode_data(id, seq, raw),
        Ok(ACK) => Ok(Message::Ack { id, seq }),
        Ok(CACK) => Ok(Message::CAck { id, seq }),
        _ => Err(DecodeError::UnknownType { kind: raw.kind }),
    }
}

/// Applies the rules of size and checksum.
fn decode_data(id: ConnId, seq: SeqNum, raw: Raw) -> Result<Message, DecodeError> {
    let mut payload = raw.payload;
    let size = natural(raw.size)?;
    let bytes = payload.len();
    match usize::try_from(size) {
        Ok(size) if size <= bytes => payload.truncate(size),
        _ => return Err(DecodeError::ShortPayload { bytes, size }),
    }
    let expected = checksum(id, seq, &payload);
    if raw.checksum != expected {
        return Err(DecodeError::Checksum {
            found: raw.checksum,
            expected,
        });
    }
    Ok(Message::Data { id, seq, payload })
}

/// The six fields as JSON has them.
#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "Type", default)]
    kind: i64,
    #[serde(rename = "ConnID", default)]
    conn_id: i64,
    #[serde(rename = "SeqNum", default)]
    seq_num: i64,
    #[serde(rename = "Size", default)]
    size: i64,
    #[serde(rename = "Checksum", default)]
    checksum: u16,
    #[serde(rename = "Payload", default, deserialize_with = "payload")]
    payload: Bytes,
}

/// Reads base64 without an intermediate string; `null` is nothing.
fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    struct Base64;

    impl Visitor<'_> for Base64 {
        type Value = Bytes;

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("base64 or null")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Bytes, E> {
            Ok(Bytes::new())
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
            let bytes = STANDARD.decode(text).map_err(E::custom)?;
            Ok(Bytes::from(bytes))
        }
    }

    let bytes = deserializer.deserialize_any(Base64)?;
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err(D::Error::custom("payload longer than a datagram"));
    }
    Ok(bytes)
}

fn natural(value: i64) -> Result<u64, DecodeError> {
    u64::try_from(value).map_err(|_| DecodeError::Negative)
}

/// Appends a number in decimal.
fn number(buffer: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= WIRE_NUMBER_MAX, "a number that no peer can read");
    let mut text = [0; 20];
    let mut start = text.len();
    let mut rest = value;
    loop {
        start -= 1;
        let digit = u8::try_from(rest % 10).expect("a decimal digit fits a byte");
        text[start] = b'0' + digit;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&text[start..]);
}

/// Appends bytes in base64.
fn base64(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let start = buffer.len();
    buffer.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut buffer[start..])
        .expect("the space is four bytes for every three, rounded up");
    assert_eq!(start + written, buffer.len(), "base64 fills its space");
}

fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}
