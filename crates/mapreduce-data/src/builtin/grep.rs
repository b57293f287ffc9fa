//! `grep`: the lines that match a pattern, as `file:byte:line` in the order of files and bytes
//! (within each output file).

use std::sync::Arc;

use regex::bytes::Regex;

use crate::builtin::Arguments;
use crate::error::{SpecError, UserError};
use crate::function::{Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values};

pub(crate) fn make(arguments: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    let pattern = arguments.value("pattern");
    let pattern = pattern.ok_or_else(|| arguments.error("pattern", "is missing"))?;
    let regex = Regex::new(pattern);
    let regex = regex.map_err(|error| arguments.error("pattern", &error.to_string()))?;
    Ok(Arc::new(Grep { regex }))
}

#[derive(Clone, Debug)]
struct Grep {
    regex: Regex,
}

impl Job for Grep {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(self.clone()))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(Print))
    }
}

impl Mapper for Grep {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        if self.regex.is_match(record.bytes) {
            let mut key = record.location.as_bytes().to_vec();
            key.push(0);
            key.extend_from_slice(&record.position.to_be_bytes());
            out.emit(&key, record.bytes)?;
        }
        Ok(())
    }
}

struct Print;

impl Reducer for Print {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        let place = key.split_last_chunk::<8>();
        let (location, position) = place.ok_or_else(|| UserError::new("a key without a place"))?;
        let mut line = location.strip_suffix(b"\0").unwrap_or(location).to_vec();
        line.extend_from_slice(format!(":{}:", u64::from_be_bytes(*position)).as_bytes());
        let start = line.len();
        while let Some(value) = values.next()? {
            line.truncate(start);
            line.extend_from_slice(value);
            out.write_line(&line)?;
        }
        Ok(())
    }
}
