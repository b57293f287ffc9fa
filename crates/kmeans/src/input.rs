//! Points in files and objects: what is there, how it is divided, and reading a part of it.
//!
//! Files are found, opened and unpacked by `mapreduce-data`, which also knows object stores. A file
//! is read by many processes, each its own range. A line belongs to the range that has
//! its first byte, so any division reads every line once. Rows are centred as they are read: the
//! mean of the first rows is subtracted in `f64` before rounding to `f32`, so that data far from
//! the origin keeps its digits. The mean depends on the files only, never on the division.

use kmeans_kernels::{MAGNITUDE_MAX, Points, narrow};
use mapreduce_data::{Compression, Found};

use crate::limits::{DIMENSION_MAX, SHIFT_ROWS};

pub(crate) mod npy;
mod parquet;
pub(crate) mod text;

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or object could not be found or read.
    #[error(transparent)]
    Data(#[from] mapreduce_data::InputError),
    /// A line is not a point.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// Which file.
        path: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A row of a binary file is not a point.
    #[error("{path}, row {row}: {what}")]
    Row {
        /// Which file.
        path: String,
        /// Counted from 0, as in Python.
        row: u64,
        /// What is wrong.
        what: String,
    },
    /// A file as a whole can't be used.
    #[error("{path}: {what}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is nothing to read.
    #[error("there are no points in {inputs}")]
    Empty {
        /// The inputs, as given.
        inputs: String,
    },
}

impl InputError {
    pub(crate) fn io(location: &str) -> impl FnOnce(std::io::Error) -> Self {
        let location = location.to_owned();
        |source| Self::Data(mapreduce_data::InputError::Io { location, source })
    }

    pub(crate) fn file(location: &str, what: impl Into<String>) -> Self {
        Self::File {
            path: location.to_owned(),
            what: what.into(),
        }
    }
}

/// How a file is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// Numbers in lines.
    Text {
        compression: Compression,
        /// Where the line of names ends, if there is one, in unpacked bytes.
        header: u64,
    },
    /// Numpy's format.
    Npy(npy::Kind),
    /// One row group.
    Parquet {
        group: u64,
        /// How many rows the groups before it have.
        before: u64,
    },
}

/// A range of a file or object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) location: String,
    /// The bytes of the whole file.
    pub(crate) size: u64,
    pub(crate) format: Format,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Segment {
    /// A range can be cut at multiples of this.
    fn unit(&self, dimension: usize) -> u64 {
        match &self.format {
            Format::Text {
                compression: Compression::None,
                ..
            } => 1,
            Format::Npy(kind) => kind.bytes() * dimension as u64,
            // Neither can be read from its middle.
            Format::Text { .. } | Format::Parquet { .. } => self.length.max(1),
        }
    }
}

/// What is known about the input before anybody has read all of it.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Whole files, without their headers.
    files: Vec<Segment>,
    dimension: usize,
    shift: Vec<f64>,
}

impl Dataset {
    /// Looks at what inputs name: files, directories, patterns, and URLs of object stores.
    ///
    /// # Errors
    ///
    /// If a file can't be read, its header or first line makes no sense, or there is none.
    pub fn inspect(inputs: &[String]) -> Result<Self, InputError> {
        let mut files = Vec::new();
        let mut dimension = None;
        for found in mapreduce_data::find_inputs(inputs)? {
            let Some((mut segments, columns)) = inspect(&found)? else {
                continue;
            };
            let expected = *dimension.get_or_insert(columns);
            if columns != expected {
                let what =
                    format!("has {columns} coordinates a point; the first file has {expected}");
                return Err(InputError::file(&found.location, what));
            }
            files.append(&mut segments);
        }
        let Some(dimension) = dimension else {
            return Err(InputError::Empty {
                inputs: inputs.join(", "),
            });
        };
        if dimension > DIMENSION_MAX {
            let what = format!("{dimension} coordinates a point; the limit is {DIMENSION_MAX}");
            return Err(InputError::file(&files[0].location, what));
        }
        let mut dataset = Self {
            files,
            dimension,
            shift: vec![0.0; dimension],
        };
        dataset.shift = dataset.mean_of_first_rows()?;
        Ok(dataset)
    }

    /// How many coordinates a point has.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// What is subtracted from every row.
    #[must_use]
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// Whether no file is text.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        let text = |file: &Segment| matches!(file.format, Format::Text { .. });
        !self.files.iter().any(text)
    }

    /// Divides the input into parts of nearly the same number of bytes.
    pub(crate) fn split(&self, parts: usize) -> Vec<Vec<Segment>> {
        share(&self.files, self.dimension, parts)
    }

    fn mean_of_first_rows(&self) -> Result<Vec<f64>, InputError> {
        let mut sums = vec![0.0; self.dimension];
        let mut rows = 0usize;
        for file in &self.files {
            read_segment(file, self.dimension, |row| {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, value)| *sum += value);
                rows += 1;
                rows < SHIFT_ROWS
            })?;
            if rows >= SHIFT_ROWS {
                break;
            }
        }
        Ok(sums
            .into_iter()
            .map(|sum| sum / rows.max(1) as f64)
            .collect())
    }
}

