//! One command: what all commands share, and the two that matter most.

use bytes::Bytes;

use crate::command::{Command, Condition, Deadline, Expiry, Put, Returning};
use crate::reply::{Reply, ReplyError};
use crate::table::{Record, Table};
use crate::value::{Kind, Meta};

/// One command being executed.
pub(super) struct Execution<'t, T> {
    pub(super) table: &'t mut T,
    pub(super) now_ms: u64,
    pub(super) wanted: bool,
}

impl<T: Table> Execution<'_, T> {
    pub(super) fn run(mut self, command: &Command<'_>) -> Result<Reply, T::Error> {
        match command {
            Command::Get { key } => self.get(key),
            Command::Put(put) => self.put(put),
            Command::Append {
                key,
                value,
                returning,
            } => self.append(key, value, *returning),
            Command::SetRange { key, offset, value } => self.set_range(key, *offset, value),
            Command::Delete { keys } => self.delete(keys),
            Command::DeleteIf { key, condition } => self.delete_if(key, *condition),
            Command::Increment { key, by } => self.increment(key, *by),
            Command::IncrementFloat { key, by } => self.increment_float(key, by),
            Command::GetDelete { key } => self.get_delete(key),
            Command::GetExpire { key, expiry } => self.get_expire(key, *expiry),
            Command::Expire {
                key,
                deadline,
                condition,
            } => self.expire(key, *deadline, *condition),
            Command::Persist { key } => self.persist(key),
            Command::MultiPut {
                pairs,
                only_if_none_exists,
            } => self.multi_put(pairs, *only_if_none_exists),
            Command::Rename {
                source,
                target,
                only_if_absent,
            } => self.rename(source, target, *only_if_absent),
            Command::Clear => {
                self.table.clear()?;
                Ok(Reply::Ok)
            }
            Command::Tick => Ok(Reply::Ok),
        }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
        let wanted = self.wanted;
        let key = self.table.key(key);
        Ok(match self.table.get(key)? {
            Some(record) => string(record).map_or_else(Reply::Error, |record| {
                Reply::Value(copy_if(wanted, record.value))
            }),
            None => Reply::Value(None),
        })
    }

    fn put(&mut self, put: &Put<'_>) -> Result<Reply, T::Error> {
        let deadline = match self.resolve(put.expiry) {
            Ok(deadline) => deadline,
            Err(error) => return Ok(Reply::Error(error)),
        };
        let wants_old = self.wanted && put.returning == Returning::Old;
        let key = self.table.key(put.key);
        let current = self.table.get(key)?;
        if put.returning == Returning::Old
            && let Some(Err(error)) = current.map(string)
        {
            return Ok(Reply::Error(error));
        }
        let refusal = refuse(put.condition, current);
        let old = current.and_then(|record| copy_if(wants_old, record.value));
        let meta = current.map(|record| record.meta);
        if let Some(refusal) = refusal {
            return Ok(if put.returning == Returning::Old {
                Reply::Value(old)
            } else {
                refusal
            });
        }
        let version = self.store(key, meta, deadline, put.value)?;
        Ok(match put.returning {
            Returning::Status => Reply::Ok,
            Returning::Old => Reply::Value(old),
            Returning::Version => Reply::Version(version),
        })
    }

    /// Writes a record, or removes it if its deadline has passed; its version, 0 if it
    /// does not exist any more.
    pub(super) fn store(
        &mut self,
        key: T::Key<'_>,
        current: Option<Meta>,
        deadline: NewDeadline,
        value: &[u8],
    ) -> Result<u64, T::Error> {
        if deadline == NewDeadline::Past {
            if current.is_some() {
                self.table.remove(key)?;
            }
            return Ok(0);
        }
        let next = next_meta(current, deadline);
        self.table.put(key, next, value)?;
        Ok(next.version)
    }

    /// What an expiry means at the entry's time.
    pub(super) fn resolve(&self, expiry: Expiry) -> Result<NewDeadline, ReplyError> {
        let at_ms = match expiry {
            Expiry::Keep => return Ok(NewDeadline::Same),
            Expiry::Clear => return Ok(NewDeadline::Never),
            Expiry::Set(Deadline::At(at_ms)) => at_ms,
            Expiry::Set(Deadline::After(span_ms)) => i64::try_from(self.now_ms)
                .ok()
                .and_then(|now_ms| now_ms.checked_add(span_ms))
                .ok_or(ReplyError::InvalidExpireTime)?,
        };
        Ok(match u64::try_from(at_ms) {
            Ok(at_ms) if at_ms > self.now_ms => NewDeadline::At(at_ms),
            _ => NewDeadline::Past,
        })
    }
}

/// A deadline after [`Execution::resolve`].
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum NewDeadline {
    Same,
    Never,
    At(u64),
    Past,
}

impl NewDeadline {
    /// The record's deadline after the write; 0 means never.
    pub(super) fn expires_ms(self, current: Option<Meta>) -> u64 {
        match self {
            Self::Same => current.map_or(0, |meta| meta.expires_ms),
            // Only compared: a deadline in the past is sooner than any other.
            Self::Never | Self::Past => 0,
            Self::At(at_ms) => at_ms,
        }
    }

    pub(super) fn changes(self, current: Meta) -> bool {
        self == Self::Past || self.expires_ms(Some(current)) != current.expires_ms
    }
}

/// The record after one more write.
pub(super) fn next_meta(current: Option<Meta>, deadline: NewDeadline) -> Meta {
    Meta {
        kind: Kind::String,
        version: next_version(current),
        expires_ms: deadline.expires_ms(current),
    }
}

pub(super) fn next_version(current: Option<Meta>) -> u64 {
    current.map_or(0, |meta| meta.version) + 1
}

/// The reply if the condition fails.
pub(super) fn refuse(condition: Condition<'_>, current: Option<Record<'_>>) -> Option<Reply> {
    let version = current.map_or(0, |record| record.meta.version);
    let (holds, refusal) = match condition {
        Condition::Always => (true, Reply::Nil),
        Condition::IfAbsent => (current.is_none(), Reply::Nil),
        Condition::IfPresent => (current.is_some(), Reply::Nil),
        Condition::IfVersion(expected) => (
            version == expected,
            Reply::Error(ReplyError::VersionMismatch { current: version }),
        ),
        Condition::IfValue(expected) => (
            current.is_some_and(|record| record.value == expected),
            Reply::Error(ReplyError::ValueMismatch { current: version }),
        ),
    };
    (!holds).then_some(refusal)
}

pub(super) fn string(record: Record<'_>) -> Result<Record<'_>, ReplyError> {
    match record.meta.kind {
        Kind::String => Ok(record),
    }
}

pub(super) fn copy_if(wanted: bool, bytes: &[u8]) -> Option<Bytes> {
    wanted.then(|| Bytes::copy_from_slice(bytes))
}

pub(super) fn integer(length: usize) -> Reply {
    Reply::Integer(i64::try_from(length).expect("lengths and counts in memory fit 63 bits"))
}
