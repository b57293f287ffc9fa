//! Commands as bytes. Opcodes and tags are never reused.

use bytes::{BufMut, BytesMut};

use super::{
    DecodeError, put_number, put_string, take_i64, take_key, take_number, take_u8, take_value,
};
use crate::command::{
    AppendReturning, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Returning,
};
use crate::limits::COMMAND_KEYS_MAX;

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
            Self::Increment { key, by } => {
                put_keyed(buf, INCREMENT, key);
                buf.put_i64_le(*by);
            }
            Self::IncrementFloat { key, by } => {
                put_keyed(buf, INCREMENT_FLOAT, key);
                put_string(buf, by);
            }
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
            Self::Clear => buf.put_u8(CLEAR),
            Self::Tick => buf.put_u8(TICK),
            keyed => keyed.encode_keyed(buf),
        }
    }

    /// Encodes the commands that don't write values of their own.
    fn encode_keyed(&self, buf: &mut BytesMut) {
        match self {
            Self::Get { key } => put_keyed(buf, GET, key),
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
            Self::Rename {
                source,
                target,
                only_if_absent,
            } => {
                put_keyed(buf, RENAME, source);
                put_string(buf, target);
                buf.put_u8(u8::from(*only_if_absent));
            }
            Self::Put(_)
            | Self::Append { .. }
            | Self::SetRange { .. }
            | Self::Increment { .. }
            | Self::IncrementFloat { .. }
            | Self::MultiPut { .. }
            | Self::Clear
            | Self::Tick => unreachable!("encode() takes these itself"),
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
            INCREMENT => Self::Increment {
                key: take_key(input)?,
                by: take_i64(input, "an increment")?,
            },
            INCREMENT_FLOAT => Self::IncrementFloat {
                key: take_key(input)?,
                by: take_value(input)?,
            },
            MULTI_PUT => {
                let only_if_none_exists = take_bool(input)?;
                let pairs = take_pairs(input)?;
                Self::MultiPut {
                    pairs,
                    only_if_none_exists,
                }
            }
            CLEAR => Self::Clear,
            TICK => Self::Tick,
            _ => return Self::decode_keyed(opcode, input),
        })
    }

    /// Decodes the commands that don't write values of their own.
    fn decode_keyed(opcode: u8, input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match opcode {
            GET => Self::Get {
                key: take_key(input)?,
            },
            DELETE => Self::Delete {
                keys: take_keys(input)?,
            },
            DELETE_IF => Self::DeleteIf {
                key: take_key(input)?,
                condition: take_condition(input)?,
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
            RENAME => Self::Rename {
                source: take_key(input)?,
                target: take_key(input)?,
                only_if_absent: take_bool(input)?,
            },
            value => {
                let (what, value) = ("opcode", u64::from(value));
                return Err(DecodeError::Unknown { what, value });
            }
        })
    }
}

fn encode_general_put(buf: &mut BytesMut, put: &Put<'_>) {
    if put.is_plain() {
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
