//! What the state machine answers, one reply a command.

use bytes::Bytes;

/// The outcome of one command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Done.
    Ok,
    /// Not done: the condition did not hold.
    Nil,
    /// A count, a length or a sum.
    Integer(i64),
    /// A value, or none.
    Value(Option<Bytes>),
    /// A decimal number as text.
    Float(Bytes),
    /// A key's version after a write.
    Version(u64),
    /// Refused; nothing was changed.
    Error(ReplyError),
}

/// Why a command was refused. A refused command changes nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// The value is not a whole number of 64 bits.
    #[error("value is not an integer or out of range")]
    NotAnInteger,
    /// The value or the increment is not a decimal number.
    #[error("value is not a valid float")]
    NotAFloat,
    /// The sum does not fit 64 bits.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// The sum is infinite or not a number.
    #[error("increment would produce NaN or Infinity")]
    NotFinite,
    /// The key holds another type.
    #[error("operation against a key holding the wrong kind of value")]
    WrongType,
    /// `IfVersion` failed.
    #[error("the version is {current}")]
    VersionMismatch {
        /// The key's version; 0 if it is absent.
        current: u64,
    },
    /// `IfValue` failed.
    #[error("the value differs (version {current})")]
    ValueMismatch {
        /// The key's version; 0 if it is absent.
        current: u64,
    },
    /// The result would exceed [`crate::limits::VALUE_BYTES_MAX`].
    #[error("string exceeds maximum allowed size")]
    TooLarge,
    /// The key to rename does not exist.
    #[error("no such key")]
    NoSuchKey,
    /// The deadline does not fit the clock.
    #[error("invalid expire time")]
    InvalidExpireTime,
}
