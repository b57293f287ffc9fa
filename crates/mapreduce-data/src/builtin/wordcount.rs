//! `wordcount`: how often each word is there.

use std::sync::Arc;

use crate::builtin::words::{WordTable, Words};
use crate::builtin::{Arguments, count_of};
use crate::error::{SpecError, UserError};
use crate::function::{
    BlockMapper, Combiner, Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values,
};
use crate::split::Format;

pub(crate) fn make(arguments: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    Ok(Arc::new(WordCount {
        words: Words::parse(arguments)?,
    }))
}

#[derive(Debug)]
struct WordCount {
    words: Words,
}

impl Job for WordCount {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(Map { words: self.words }))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(Sum))
    }

    fn combiner(&self) -> Option<Box<dyn Combiner>> {
        Some(Box::new(Sum))
    }

    fn block_mapper(&self, format: &Format) -> Option<Box<dyn BlockMapper>> {
        // Line ends are between words, and neither CSV nor JSON changes what words are.
        let text = *format == Format::Text;
        text.then(|| Box::new(WordTable::new(self.words)) as Box<dyn BlockMapper>)
    }
}

/// The plain way, record by record: what the table must agree with.
struct Map {
    words: Words,
}

impl Mapper for Map {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        let one = 1_u64.to_le_bytes();
        for word in self.words.of(record.bytes) {
            out.emit(word, &one)?;
        }
        Ok(())
    }
}

struct Sum;

impl Combiner for Sum {
    fn merge(&mut self, _: &[u8], into: &mut Vec<u8>, value: &[u8]) -> Result<(), UserError> {
        let sum = count_of(into)?.saturating_add(count_of(value)?);
        into.copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }
}

impl Reducer for Sum {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        let mut sum = 0_u64;
        while let Some(value) = values.next()? {
            sum = sum.saturating_add(count_of(value)?);
        }
        out.write(key, sum.to_string().as_bytes())?;
        Ok(())
    }
}
