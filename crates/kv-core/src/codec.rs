//! The binary form of commands and replies.
//!
//! | what | bytes |
//! | --- | --- |
//! | number | LEB128, at most 10 bytes |
//! | signed number | 8 bytes, little-endian |
//! | string | number (its length), then the bytes |
//! | command | opcode byte, then the fields in the order of [`Command`] |
//! | reply | tag byte, then the field |
//!
//! The first byte of whatever carries commands or replies (a log entry, a forwarded
//! batch, its answer) is a format version; see [`crate::batch`]. Opcodes and tags are
//! never reused.
//!
//! Decoding never panics and never allocates more than a small multiple of its input.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::command::{
    AppendReturning, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Returning,
};
use crate::limits::{COMMAND_KEYS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::reply::{Reply, ReplyError};

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

const SET: u8 = 1;
const PUT: u8 = 2;
const APPEND: u8 = 3;
const SET_RANGE: u8 = 4;
const DELETE: u8 = 5;
const DELETE_IF: u8 = 6;
const INCREMENT: u8 = 7;
const INCREMENT_FLOAT: u8 = 8;
const GET_DELETE: u8 = 9;
const GET_EXPIRE: u8 = 10;
const EXPIRE: u8 = 11;
const PERSIST: u8 = 12;
const MULTI_PUT: u8 = 13;
const RENAME: u8 = 14;
const CLEAR: u8 = 15;
const TICK: u8 = 16;
const GET: u8 = 17;

/// Encodes an unconditional put without expiry straight into a buffer: what most
/// commands are.
pub fn encode_put(buf: &mut BytesMut, key: &[u8], value: &[u8]) {
    buf.reserve(key.len() + value.len() + 12);
    buf.put_u8(SET);
    put_string(buf, key);
    put_string(buf, value);
}

impl<'a> Command<'a> {
    /// Appends the binary form.
    pub fn encode(&self, buf: &mut BytesMut) {
        match self {
            Self::Get { key } => put_keyed(buf, GET, key),
            Self::Put(put) => encode_general_put(buf, put),
            Self::Append {
                key,
                value,
                returning,
            } => {
                put_keyed(buf, APPEND, key);
                put_string(buf, value);
                buf.put_u8(append_returning_tag(*returning));
            }
            Self::SetRange { key, offset, value } => {
                put_keyed(buf, SET_RANGE, key);
                put_number(buf, *offset);
                put_string(buf, value);
            }
            Self::Delete { keys } => {
                buf.put_u8(DELETE);
                put_number(buf, keys.len() as u64);
                for key in keys {
                    put_string(buf, key);
                }
            }
            Self::DeleteIf { key, condition } => {
                put_keyed(buf, DELETE_IF, key);
                put_condition(buf, *condition);
            }
            Self::Increment { key, by } => {
                put_keyed(buf, INCREMENT, key);
                buf.put_i64_le(*by);
            }
            Self::IncrementFloat { key, by } => {
                put_keyed(buf, INCREMENT_FLOAT, key);
                put_string(buf, by);
            }
            Self::GetDelete { key } => put_keyed(buf, GET_DELETE, key),
            Self::GetExpire { key, expiry } => {
                put_keyed(buf, GET_EXPIRE, key);
                put_expiry(buf, *expiry);
            }
            Self::Expire {
                key,
                deadline,
                condition,
            } => {
                put_keyed(buf, EXPIRE, key);
                put_expiry(buf, Expiry::Set(*deadline));
                buf.put_u8(expire_condition_tag(*condition));
            }
            Self::Persist { key } => put_keyed(buf, PERSIST, key),
            Self::MultiPut {
                pairs,
                only_if_none_exists,
            } => {
                buf.put_u8(MULTI_PUT);
                buf.put_u8(u8::from(*only_if_none_exists));
                put_number(buf, pairs.len() as u64);
                for (key, value) in pairs {
                    put_string(buf, key);
                    put_string(buf, value);
                }
            }
            Self::Rename {
                source,
                target,
                only_if_absent,
            } => {
                put_keyed(buf, RENAME, source);
                put_string(buf, target);
                buf.put_u8(u8::from(*only_if_absent));
            }
            Self::Clear => buf.put_u8(CLEAR),
            Self::Tick => buf.put_u8(TICK),
        }
    }

    /// Takes one command off the front of `input`.
    ///
    /// # Errors
    ///
    /// When the bytes are not a command within the limits; `input` is then undefined.
    #[inline]
    pub fn decode(input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let opcode = take_u8(input, "a command")?;
        if opcode == SET {
            let key = take_key(input)?;
            let value = take_value(input)?;
            return Ok(Self::Put(Put::new(key, value)));
        }
        Self::decode_other(opcode, input)
    }

    fn decode_other(opcode: u8, input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match opcode {
            PUT => Self::Put(Put {
                key: take_key(input)?,
                value: take_value(input)?,
                expiry: take_expiry(input)?,
                condition: take_condition(input)?,
                returning: take_returning(input)?,
            }),
            APPEND => Self::Append {
                key: take_key(input)?,
                value: take_value(input)?,
                returning: take_append_returning(input)?,
            },
            SET_RANGE => Self::SetRange {
                key: take_key(input)?,
                offset: take_number(input, "an offset")?,
                value: take_value(input)?,
            },
            DELETE => Self::Delete {
                keys: take_keys(input)?,
            },
            DELETE_IF => Self::DeleteIf {
                key: take_key(input)?,
                condition: take_condition(input)?,
            },
            INCREMENT => Self::Increment {
                key: take_key(input)?,
                by: take_i64(input, "an increment")?,
            },
            INCREMENT_FLOAT => Self::IncrementFloat {
                key: take_key(input)?,
                by: take_value(input)?,
            },
            GET_DELETE => Self::GetDelete {
                key: take_key(input)?,
            },
            GET_EXPIRE => Self::GetExpire {
                key: take_key(input)?,
                expiry: take_expiry(input)?,
            },
            EXPIRE => Self::Expire {
                key: take_key(input)?,
                deadline: take_deadline(input)?,
                condition: take_expire_condition(input)?,
            },
            PERSIST => Self::Persist {
                key: take_key(input)?,
            },
            MULTI_PUT => {
                let only_if_none_exists = take_bool(input)?;
                Self::MultiPut {
                    pairs: take_pairs(input)?,
                    only_if_none_exists,
                }
            }
            RENAME => Self::Rename {
                source: take_key(input)?,
                target: take_key(input)?,
                only_if_absent: take_bool(input)?,
            },
            CLEAR => Self::Clear,
            TICK => Self::Tick,
            GET => Self::Get {
                key: take_key(input)?,
            },
            value => {
                return Err(DecodeError::Unknown {
                    what: "opcode",
                    value: u64::from(value),
                });
            }
        })
    }
}

