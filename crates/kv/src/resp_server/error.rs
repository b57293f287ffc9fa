//! Why a command failed, in Redis's words: clients compare them.

use std::borrow::Cow;

use engine::EngineError;
use kv_core::ReplyError;

use crate::node::{ExecuteError, ReadError};

/// The line that a client gets, code first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct CommandError(Cow<'static, str>);

impl CommandError {
    pub(super) const SYNTAX: Self = Self::fixed("ERR syntax error");
    pub(super) const NOT_AN_INTEGER: Self =
        Self::fixed("ERR value is not an integer or out of range");
    pub(super) const NOT_A_FLOAT: Self = Self::fixed("ERR value is not a valid float");
    pub(super) const WRONG_TYPE: Self =
        Self::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub(super) const TOO_LARGE: Self =
        Self::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    pub(super) const OFFSET: Self = Self::fixed("ERR offset is out of range");
    pub(super) const INVALID_CURSOR: Self = Self::fixed("ERR invalid cursor");
    pub(super) const KEY_TOO_LONG: Self = Self::fixed("ERR key is longer than 65472 bytes");
    pub(super) const REPLY_TOO_LARGE: Self =
        Self::fixed("ERR the reply exceeds 512 MiB; ask for less at a time");
    pub(super) const COMMAND_TOO_LARGE: Self =
        Self::fixed("ERR the command exceeds 16 MiB; split it");

    pub(super) const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    pub(super) fn wrong_arity(name: &str) -> Self {
        Self::new(format!(
            "ERR wrong number of arguments for '{name}' command"
        ))
    }

    pub(super) fn invalid_expire(name: &str) -> Self {
        Self::new(format!("ERR invalid expire time in '{name}' command"))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What the state machine answered to the command `name`.
    pub(super) fn of_reply(error: ReplyError, name: &str) -> Self {
        match error {
            ReplyError::NotAnInteger => Self::NOT_AN_INTEGER,
            ReplyError::NotAFloat => Self::NOT_A_FLOAT,
            ReplyError::Overflow => Self::fixed("ERR increment or decrement would overflow"),
            ReplyError::NotFinite => Self::fixed("ERR increment would produce NaN or Infinity"),
            ReplyError::WrongType => Self::WRONG_TYPE,
            ReplyError::TooLarge => Self::TOO_LARGE,
            ReplyError::NoSuchKey => Self::fixed("ERR no such key"),
            ReplyError::InvalidExpireTime => Self::invalid_expire(name),
            ReplyError::VersionMismatch { .. } | ReplyError::ValueMismatch { .. } => {
                Self::new(format!("ERR {error}"))
            }
        }
    }

    /// Why nothing was written, or perhaps was. The codes are ones that clients retry on
    /// (`CLUSTERDOWN`, `TRYAGAIN`) where nothing happened, and one that they don't where it may
    /// have.
    pub(super) fn of_execute(error: ExecuteError) -> Self {
        match error {
            ExecuteError::NoLeader { .. } => Self::fixed("CLUSTERDOWN no leader: try again"),
            ExecuteError::Overloaded => {
                Self::fixed("TRYAGAIN too many writes are under way: try again later")
            }
            ExecuteError::TooLarge { .. } => Self::COMMAND_TOO_LARGE,
            ExecuteError::ShuttingDown => {
                Self::fixed("CLUSTERDOWN this node is shutting down: try another one")
            }
            ExecuteError::DiskFull => Self::new(format!("OOM {error}")),
            ExecuteError::Unknown => Self::fixed(
                "UNKNOWN the outcome is unknown: the write may have been executed, or may be still",
            ),
        }
    }

    /// Why nothing could be read.
    pub(super) fn of_read(error: ReadError) -> Self {
        match error {
            ReadError::NoLeader { .. } | ReadError::TimedOut => {
                Self::fixed("CLUSTERDOWN no leader: try again")
            }
            ReadError::Overloaded => {
                Self::fixed("TRYAGAIN too many reads are under way: try again later")
            }
            ReadError::ShuttingDown => {
                Self::fixed("CLUSTERDOWN this node is shutting down: try another one")
            }
        }
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        // Logged where the engine fails; the client learns that it isn't its fault.
        Self::new(format!("ERR storage failed: {error}"))
    }
}
