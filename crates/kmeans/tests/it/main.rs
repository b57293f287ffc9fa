//! Whole jobs in one process: they find what scikit-learn finds, for any division into parts;
//! seeding, empty clusters and mini-batches are the same for any division; bad input is refused
//! with its place.
#![expect(
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such"
)]

mod bad_input;
mod divisions;
mod formats;
mod results;
mod scikit_learn;

use std::path::{Path, PathBuf};

use kmeans::{Dataset, Init, Isa, JobError, Options, Outcome};

/// A file of testdata/.
fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/testdata")
        .join(name)
}

/// What the library wants instead of paths.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.display().to_string();
    paths.iter().map(name).collect()
}

fn fit(input: &[PathBuf], options: &Options) -> Result<(Outcome, Vec<u32>), JobError> {
    let dataset = Dataset::inspect(&names(input))?;
    kmeans::local::fit(&dataset, options, Isa::detect(), &mut |_| {})
}

/// One of scikit-learn's sets from its fixed start, until nothing changes.
fn fixture(name: &str, k: usize, parts: usize) -> (Outcome, Vec<u32>) {
    let options = Options {
        k,
        mappers: parts,
        tolerance: 0.0,
        init: Init::File(testdata(&format!("{name}-start.csv"))),
        ..Options::default()
    };
    fit(&[testdata(&format!("{name}.csv"))], &options).unwrap()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}
