//! Parquet files of numbers: what a program wants that computes with rows instead of mapping text.

use crate::error::InputError;

/// A Parquet file all of whose columns are numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NumberTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// Its row groups, in order.
    pub groups: Vec<NumberGroup>,
}

/// A row group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NumberGroup {
    /// How many rows it has.
    pub rows: u64,
    /// Its bytes, packed.
    pub bytes: u64,
}

impl NumberTable {
    /// Looks at a file or object that has `len` bytes.
    ///
    /// # Errors
    ///
    /// When it can't be read, is no Parquet, or has a column that holds no plain numbers.
    pub fn inspect(location: &str, len: u64) -> Result<Self, InputError> {
        inspect(location, len)
    }

    /// Calls `visit` with the rows of one row group until it answers false. What is null reads as
    /// NaN.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is damaged.
    pub fn read(
        location: &str,
        len: u64,
        group: u64,
        mut visit: impl FnMut(&[f64]) -> bool,
    ) -> Result<(), InputError> {
        read(location, len, group, &mut visit)
    }
}

#[cfg(feature = "parquet")]
fn inspect(location: &str, len: u64) -> Result<NumberTable, InputError> {
    let chunks = super::parquet::Chunks::open(location, len)?;
    super::parquet::inspect_numbers(location, chunks)
}

#[cfg(feature = "parquet")]
fn read(
    location: &str,
    len: u64,
    group: u64,
    visit: &mut dyn FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    let chunks = super::parquet::Chunks::open(location, len)?;
    super::parquet::read_numbers(chunks, group, visit)
        .map_err(|error| InputError::io(location, error))
}

#[cfg(not(feature = "parquet"))]
fn inspect(location: &str, _: u64) -> Result<NumberTable, InputError> {
    Err(super::source::no_parquet(location))
}

#[cfg(not(feature = "parquet"))]
fn read(
    location: &str,
    _: u64,
    _: u64,
    _: &mut dyn FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    Err(super::source::no_parquet(location))
}
