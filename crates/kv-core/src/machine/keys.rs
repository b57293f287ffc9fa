//! Commands on keys: removal, deadlines, several at once, renaming.

use bytes::Bytes;

use super::execution::{Execution, NewDeadline, integer, next_meta, next_version, refuse, string};
use crate::command::{Condition, Deadline, ExpireCondition, Expiry};
use crate::reply::{Reply, ReplyError};
use crate::table::Table;
use crate::value::Meta;

impl<T: Table> Execution<'_, T> {
    pub(super) fn delete(&mut self, keys: &[&[u8]]) -> Result<Reply, T::Error> {
        let mut removed = 0;
        for key in keys {
            let key = self.table.key(key);
            removed += usize::from(self.table.remove(key)?);
        }
        Ok(integer(removed))
    }

    pub(super) fn delete_if(
        &mut self,
        key: &[u8],
        condition: Condition<'_>,
    ) -> Result<Reply, T::Error> {
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

    pub(super) fn get_delete(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
        let reply = self.get(key)?;
        if let Reply::Value(_) = reply {
            let key = self.table.key(key);
            self.table.remove(key)?;
        }
        Ok(reply)
    }

    pub(super) fn get_expire(&mut self, key: &[u8], expiry: Expiry) -> Result<Reply, T::Error> {
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

    pub(super) fn expire(
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

    pub(super) fn persist(&mut self, key: &[u8]) -> Result<Reply, T::Error> {
        let key = self.table.key(key);
        let (meta, value) = match self.table.get(key)? {
            Some(record) if record.meta.expires_ms != 0 => (record.meta, record.value.to_vec()),
            _ => return Ok(Reply::Integer(0)),
        };
        self.table
            .put(key, next_meta(Some(meta), NewDeadline::Never), &value)?;
        Ok(Reply::Integer(1))
    }

    pub(super) fn multi_put(
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

    pub(super) fn rename(
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
}
