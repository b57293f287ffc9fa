//! Inputs: finding them, cutting them, reading them.

mod blocks;
mod numbers;
#[cfg(feature = "objects")]
mod objects;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod source;

pub use blocks::{Block, Reader};
pub use numbers::{NumberGroup, NumberTable};
pub(crate) use plan::plan;
pub use plan::{Found, find_inputs};
pub use source::open_range;
pub(crate) use source::unpack;

#[cfg(feature = "parquet")]
pub(crate) use parquet::{fuzz as fuzz_parquet, fuzz_samples as fuzz_parquet_samples};

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
