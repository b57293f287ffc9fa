//! `join`: pairs of a line of the first input and a line of the second with the same key field, as
//! the key and the other fields of both.

use std::borrow::Cow;
use std::sync::Arc;

use crate::builtin::Arguments;
use crate::error::{SpecError, UserError};
use crate::fields;
use crate::function::{Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values};
use crate::limits;

pub(crate) fn make(arguments: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    let delimiter = match arguments.value("delimiter") {
        None | Some("tab" | "\\t") => b'\t',
        Some(text) => match text.as_bytes() {
            [byte] => *byte,
            _ => return Err(arguments.error("delimiter", "must be one byte, or `tab`")),
        },
    };
    let wrong = || {
        let reason = "must be the number of the key field from 1, or two with a comma between: of \
                      the first input and of the second";
        arguments.error("key", reason)
    };
    let text = arguments.value("key").unwrap_or("1");
    let numbers: Option<Vec<usize>> = text
        .split(',')
        .map(|number| number.trim().parse::<usize>().ok()?.checked_sub(1))
        .collect();
    let keys = match numbers.ok_or_else(wrong)?.as_slice() {
        [both] => [*both, *both],
        [left, right] => [*left, *right],
        _ => return Err(wrong()),
    };
    Ok(Arc::new(Join { delimiter, keys }))
}

#[derive(Clone, Copy, Debug)]
struct Join {
    delimiter: u8,
    /// The key field of each input.
    keys: [usize; 2],
}

const SIDES: [&[u8]; 2] = [b"L", b"R"];

impl Job for Join {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(*self))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(*self))
    }
}

impl Mapper for Join {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        let side = usize::try_from(record.input).unwrap_or(usize::MAX);
        let (Some(key), Some(side)) = (self.keys.get(side), SIDES.get(side)) else {
            return Err(UserError::new(
                "a join has two inputs, and this is of a third",
            ));
        };
        let fields = fields::split(record.bytes, self.delimiter);
        let Some(found) = fields.get(*key) else {
            let text = format!(
                "the line has {} fields, and the key is field {}",
                fields.len(),
                key + 1
            );
            return Err(UserError::Failed(text));
        };
        let mut value = side.to_vec();
        for (index, field) in fields.iter().enumerate() {
            if index != *key {
                value.push(self.delimiter);
                value.extend_from_slice(field);
            }
        }
        let found: Cow<'_, [u8]> = fields::unquote(found);
        out.emit(&found, &value)?;
        Ok(())
    }
}

impl Reducer for Join {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        // Map tasks come in the order of inputs, so the first input's lines are all here before
        // the first of the second's.
        let mut left: Vec<Vec<u8>> = Vec::new();
        let (mut bytes, mut line, mut seen_right) = (0, Vec::new(), false);
        while let Some(value) = values.next()? {
            let Some((side, fields)) = value.split_first() else {
                return Err(UserError::new("a value without a side"));
            };
            if [*side] == SIDES[0] {
                if seen_right {
                    return Err(UserError::new(
                        "the inputs' splits are not in the inputs' order",
                    ));
                }
                bytes += fields.len();
                if bytes > limits::RECORD_BYTES_MAX {
                    let text = "a key has too many lines in the first input: swap the inputs";
                    return Err(UserError::new(text));
                }
                left.push(fields.to_vec());
                continue;
            }
            seen_right = true;
            for left in &left {
                line.clear();
                line.extend_from_slice(key);
                line.extend_from_slice(left);
                line.extend_from_slice(fields);
                out.write_line(&line)?;
            }
        }
        Ok(())
    }
}