fn encode_general_put(buf: &mut BytesMut, put: &Put<'_>) {
    if *put == Put::new(put.key, put.value) {
        return encode_put(buf, put.key, put.value);
    }
    buf.reserve(put.key.len() + put.value.len() + 32);
    put_keyed(buf, PUT, put.key);
    put_string(buf, put.value);
    put_expiry(buf, put.expiry);
    put_condition(buf, put.condition);
    buf.put_u8(match put.returning {
        Returning::Status => 1,
        Returning::Old => 2,
        Returning::Version => 3,
    });
}

fn put_keyed(buf: &mut BytesMut, opcode: u8, key: &[u8]) {
    buf.put_u8(opcode);
    put_string(buf, key);
}

fn put_expiry(buf: &mut BytesMut, expiry: Expiry) {
    match expiry {
        Expiry::Keep => buf.put_u8(1),
        Expiry::Clear => buf.put_u8(2),
        Expiry::Set(Deadline::At(at_ms)) => {
            buf.put_u8(3);
            buf.put_i64_le(at_ms);
        }
        Expiry::Set(Deadline::After(span_ms)) => {
            buf.put_u8(4);
            buf.put_i64_le(span_ms);
        }
    }
}

fn put_condition(buf: &mut BytesMut, condition: Condition<'_>) {
    match condition {
        Condition::Always => buf.put_u8(1),
        Condition::IfAbsent => buf.put_u8(2),
        Condition::IfPresent => buf.put_u8(3),
        Condition::IfVersion(version) => {
            buf.put_u8(4);
            put_number(buf, version);
        }
        Condition::IfValue(value) => {
            buf.put_u8(5);
            put_string(buf, value);
        }
    }
}

const fn append_returning_tag(returning: AppendReturning) -> u8 {
    match returning {
        AppendReturning::NewLength => 1,
        AppendReturning::OldLength => 2,
        AppendReturning::OldValue => 3,
    }
}

const fn expire_condition_tag(condition: ExpireCondition) -> u8 {
    match condition {
        ExpireCondition::Always => 1,
        ExpireCondition::IfNone => 2,
        ExpireCondition::IfSome => 3,
        ExpireCondition::IfLater => 4,
        ExpireCondition::IfSooner => 5,
        ExpireCondition::IfSomeAndSooner => 6,
    }
}

fn put_number(buf: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        buf.put_u8(0x80 | number.to_le_bytes()[0] & 0x7f);
        number >>= 7;
    }
    buf.put_u8(number.to_le_bytes()[0]);
}

fn put_string(buf: &mut BytesMut, bytes: &[u8]) {
    put_number(buf, bytes.len() as u64);
    buf.put_slice(bytes);
}

#[inline]
fn take_u8(input: &mut &[u8], what: &'static str) -> Result<u8, DecodeError> {
    let Some((&first, rest)) = input.split_first() else {
        return Err(DecodeError::Truncated { what });
    };
    *input = rest;
    Ok(first)
}

