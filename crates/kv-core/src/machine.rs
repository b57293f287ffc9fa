//! The replicated state machine: what every command means.
//!
//! [`apply_entry`] is the whole of it: a log entry in, changes to a [`Table`] and one
//! reply a command out. It reads no clock and draws no random numbers, so replicas that
//! apply the same entries hold the same records.
//!
//! **Time** is replicated. Every entry carries its leader's clock; the machine's time
//! is the largest of them so far, and never runs backwards when leadership moves to a
//! node whose clock is behind. A record whose deadline is at or before that time is
//! dropped before the entry's first command runs. Between entries nothing expires: the
//! leader proposes a [`Command::Tick`] when the next deadline has passed.
//!
//! Semantics are those of Redis 7 for the commands that Redis has; where Redis's answer
//! depends on its own clock, this one depends on the entry's.

use bytes::Bytes;

use crate::batch::take_payload_header;
use crate::codec::DecodeError;
use crate::command::{
    AppendReturning, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Returning,
};
use crate::extended::Extended;
use crate::limits::VALUE_BYTES_MAX;
use crate::number::{format_i64, parse_i64};
use crate::reply::{Reply, ReplyError};
use crate::table::{Record, Table};
use crate::value::{Kind, Meta};

/// Records dropped between two looks at whether somebody else wants the table.
pub const EXPIRE_CHUNK: usize = 256;

/// Why an entry could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E> {
    /// The committed bytes are not commands that this version understands.
    #[error("the log entry can't be understood")]
    Decode(#[source] DecodeError),
    /// The storage failed.
    #[error("the storage failed")]
    Table(E),
}

/// The state machine's own state: time. All else is in the table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StateMachine {
    now_ms: u64,
}

impl StateMachine {
    /// A state machine whose replicated time is `now_ms`.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self { now_ms }
    }

    /// The replicated time in milliseconds since 1970.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Takes the header off an entry's payload and moves the time forward. Call
    /// [`Table::expire`] until nothing is left before the first command.
    ///
    /// # Errors
    ///
    /// When the payload has no valid header.
    pub fn begin<'a>(&mut self, payload: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let mut commands = payload;
        let stamp_ms = take_payload_header(&mut commands)?;
        self.now_ms = self.now_ms.max(stamp_ms);
        Ok(commands)
    }

    /// Applies a whole entry; the replies are appended to `replies` if anybody wants
    /// them. An empty payload changes nothing.
    ///
    /// # Errors
    ///
    /// When the entry can't be understood or the storage fails; the table then holds
    /// part of the entry and must not be used any more.
    pub fn apply_entry<T: Table>(
        &mut self,
        table: &mut T,
        payload: &[u8],
        mut replies: Option<&mut Vec<Reply>>,
    ) -> Result<(), ApplyError<T::Error>> {
        if payload.is_empty() {
            return Ok(());
        }
        let mut commands = self.begin(payload).map_err(ApplyError::Decode)?;
        while table
            .expire(self.now_ms, EXPIRE_CHUNK)
            .map_err(ApplyError::Table)?
            == EXPIRE_CHUNK
        {}
        while !commands.is_empty() {
            let command = Command::decode(&mut commands).map_err(ApplyError::Decode)?;
            let reply = self
                .execute(table, &command, replies.is_some())
                .map_err(ApplyError::Table)?;
            if let Some(replies) = &mut replies {
                replies.push(reply);
            }
        }
        Ok(())
    }

    /// Applies one command. If the reply is not `wanted`, values in it may be missing.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    #[inline]
    pub fn execute<T: Table>(
        &self,
        table: &mut T,
        command: &Command<'_>,
        wanted: bool,
    ) -> Result<Reply, T::Error> {
        if let Command::Put(put) = command {
            if *put == Put::new(put.key, put.value) {
                let key = table.key(put.key);
                table.overwrite(key, put.value)?;
                return Ok(Reply::Ok);
            }
        }
        Execution {
            table,
            now_ms: self.now_ms,
            wanted,
        }
        .run(command)
    }
}

/// One command being executed.
struct Execution<'t, T> {
    table: &'t mut T,
    now_ms: u64,
    wanted: bool,
}

