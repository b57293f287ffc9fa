//! Points in files: what is there, how it is divided, and reading a part of it.
//!
//! A file is read by many processes, each its own range. A line belongs to the range that has
//! its first byte, so any division reads every line once. Rows are centred as they are read: the
//! mean of the first rows is subtracted in `f64` before rounding to `f32`, so that data far from
//! the origin keeps its digits. The mean depends on the files only, never on the division.

use std::fs;
use std::path::{Path, PathBuf};

use kmeans_kernels::{MAGNITUDE_MAX, Points, narrow};

use crate::limits::{DIMENSION_MAX, SHIFT_ROWS};

pub(crate) mod npy;
pub(crate) mod text;

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
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
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::Io { path, source }
    }

    pub(crate) fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::File {
            path: path.display().to_string(),
            what: what.into(),
        }
    }
}

/// How a file is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// Numbers in lines.
    Text,
    /// Numpy's format.
    Npy(npy::Kind),
}

/// A range of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) start: u64,
    pub(crate) length: u64,
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
    /// Looks at files, and at the files in directories.
    ///
    /// # Errors
    ///
    /// If a file can't be read, its header or first line makes no sense, or there is none.
    pub fn inspect(inputs: &[PathBuf]) -> Result<Self, InputError> {
        let mut files = Vec::new();
        let mut dimension = None;
        for path in expand(inputs)? {
            let found = if is_npy(&path) {
                npy::inspect(&path)?
            } else {
                text::inspect(&path)?
            };
            let Some((segment, columns)) = found else {
                continue;
            };
            let expected = *dimension.get_or_insert(columns);
            if columns != expected {
                let what =
                    format!("has {columns} coordinates a point; the first file has {expected}");
                return Err(InputError::file(&path, what));
            }
            files.push(segment);
        }
        let Some(dimension) = dimension else {
            let names: Vec<String> = inputs
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(InputError::Empty {
                inputs: names.join(", "),
            });
        };
        if dimension > DIMENSION_MAX {
            let what = format!("{dimension} coordinates a point; the limit is {DIMENSION_MAX}");
            return Err(InputError::file(&files[0].path, what));
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

    /// Whether all files are numpy's.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.files.iter().all(|file| file.format != Format::Text)
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
        let unit = match &whole.format {
            Format::Text => 1,
            Format::Npy(kind) => kind.bytes() * dimension as u64,
        };
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
        // Ten bytes for a number with its comma.
        Format::Text => segment.length / (10 * dimension as u64),
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
        Format::Text => text::read(segment, dimension, visit),
        Format::Npy(kind) => npy::read(segment, *kind, dimension, visit),
    }
}

/// All rows of a file, as they are: initial centroids, for example.
///
/// # Errors
///
/// If the file can't be read or has no points.
pub fn read_small(path: &Path) -> Result<(usize, Vec<f64>), InputError> {
    let dataset = Dataset::inspect(&[path.to_path_buf()])?;
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

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npy")
}

/// Files, and the files in directories by name.
fn expand(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut files = Vec::new();
    for input in inputs {
        let text = input.to_string_lossy();
        if text.contains("://") {
            return Err(InputError::file(input, "only local files can be read"));
        }
        if input
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            return Err(InputError::file(
                input,
                "Parquet can't be read yet: convert it to .npy or CSV",
            ));
        }
        if !fs::metadata(input).map_err(InputError::io(input))?.is_dir() {
            files.push(input.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(input).map_err(InputError::io(input))? {
            let entry = entry.map_err(InputError::io(input))?;
            let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
            if !hidden && entry.path().is_file() {
                inside.push(entry.path());
            }
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}
