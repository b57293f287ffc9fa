//! The original's `dump.txt`: every call, every answer, the centroids after every iteration.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::job::JobError;

/// A protocol of a job, for people. Does nothing unless it was opened.
#[derive(Debug, Default)]
pub struct Journal {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    inner: Mutex<(BufWriter<File>, Option<std::io::Error>)>,
}

impl Journal {
    /// Writes to a new file, and to the standard output.
    ///
    /// # Errors
    ///
    /// If the file can't be made.
    pub fn create(path: &Path) -> Result<Self, JobError> {
        let file = File::create(path).map_err(|source| JobError::Write {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            open: Some(Open {
                path: path.to_path_buf(),
                inner: Mutex::new((BufWriter::new(file), None)),
            }),
        })
    }

    /// Adds a line. What goes wrong is reported by [`Self::close`].
    pub(crate) fn line(&self, line: std::fmt::Arguments<'_>) {
        let Some(open) = &self.open else {
            return;
        };
        let mut inner = open.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, error) = &mut *inner;
        let text = format!("{line}\n");
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| std::io::stdout().write_all(text.as_bytes()));
        if let (Err(new), None) = (written, &error) {
            *error = Some(new);
        }
    }

    /// Adds centroids, one line each.
    pub(crate) fn centers(&self, centers: &[f64], dimension: usize) {
        for center in centers.chunks_exact(dimension) {
            self.line(format_args!("  {}", coordinates(center)));
        }
    }

    /// Forces everything out.
    pub(crate) fn close(&self) -> Result<(), JobError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let mut inner = open.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, error) = &mut *inner;
        let result = error.take().map_or_else(|| file.flush(), Err);
        result.map_err(|source| JobError::Write {
            path: open.path.clone(),
            source,
        })
    }
}

/// A point as the original writes it: `x,y`, with no more digits than mean something.
pub(crate) fn coordinates(values: &[f64]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let digits = format!("{value:.6}");
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let digits = if digits == "-0" { "0" } else { digits };
        write!(text, "{comma}{digits}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_short() {
        assert_eq!(
            coordinates(&[0.4, 7.199_999_9, -0.000_000_1, 12.0]),
            "0.4,7.2,0,12"
        );
    }
}
