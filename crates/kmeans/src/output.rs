//! What a job leaves behind: centroids, assignments, what happened, and two pictures.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::job::{JobError, Outcome};
use crate::options::Options;

mod picture;
mod plane;

/// Numpy's header for one column of `<i4`, padded to a fixed size so that it can be written
/// last.
const NPY_HEADER_BYTES: usize = 128;

/// The directory of a job's results.
#[derive(Debug)]
pub struct Results {
    directory: PathBuf,
    assignments: BufWriter<File>,
    path: PathBuf,
    /// Each centroid's line; empty for `.npy`.
    lines: Vec<Vec<u8>>,
    rows: u64,
}

/// The summary, as JSON.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    rows: u64,
    dimension: usize,
    k: usize,
    inertia: f64,
    converged: bool,
    iterations: usize,
    milliseconds_iterating: f64,
    best_run: u32,
    inertia_of_runs: &'a [f64],
    seed: u64,
    init: String,
    reseeded: Vec<u32>,
    empty: Vec<u32>,
    points_of_centroids: &'a [u64],
    history: &'a [crate::job::Iteration],
}

impl Results {
    /// Makes the directory, and starts the file with the assignments: one line for each point,
    /// or `.npy` if that is what the input was.
    ///
    /// # Errors
    ///
    /// If it can't be written to.
    pub fn create(directory: &Path, k: usize, binary: bool) -> Result<Self, JobError> {
        fs::create_dir_all(directory).map_err(write_error(directory))?;
        let name = if binary {
            "assignments.npy"
        } else {
            "assignments.csv"
        };
        let path = directory.join(name);
        let mut assignments = BufWriter::new(File::create(&path).map_err(write_error(&path))?);
        let lines = if binary {
            assignments
                .write_all(&[0; NPY_HEADER_BYTES])
                .map_err(write_error(&path))?;
            Vec::new()
        } else {
            (0..k)
                .map(|center| format!("{center}\n").into_bytes())
                .collect()
        };
        Ok(Self {
            directory: directory.to_path_buf(),
            assignments,
            path,
            lines,
            rows: 0,
        })
    }

    /// Adds the centroids of the next rows.
    ///
    /// # Errors
    ///
    /// If they can't be written.
    pub fn assign(&mut self, centers: &[u32]) -> Result<(), JobError> {
        let mut bytes = Vec::with_capacity(centers.len() * 4);
        for &center in centers {
            match self.lines.get(center as usize) {
                Some(line) => bytes.extend_from_slice(line),
                None => bytes.extend_from_slice(&center.to_le_bytes()),
            }
        }
        self.rows += centers.len() as u64;
        self.assignments
            .write_all(&bytes)
            .map_err(write_error(&self.path))
    }

    /// Writes everything else. Answers with the files.
    ///
    /// # Errors
    ///
    /// If something can't be written.
    pub fn finish(
        mut self,
        outcome: &Outcome,
        options: &Options,
    ) -> Result<Vec<PathBuf>, JobError> {
        self.close()?;
        let plot = picture::Plot::of(outcome);
        let files = [
            ("centroids.csv", csv(&outcome.centers, outcome.dimension)),
            ("iterations.csv", iterations_csv(outcome)),
            ("summary.json", summary(outcome, options)),
            ("clusters.svg", plot.scatter()),
            ("convergence.svg", plot.convergence()),
        ];
        let mut paths = vec![self.path.clone()];
        for (name, text) in files {
            let path = self.directory.join(name);
            fs::write(&path, text).map_err(write_error(&path))?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Ends the file with the assignments.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn close(&mut self) -> Result<(), JobError> {
        let mut close = || -> std::io::Result<()> {
            if self.lines.is_empty() {
                self.assignments.seek(SeekFrom::Start(0))?;
                self.assignments.write_all(&npy_header(self.rows))?;
            }
            self.assignments.flush()
        };
        close().map_err(write_error(&self.path))
    }
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> JobError {
    let path = path.to_path_buf();
    |source| JobError::Write { path, source }
}

fn npy_header(rows: u64) -> Vec<u8> {
    let dictionary = format!("{{'descr': '<i4', 'fortran_order': False, 'shape': ({rows},), }}");
    let text_bytes = NPY_HEADER_BYTES - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(u16::try_from(text_bytes).expect("128 bytes").to_le_bytes());
    header.extend(format!("{dictionary:<width$}\n", width = text_bytes - 1).bytes());
    header
}

/// Rows of numbers that read back as the same numbers.
#[must_use]
pub fn csv(values: &[f64], dimension: usize) -> String {
    let mut text = String::new();
    for row in values.chunks_exact(dimension) {
        for (at, value) in row.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}{value}").expect("writing to a string cannot fail");
        }
        text.push('\n');
    }
    text
}

fn iterations_csv(outcome: &Outcome) -> String {
    let mut text = "iteration,inertia,shift,reseeded,evaluated,milliseconds\n".to_owned();
    for it in &outcome.iterations {
        let inertia = it
            .inertia
            .map(|inertia| inertia.to_string())
            .unwrap_or_default();
        let (reseeded, evaluated) = (it.reseeded.len(), it.evaluated);
        writeln!(
            text,
            "{},{inertia},{},{reseeded},{evaluated},{:.3}",
            it.iteration, it.shift, it.milliseconds
        )
        .expect("writing to a string cannot fail");
    }
    text
}

fn summary(outcome: &Outcome, options: &Options) -> String {
    let mut reseeded: Vec<u32> = outcome
        .iterations
        .iter()
        .flat_map(|it| it.reseeded.clone())
        .collect();
    reseeded.sort_unstable();
    reseeded.dedup();
    let last = outcome.iterations.last();
    let summary = Summary {
        rows: outcome.rows,
        dimension: outcome.dimension,
        k: outcome.counts.len(),
        inertia: outcome.inertia,
        converged: outcome.converged,
        iterations: outcome.iterations.len(),
        milliseconds_iterating: outcome.iterating.as_secs_f64() * 1e3,
        best_run: outcome.best_run,
        inertia_of_runs: &outcome.runs,
        seed: options.seed,
        init: options.init.to_string(),
        reseeded,
        empty: last.map(|it| it.empty.clone()).unwrap_or_default(),
        points_of_centroids: &outcome.counts,
        history: &outcome.iterations,
    };
    let mut text = serde_json::to_string_pretty(&summary).expect("the summary is plain data");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_numpys() {
        let header = npy_header(12_345);
        assert_eq!(header.len(), NPY_HEADER_BYTES);
        assert!(header.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i4'"));
        assert_eq!(header.last(), Some(&b'\n'));
    }

    #[test]
    fn numbers_read_back() {
        assert_eq!(
            csv(&[0.1, -3.0, 1e-20, 5.5], 2),
            "0.1,-3\n0.00000000000000000001,5.5\n"
        );
    }
}