fn take_i64(input: &mut &[u8], what: &'static str) -> Result<i64, DecodeError> {
    let Some((bytes, rest)) = input.split_first_chunk::<8>() else {
        return Err(DecodeError::Truncated { what });
    };
    *input = rest;
    Ok(i64::from_le_bytes(*bytes))
}

#[inline]
fn take_number(input: &mut &[u8], what: &'static str) -> Result<u64, DecodeError> {
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
fn take_string<'a>(
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
fn take_key<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    take_string(input, "a key", KEY_BYTES_MAX)
}

#[inline]
fn take_value<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    take_string(input, "a value", VALUE_BYTES_MAX)
}

/// A count of things of which each takes at least one byte, so that a lie about it
/// can't allocate more than the input's own length.
fn take_count(input: &mut &[u8], what: &'static str) -> Result<usize, DecodeError> {
    let count = take_number(input, what)?;
    match usize::try_from(count) {
        Ok(_) if count > COMMAND_KEYS_MAX as u64 => Err(DecodeError::TooLong {
            what,
            length: count,
            length_max: COMMAND_KEYS_MAX,
        }),
        Ok(items) if items <= input.len() => Ok(items),
        _ => Err(DecodeError::Truncated { what }),
    }
}

fn take_keys<'a>(input: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, DecodeError> {
    let count = take_count(input, "keys")?;
    (0..count).map(|_| take_key(input)).collect()
}

/// Pairs of key and value, as a command holds them.
type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

fn take_pairs<'a>(input: &mut &'a [u8]) -> Result<Pairs<'a>, DecodeError> {
    let count = take_count(input, "pairs")?;
    (0..count)
        .map(|_| Ok((take_key(input)?, take_value(input)?)))
        .collect()
}

fn take_bool(input: &mut &[u8]) -> Result<bool, DecodeError> {
    match take_u8(input, "a flag")? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Unknown {
            what: "flag",
            value: u64::from(value),
        }),
    }
}

fn take_expiry(input: &mut &[u8]) -> Result<Expiry, DecodeError> {
    Ok(match take_u8(input, "an expiry")? {
        1 => Expiry::Keep,
        2 => Expiry::Clear,
        3 => Expiry::Set(Deadline::At(take_i64(input, "a deadline")?)),
        4 => Expiry::Set(Deadline::After(take_i64(input, "a deadline")?)),
        value => {
            return Err(DecodeError::Unknown {
                what: "expiry",
                value: u64::from(value),
            });
        }
    })
}

fn take_deadline(input: &mut &[u8]) -> Result<Deadline, DecodeError> {
    match take_expiry(input)? {
        Expiry::Set(deadline) => Ok(deadline),
        Expiry::Keep => Err(DecodeError::Unknown {
            what: "deadline",
            value: 1,
        }),
        Expiry::Clear => Err(DecodeError::Unknown {
            what: "deadline",
            value: 2,
        }),
    }
}

fn take_condition<'a>(input: &mut &'a [u8]) -> Result<Condition<'a>, DecodeError> {
    Ok(match take_u8(input, "a condition")? {
        1 => Condition::Always,
        2 => Condition::IfAbsent,
        3 => Condition::IfPresent,
        4 => Condition::IfVersion(take_number(input, "a version")?),
        5 => Condition::IfValue(take_value(input)?),
        value => {
            return Err(DecodeError::Unknown {
                what: "condition",
                value: u64::from(value),
            });
        }
    })
}

fn take_returning(input: &mut &[u8]) -> Result<Returning, DecodeError> {
    Ok(match take_u8(input, "a returning")? {
        1 => Returning::Status,
        2 => Returning::Old,
        3 => Returning::Version,
        value => {
            return Err(DecodeError::Unknown {
                what: "returning",
                value: u64::from(value),
            });
        }
    })
}

fn take_append_returning(input: &mut &[u8]) -> Result<AppendReturning, DecodeError> {
    Ok(match take_u8(input, "a returning")? {
        1 => AppendReturning::NewLength,
        2 => AppendReturning::OldLength,
        3 => AppendReturning::OldValue,
        value => {
            return Err(DecodeError::Unknown {
                what: "returning",
                value: u64::from(value),
            });
        }
    })
}

fn take_expire_condition(input: &mut &[u8]) -> Result<ExpireCondition, DecodeError> {
    Ok(match take_u8(input, "a condition")? {
        1 => ExpireCondition::Always,
        2 => ExpireCondition::IfNone,
        3 => ExpireCondition::IfSome,
        4 => ExpireCondition::IfLater,
        5 => ExpireCondition::IfSooner,
        6 => ExpireCondition::IfSomeAndSooner,
        value => {
            return Err(DecodeError::Unknown {
                what: "condition",
                value: u64::from(value),
            });
        }
    })
}

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
