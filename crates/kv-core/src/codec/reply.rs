//! Replies as bytes. Tags are never reused.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{DecodeError, put_number, put_string, take_i64, take_number, take_u8, take_value};
use crate::reply::{Reply, ReplyError};

impl Reply {
    /// Appends the binary form.
    pub fn encode(&self, buf: &mut BytesMut) {
        match self {
            Self::Ok => buf.put_u8(1),
            Self::Nil => buf.put_u8(2),
            Self::Integer(number) => {
                buf.put_u8(3);
                buf.put_i64_le(*number);
            }
            Self::Value(None) => buf.put_u8(4),
            Self::Value(Some(value)) => {
                buf.put_u8(5);
                put_string(buf, value);
            }
            Self::Float(text) => {
                buf.put_u8(6);
                put_string(buf, text);
            }
            Self::Version(version) => {
                buf.put_u8(7);
                put_number(buf, *version);
            }
            Self::Error(error) => {
                buf.put_u8(8);
                encode_reply_error(*error, buf);
            }
        }
    }

    /// Takes one reply off the front of `input`; values are slices of it.
    ///
    /// # Errors
    ///
    /// When the bytes are not a reply; `input` is then undefined.
    pub fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let mut rest: &[u8] = input;
        let tag = take_u8(&mut rest, "a reply")?;
        let mut value = None;
        let reply = match tag {
            1 => Self::Ok,
            2 => Self::Nil,
            3 => Self::Integer(take_i64(&mut rest, "an integer")?),
            4 => Self::Value(None),
            5 | 6 => {
                let string = take_value(&mut rest)?;
                value = Some(input.slice_ref(string));
                Self::Nil
            }
            7 => Self::Version(take_number(&mut rest, "a version")?),
            8 => Self::Error(decode_reply_error(&mut rest)?),
            value => {
                return Err(DecodeError::Unknown {
                    what: "reply",
                    value: u64::from(value),
                });
            }
        };
        let consumed = input.len() - rest.len();
        input.advance(consumed);
        Ok(match value {
            Some(text) if tag == 6 => Self::Float(text),
            Some(value) => Self::Value(Some(value)),
            None => reply,
        })
    }
}

fn encode_reply_error(error: ReplyError, buf: &mut BytesMut) {
    let (tag, number) = match error {
        ReplyError::NotAnInteger => (1, None),
        ReplyError::NotAFloat => (2, None),
        ReplyError::Overflow => (3, None),
        ReplyError::NotFinite => (4, None),
        ReplyError::WrongType => (5, None),
        ReplyError::VersionMismatch { current } => (6, Some(current)),
        ReplyError::ValueMismatch { current } => (7, Some(current)),
        ReplyError::TooLarge => (8, None),
        ReplyError::NoSuchKey => (9, None),
        ReplyError::InvalidExpireTime => (10, None),
    };
    buf.put_u8(tag);
    if let Some(number) = number {
        put_number(buf, number);
    }
}

fn decode_reply_error(input: &mut &[u8]) -> Result<ReplyError, DecodeError> {
    Ok(match take_u8(input, "an error")? {
        1 => ReplyError::NotAnInteger,
        2 => ReplyError::NotAFloat,
        3 => ReplyError::Overflow,
        4 => ReplyError::NotFinite,
        5 => ReplyError::WrongType,
        6 => ReplyError::VersionMismatch {
            current: take_number(input, "a version")?,
        },
        7 => ReplyError::ValueMismatch {
            current: take_number(input, "a version")?,
        },
        8 => ReplyError::TooLarge,
        9 => ReplyError::NoSuchKey,
        10 => ReplyError::InvalidExpireTime,
        value => {
            return Err(DecodeError::Unknown {
                what: "error",
                value: u64::from(value),
            });
        }
    })
}