/// Divides segments into shares of nearly the same number of bytes.
pub(crate) fn share(segments: &[Segment], dimension: usize, shares: usize) -> Vec<Vec<Segment>> {
    let bytes: u64 = segments.iter().map(|segment| segment.length).sum();
    let bound = |at: usize| u64_of(u128::from(bytes) * at as u128 / shares as u128);
    (0..shares)
        .map(|at| range(segments, dimension, bound(at), bound(at + 1)))
        .collect()
}

/// The bytes of all segments from `from` to `to`, as if they were one.
fn range(all: &[Segment], dimension: usize, from: u64, to: u64) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut before = 0;
    for whole in all {
        let unit = whole.unit(dimension);
        // Whole rows: a bound within a row belongs to the row.
        let local = |at: u64| at.saturating_sub(before).min(whole.length) / unit * unit;
        let (start, end) = (local(from), local(to));
        if start < end {
            segments.push(Segment {
                start: whole.start + start,
                length: end - start,
                ..whole.clone()
            });
        }
        before += whole.length;
    }
    segments
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a u64")]
const fn u64_of(value: u128) -> u64 {
    value as u64
}

/// Reads the rows of some segments, centred.
pub(crate) fn read(
    segments: &[Segment],
    dimension: usize,
    shift: &[f64],
) -> Result<Points, InputError> {
    let estimate = segments.iter().map(|segment| match &segment.format {
        // Ten bytes for a number with its comma; packed, four.
        Format::Text {
            compression: Compression::None,
            ..
        } => segment.length / (10 * dimension as u64),
        Format::Text { .. } | Format::Parquet { .. } => segment.length / (4 * dimension as u64),
        Format::Npy(kind) => segment.length / (kind.bytes() * dimension as u64),
    });
    let estimate = usize::try_from(estimate.sum::<u64>()).unwrap_or(0);
    let mut points = Points::new(dimension, estimate);
    let mut centred = vec![0.0; dimension];
    for segment in segments {
        read_segment(segment, dimension, |row| {
            for ((to, value), shift) in centred.iter_mut().zip(row).zip(shift) {
                *to = narrow(value - shift);
            }
            points.push(&centred);
            true
        })?;
    }
    Ok(points)
}

/// Calls `visit` with every row until it answers false.
fn read_segment(
    segment: &Segment,
    dimension: usize,
    visit: impl FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    match &segment.format {
        Format::Text {
            compression,
            header,
        } => text::read(segment, (*compression, *header), dimension, visit),
        Format::Npy(kind) => npy::read(segment, *kind, dimension, visit),
        Format::Parquet { group, before } => {
            parquet::read(segment, (*group, *before), dimension, visit)
        }
    }
}

/// All rows of a file, as they are: initial centroids, for example.
///
/// # Errors
///
/// If the file can't be read or has no points.
pub fn read_small(location: &str) -> Result<(usize, Vec<f64>), InputError> {
    let dataset = Dataset::inspect(&[location.to_owned()])?;
    let mut values = Vec::new();
    for file in &dataset.files {
        read_segment(file, dataset.dimension, |row| {
            values.extend_from_slice(row);
            true
        })?;
    }
    Ok((dataset.dimension, values))
}

/// What makes a number unusable, if anything.
pub(crate) fn objection(value: f64) -> Option<String> {
    if !value.is_finite() {
        return Some(format!("`{value}` is not a finite number"));
    }
    (value.abs() > MAGNITUDE_MAX).then(|| {
        format!("{value:e} is too large: the limit is {MAGNITUDE_MAX:e}, rescale the data")
    })
}

/// What a file holds, without its header, and how many coordinates its points have; nothing if it
/// has no points.
fn inspect(found: &Found) -> Result<Option<(Vec<Segment>, usize)>, InputError> {
    let location = &found.location;
    let (format, compression) = found.guess();
    if format == mapreduce_data::Format::Parquet {
        return parquet::inspect(found);
    }
    if location.ends_with(".npy") {
        return Ok(npy::inspect(found)?.map(|(segment, columns)| (vec![segment], columns)));
    }
    if location
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains(".npy."))
    {
        return Err(InputError::file(
            location,
            "is packed: unpack .npy files first",
        ));
    }
    let found = text::inspect(found, compression)?;
    Ok(found.map(|(segment, columns)| (vec![segment], columns)))
}
