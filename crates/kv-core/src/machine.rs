//! The replicated state machine: what every command means.
//!
//! [`StateMachine::apply_entry`] is the whole of it: a log entry in, changes to a [`Table`] and one
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

mod execution;
mod keys;
mod strings;

use self::execution::Execution;
use crate::batch::take_payload_header;
use crate::codec::DecodeError;
use crate::command::Command;
use crate::reply::Reply;
use crate::table::Table;

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
    pub fn execute<T: Table>(
        &self,
        table: &mut T,
        command: &Command<'_>,
        wanted: bool,
    ) -> Result<Reply, T::Error> {
        let key = command.first_key().map(|key| table.key(key));
        self.execute_located(table, command, key, wanted)
    }

    /// The same for a caller who has looked at [`Command::first_key`] already, perhaps
    /// for many commands at once.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    #[inline]
    pub fn execute_located<T: Table>(
        &self,
        table: &mut T,
        command: &Command<'_>,
        key: Option<T::Key<'_>>,
        wanted: bool,
    ) -> Result<Reply, T::Error> {
        if let (Command::Put(put), Some(key)) = (command, key)
            && put.is_plain()
        {
            table.overwrite(key, put.value)?;
            return Ok(Reply::Ok);
        }
        let now_ms = self.now_ms;
        Execution {
            table,
            now_ms,
            wanted,
        }
        .run(command)
    }
}