impl<T: Table> Execution<'_, T> {
    fn run(mut self, command: &Command<'_>) -> Result<Reply, T::Error> {
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

    fn get(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
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
        if put.returning == Returning::Old {
            if let Some(Err(error)) = current.map(string) {
                return Ok(Reply::Error(error));
            }
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

    fn append(
        &mut self,
        key: &[u8],
        value: &[u8],
        returning: AppendReturning,
    ) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, mut bytes) = match self.table.get(key)?.map(string) {
            Some(Err(error)) => return Ok(Reply::Error(error)),
            Some(Ok(record)) => (Some(record.meta), joined(record.value, value)),
            None => (None, Some(value.to_vec())),
        };
        let Some(bytes) = bytes.take() else {
            return Ok(Reply::Error(ReplyError::TooLarge));
        };
        self.table
            .put(key, next_meta(meta, NewDeadline::Same), &bytes)?;
        let old_length = bytes.len() - value.len();
        Ok(match returning {
            AppendReturning::NewLength => integer(bytes.len()),
            AppendReturning::OldLength => integer(old_length),
            AppendReturning::OldValue => {
                Reply::Value(meta.and_then(|_| copy_if(self.wanted, &bytes[..old_length])))
            }
        })
    }

    fn set_range(&mut self, key: &[u8], offset: u64, value: &[u8]) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, old) = match self.table.get(key)?.map(string) {
            Some(Err(error)) => return Ok(Reply::Error(error)),
            Some(Ok(record)) => (Some(record.meta), record.value),
            None => (None, &[][..]),
        };
        if value.is_empty() {
            return Ok(integer(old.len()));
        }
        let end = usize::try_from(offset).ok().and_then(|start| {
            start
                .checked_add(value.len())
                .filter(|&end| end <= VALUE_BYTES_MAX)
        });
        let Some(end) = end else {
            return Ok(Reply::Error(ReplyError::TooLarge));
        };
        let mut bytes = vec![0; end.max(old.len())];
        bytes[..old.len()].copy_from_slice(old);
        bytes[end - value.len()..end].copy_from_slice(value);
        self.table
            .put(key, next_meta(meta, NewDeadline::Same), &bytes)?;
        Ok(integer(bytes.len()))
    }

    fn delete(&mut self, keys: &[&[u8]]) -> Result<Reply, T::Error> {
        let mut removed = 0;
        for key in keys {
            let key = self.table.key(key);
            removed += usize::from(self.table.remove(key)?);
        }
        Ok(integer(removed))
    }

    fn delete_if(&mut self, key: &[u8], condition: Condition<'_>) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let current = self.table.get(key)?;
        if let Some(refusal) = refuse(condition, current) {
            return Ok(match refusal {
                Reply::Error(error) => Reply::Error(error),
                _ => Reply::Integer(0),
            });
        }
        Ok(Reply::Integer(i64::from(self.table.remove(key)?)))
    }

    fn increment(&mut self, key: &[u8], by: i64) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, number) = match self.table.get(key)?.map(string) {
            Some(Err(error)) => return Ok(Reply::Error(error)),
            Some(Ok(record)) => match parse_i64(record.value) {
                Some(number) => (Some(record.meta), number),
                None => return Ok(Reply::Error(ReplyError::NotAnInteger)),
            },
            None => (None, 0),
        };
        let Some(sum) = number.checked_add(by) else {
            return Ok(Reply::Error(ReplyError::Overflow));
        };
        self.table.put(
            key,
            next_meta(meta, NewDeadline::Same),
            format_i64(sum).as_bytes(),
        )?;
        Ok(Reply::Integer(sum))
    }

    fn increment_float(&mut self, key: &[u8], by: &[u8]) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, number) = match self.table.get(key)?.map(string) {
            Some(Err(error)) => return Ok(Reply::Error(error)),
            Some(Ok(record)) => (Some(record.meta), Extended::parse(record.value)),
            None => (None, Some(Extended::ZERO)),
        };
        let (Some(number), Some(by)) = (number, Extended::parse(by)) else {
            return Ok(Reply::Error(ReplyError::NotAFloat));
        };
        let Some(text) = number.add(by).format() else {
            return Ok(Reply::Error(ReplyError::NotFinite));
        };
        self.table
            .put(key, next_meta(meta, NewDeadline::Same), text.as_bytes())?;
        Ok(Reply::Float(Bytes::from(text)))
    }

    fn get_delete(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
        let reply = self.get(key)?;
        if let Reply::Value(_) = reply {
            let key = self.table.key(key);
            self.table.remove(key)?;
        }
        Ok(reply)
    }

    fn get_expire(&mut self, key: &[u8], expiry: Expiry) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, value) = match self.table.get(key)?.map(string) {
            Some(Err(error)) => return Ok(Reply::Error(error)),
            Some(Ok(record)) => (record.meta, record.value.to_vec()),
            None => return Ok(Reply::Value(None)),
        };
        let deadline = match self.resolve(expiry) {
            Ok(deadline) => deadline,
            Err(error) => return Ok(Reply::Error(error)),
        };
        if deadline.changes(meta) {
            self.store(key, Some(meta), deadline, &value)?;
        }
        Ok(Reply::Value(self.wanted.then(|| Bytes::from(value))))
    }

    fn expire(
        &mut self,
        key: &[u8],
        deadline: Deadline,
        condition: ExpireCondition,
    ) -> Result<Reply, T::Error> {
        let deadline = match self.resolve(Expiry::Set(deadline)) {
            Ok(deadline) => deadline,
            Err(error) => return Ok(Reply::Error(error)),
        };
        let key = self.table.key(key);
        let Some(record) = self.table.get(key)? else {
            return Ok(Reply::Integer(0));
        };
        let meta = record.meta;
        let (old, new) = (meta.expires_ms, deadline.expires_ms(Some(meta)));
        let acts = match condition {
            ExpireCondition::Always => true,
            ExpireCondition::IfNone => old == 0,
            ExpireCondition::IfSome => old != 0,
            ExpireCondition::IfLater => old != 0 && new > old,
            ExpireCondition::IfSooner => old == 0 || new < old,
            ExpireCondition::IfSomeAndSooner => old != 0 && new < old,
        };
        if !acts {
            return Ok(Reply::Integer(0));
        }
        let value = record.value.to_vec();
        self.store(key, Some(meta), deadline, &value)?;
        Ok(Reply::Integer(1))
    }

    fn persist(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, value) = match self.table.get(key)? {
            Some(record) if record.meta.expires_ms != 0 => (record.meta, record.value.to_vec()),
            _ => return Ok(Reply::Integer(0)),
        };
        self.table
            .put(key, next_meta(Some(meta), NewDeadline::Never), &value)?;
        Ok(Reply::Integer(1))
    }

    fn multi_put(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        only_if_none_exists: bool,
    ) -> Result<Reply, T::Error> {
        if only_if_none_exists {
            for (key, _) in pairs {
                let key = self.table.key(key);
                if self.table.get(key)?.is_some() {
                    return Ok(Reply::Integer(0));
                }
            }
        }
        for (key, value) in pairs {
            let key = self.table.key(key);
            self.table.overwrite(key, value)?;
        }
        Ok(if only_if_none_exists {
            Reply::Integer(1)
        } else {
            Reply::Ok
        })
    }

    fn rename(
        &mut self,
        source: &[u8],
        target: &[u8],
        only_if_absent: bool,
    ) -> Result<Reply, T::Error> {
        let is_same = source == target;
        let (source, target) = (self.table.key(source), self.table.key(target));
        let (meta, value) = match self.table.get(source)? {
            Some(record) => (record.meta, record.value.to_vec()),
            None => return Ok(Reply::Error(ReplyError::NoSuchKey)),
        };
        let done = if only_if_absent {
            Reply::Integer(1)
        } else {
            Reply::Ok
        };
        let refused = if only_if_absent {
            Reply::Integer(0)
        } else {
            Reply::Ok
        };
        if is_same {
            return Ok(refused);
        }
        let replaced = self.table.get(target)?.map(|record| record.meta);
        if only_if_absent && replaced.is_some() {
            return Ok(refused);
        }
        let next = Meta {
            version: next_version(replaced),
            ..meta
        };
        self.table.put(target, next, &value)?;
        self.table.remove(source)?;
        Ok(done)
    }

    /// Writes a record, or removes it if its deadline has passed; its version, 0 if it
    /// does not exist any more.
    fn store(
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
    fn resolve(&self, expiry: Expiry) -> Result<NewDeadline, ReplyError> {
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
enum NewDeadline {
    Same,
    Never,
    At(u64),
    Past,
}

impl NewDeadline {
    /// The record's deadline after the write; 0 means never.
    fn expires_ms(self, current: Option<Meta>) -> u64 {
        match self {
            Self::Same => current.map_or(0, |meta| meta.expires_ms),
            // Only compared: a deadline in the past is sooner than any other.
            Self::Never | Self::Past => 0,
            Self::At(at_ms) => at_ms,
        }
    }

    fn changes(self, current: Meta) -> bool {
        self == Self::Past || self.expires_ms(Some(current)) != current.expires_ms
    }
}

/// The record after one more write.
fn next_meta(current: Option<Meta>, deadline: NewDeadline) -> Meta {
    Meta {
        kind: Kind::String,
        version: next_version(current),
        expires_ms: deadline.expires_ms(current),
    }
}

fn next_version(current: Option<Meta>) -> u64 {
    current.map_or(0, |meta| meta.version) + 1
}

/// The reply if the condition fails.
fn refuse(condition: Condition<'_>, current: Option<Record<'_>>) -> Option<Reply> {
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

fn string(record: Record<'_>) -> Result<Record<'_>, ReplyError> {
    match record.meta.kind {
        Kind::String => Ok(record),
    }
}

fn joined(front: &[u8], back: &[u8]) -> Option<Vec<u8>> {
    (front.len() + back.len() <= VALUE_BYTES_MAX).then(|| [front, back].concat())
}

fn copy_if(wanted: bool, bytes: &[u8]) -> Option<Bytes> {
    wanted.then(|| Bytes::copy_from_slice(bytes))
}

fn integer(length: usize) -> Reply {
    Reply::Integer(i64::try_from(length).expect("lengths and counts in memory fit 63 bits"))
}
