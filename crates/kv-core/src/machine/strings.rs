//! Commands that change a string's value.

use bytes::Bytes;

use super::execution::{Execution, NewDeadline, copy_if, integer, next_meta, string};
use crate::command::AppendReturning;
use crate::extended::Extended;
use crate::limits::VALUE_BYTES_MAX;
use crate::number::{format_i64, parse_i64};
use crate::reply::{Reply, ReplyError};
use crate::table::Table;

impl<T: Table> Execution<'_, T> {
    pub(super) fn append(
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

    pub(super) fn set_range(
        &mut self,
        key: &[u8],
        offset: u64,
        value: &[u8],
    ) -> Result<Reply, T::Error> {
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

    pub(super) fn increment(&mut self, key: &[u8], by: i64) -> Result<Reply, T::Error> {
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

    pub(super) fn increment_float(&mut self, key: &[u8], by: &[u8]) -> Result<Reply, T::Error> {
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
}

fn joined(front: &[u8], back: &[u8]) -> Option<Vec<u8>> {
    (front.len() + back.len() <= VALUE_BYTES_MAX).then(|| [front, back].concat())
}
