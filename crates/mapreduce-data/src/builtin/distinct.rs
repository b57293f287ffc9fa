//! `distinct`: every line once.

use std::sync::Arc;

use crate::builtin::Arguments;
use crate::error::{SpecError, UserError};
use crate::function::{Combiner, Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values};

pub(crate) fn make(_: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    Ok(Arc::new(Distinct))
}

#[derive(Clone, Copy, Debug)]
struct Distinct;

impl Job for Distinct {
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

impl Mapper for Distinct {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        out.emit(record.bytes, b"")?;
        Ok(())
    }
}

impl Combiner for Distinct {
    fn merge(&mut self, _: &[u8], _: &mut Vec<u8>, _: &[u8]) -> Result<(), UserError> {
        Ok(())
    }
}

impl Reducer for Distinct {
    fn reduce(
        &mut self,
        key: &[u8],
        _: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        out.write_line(key)?;
        Ok(())
    }
}
