//! `inverted-index`: for each word, how many files have it, and which: `word`, tab, `2 a.txt,b.txt`.

use core::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::builtin::Arguments;
use crate::builtin::words::Words;
use crate::error::{SpecError, UserError};
use crate::function::{Combiner, Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values};
use crate::limits;

pub(crate) fn make(arguments: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    Ok(Arc::new(Index {
        words: Words::parse(arguments)?,
    }))
}

#[derive(Clone, Copy, Debug)]
struct Index {
    words: Words,
}

impl Job for Index {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(*self))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(*self))
    }

    fn combiner(&self) -> Option<Box<dyn Combiner>> {
        Some(Box::new(*self))
    }
}

impl Mapper for Index {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        for word in self.words.of(record.bytes) {
            out.emit(word, record.location.as_bytes())?;
        }
        Ok(())
    }
}

/// The names in a value: sorted, with zero bytes between (no path has one).
fn names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == 0)
}

/// The names of both, each once, in order.
fn union(left: &[u8], right: &[u8]) -> Vec<u8> {
    let (mut left, mut right) = (names(left).peekable(), names(right).peekable());
    let mut merged: Vec<&[u8]> = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.cmp(right),
        };
        let (from_left, from_right) = (order.is_le(), order.is_ge());
        let taken = if from_left { left.next() } else { None };
        let other = if from_right { right.next() } else { None };
        merged.extend(taken.or(other));
    }
    merged.join(&0)
}

impl Combiner for Index {
    fn merge(&mut self, _: &[u8], into: &mut Vec<u8>, value: &[u8]) -> Result<(), UserError> {
        // A map task has one file, so this is nearly always so.
        if into == value {
            return Ok(());
        }
        *into = union(into, value);
        Ok(())
    }
}

impl Reducer for Index {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        let mut files = BTreeSet::new();
        let mut bytes = 0;
        while let Some(value) = values.next()? {
            for name in names(value) {
                if !files.contains(name) {
                    bytes += name.len() + 1;
                    files.insert(name.to_vec());
                }
            }
            if bytes > limits::RECORD_BYTES_MAX {
                return Err(UserError::new(
                    "the names of a word's files are too long for one line",
                ));
            }
        }
        let mut line = format!("{} ", files.len()).into_bytes();
        for (index, file) in files.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            line.extend_from_slice(file);
        }
        out.write(key, &line)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_files_are_merged_in_order() {
        let mut index = Index {
            words: Words::Letters,
        };
        let mut merge = |left: &[u8], right: &[u8]| {
            let mut into = left.to_vec();
            index.merge(b"", &mut into, right).unwrap();
            into
        };
        assert_eq!(merge(b"a", b"a"), b"a");
        assert_eq!(merge(b"b", b"a"), b"a\0b");
        assert_eq!(merge(b"a\0c", b"b\0c\0d"), b"a\0b\0c\0d");
    }
}
