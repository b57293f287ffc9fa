//! Parquet: rows as lines of JSON, so that everything behind sees text, or as numbers.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::reader::RowIter;

use crate::error::InputError;
use crate::split::Split;

mod chunks;
mod fuzz;
mod numbers;

pub(crate) use chunks::Chunks;
pub(crate) use fuzz::{run as fuzz, samples as fuzz_samples};
pub(crate) use numbers::{inspect as inspect_numbers, read_group as read_numbers};

/// So many bytes of lines are made at once.
const LINES_BYTES: usize = 256 << 10;

/// The packed bytes of each row group of a file.
pub(super) fn row_groups(location: &str, len: u64) -> Result<Vec<u64>, InputError> {
    let chunks = Chunks::open(location, len)?;
    let groups = guarded(|| {
        let reader = SerializedFileReader::new(chunks)?;
        let groups = reader.metadata().row_groups().iter();
        Ok(groups
            .map(|group| u64::try_from(group.compressed_size()).unwrap_or(0))
            .collect())
    });
    groups.map_err(|error| InputError::io(location, error))
}

/// The rows of a split's row groups as lines.
pub(super) fn open(split: &Split) -> Result<Box<dyn Read>, InputError> {
    let chunks = Chunks::open(&split.location, split.file_len)?;
    let (start, end) = (split.start, split.start.saturating_add(split.len));
    let chosen = move |index: usize| (start..end).contains(&(index as u64));
    let rows = Rows::open(chunks, chosen);
    Ok(Box::new(
        rows.map_err(|error| InputError::io(&split.location, error))?,
    ))
}

fn invalid(error: ParquetError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Calls the library. It checks most of what it reads, but a damaged file can make it panic all
/// the same, and a file must not end more than what reads it.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(invalid),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is damaged: its reader panicked",
        )),
    }
}

struct Rows {
    rows: RowIter<'static>,
    lines: Vec<u8>,
    at: usize,
}

impl Rows {
    /// The rows of the row groups that are chosen.
    fn open(chunks: Chunks, chosen: impl Fn(usize) -> bool + 'static) -> io::Result<Self> {
        let rows = guarded(|| {
            let options = ReadOptionsBuilder::new()
                .with_predicate(Box::new(move |_, index| chosen(index)))
                .build();
            let reader = SerializedFileReader::new_with_options(chunks, options)?;
            Ok(RowIter::from_file_into(Box::new(reader)))
        });
        Ok(Self {
            rows: rows?,
            lines: Vec::new(),
            at: 0,
        })
    }

    /// Makes the next lines; none at the end.
    fn next_lines(&mut self) -> io::Result<()> {
        self.lines.clear();
        self.at = 0;
        while self.lines.len() < LINES_BYTES {
            let Some(row) = guarded(|| self.rows.next().transpose())? else {
                break;
            };
            serde_json::to_writer(&mut self.lines, &row.to_json_value())?;
            self.lines.push(b'\n');
        }
        Ok(())
    }
}

impl Read for Rows {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.lines.len() {
            self.next_lines()?;
        }
        let left = &self.lines[self.at..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}
