//! Parquet: each row becomes a line of JSON, so that everything behind sees text.

use std::fs::File;
use std::io::{self, Read};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::reader::RowIter;

use crate::error::InputError;
use crate::split::Split;

/// So many bytes of lines are made at once.
const LINES_BYTES: usize = 256 << 10;

/// The packed bytes of each row group of a file.
pub(super) fn row_groups(location: &str) -> Result<Vec<u64>, InputError> {
    let failed = |error| InputError::io(location, error);
    let file = File::open(location).map_err(failed)?;
    let reader = SerializedFileReader::new(file).map_err(|error| failed(invalid(error)))?;
    let groups = reader.metadata().row_groups().iter();
    Ok(groups
        .map(|group| u64::try_from(group.compressed_size()).unwrap_or(0))
        .collect())
}

/// The rows of a split's row groups as lines.
pub(super) fn open(split: &Split) -> Result<Box<dyn Read>, InputError> {
    let failed = |error| InputError::io(&split.location, error);
    let file = File::open(&split.location).map_err(failed)?;
    let (start, end) = (split.start, split.start.saturating_add(split.len));
    let chosen = move |index: usize| (start..end).contains(&(index as u64));
    let options = ReadOptionsBuilder::new()
        .with_predicate(Box::new(move |_, index| chosen(index)))
        .build();
    let reader = SerializedFileReader::new_with_options(file, options);
    let reader = reader.map_err(|error| failed(invalid(error)))?;
    Ok(Box::new(Rows {
        rows: reader.into_iter(),
        lines: Vec::new(),
        at: 0,
    }))
}

fn invalid(error: parquet::errors::ParquetError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

struct Rows {
    rows: RowIter<'static>,
    lines: Vec<u8>,
    at: usize,
}

impl Read for Rows {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.lines.len() {
            self.lines.clear();
            self.at = 0;
            while self.lines.len() < LINES_BYTES {
                let Some(row) = self.rows.next() else {
                    break;
                };
                let row = row.map_err(invalid)?;
                serde_json::to_writer(&mut self.lines, &row.to_json_value())?;
                self.lines.push(b'\n');
            }
        }
        let left = &self.lines[self.at..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}
