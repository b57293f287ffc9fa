//! Inputs: finding them, cutting them, reading them.

mod blocks;
#[cfg(feature = "objects")]
mod objects;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod source;

pub(crate) use blocks::{Block, Reader};
pub(crate) use plan::plan;

use crate::error::UserError;
use crate::split::Format;

/// Whether a record is what its format says.
#[inline]
pub(crate) fn check_record(format: &Format, bytes: &[u8]) -> Result<(), UserError> {
    if *format == Format::JsonLines {
        let value: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(bytes);
        value.map_err(|error| UserError::Failed(format!("the line is not JSON: {error}")))?;
    }
    Ok(())
}
