//! What a job is asked to do.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::limits::{CENTERS_MAX, PARTS_MAX};

/// How the first centroids are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Init {
    /// k-means||: a few rounds over the data, then k-means++ among some candidates.
    Parallel,
    /// k-means++: one pass over the data for each centroid.
    PlusPlus,
    /// Rows, all equally likely.
    Random,
    /// The first rows of the input.
    First,
    /// The points of a file.
    File(PathBuf),
}

impl FromStr for Init {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "k-means||" | "kmeans||" | "parallel" => Ok(Self::Parallel),
            "k-means++" | "kmeans++" => Ok(Self::PlusPlus),
            "random" => Ok(Self::Random),
            "first" => Ok(Self::First),
            path if path.contains(['.', '/']) => Ok(Self::File(PathBuf::from(path))),
            _ => Err("is none of k-means||, k-means++, random, first, nor a file".to_owned()),
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parallel => f.write_str("k-means||"),
            Self::PlusPlus => f.write_str("k-means++"),
            Self::Random => f.write_str("random"),
            Self::First => f.write_str("first"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The numbers of a job.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many centroids.
    pub k: usize,
    /// Parts of the input, each with a mapper.
    pub mappers: usize,
    /// Partitions of the centroids, each with a reducer.
    pub reducers: usize,
    /// The job stops after so many iterations at the latest.
    pub max_iterations: u32,
    /// The job stops when the centroids move, squared and summed, by no more than this share
    /// of the mean variance of a coordinate. With 0 it goes on until nothing changes.
    pub tolerance: f64,
    /// All chance comes from it.
    pub seed: u64,
    /// How the first centroids are found.
    pub init: Init,
    /// The whole job is run so often, with other seeds, and the best run is kept.
    pub restarts: u32,
    /// Use about so many rows in an iteration instead of all.
    pub mini_batch: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            k: 8,
            mappers: 2,
            reducers: 2,
            max_iterations: 300,
            tolerance: 1e-4,
            seed: 0,
            init: Init::Parallel,
            restarts: 1,
            mini_batch: None,
        }
    }
}

impl Options {
    /// Says what is wrong, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the option.
    pub fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}; it must be from 1 to {max}"))
            }
        };
        within("k", self.k, CENTERS_MAX)?;
        within("mappers", self.mappers, PARTS_MAX)?;
        within("reducers", self.reducers, PARTS_MAX)?;
        within("restarts", self.restarts as usize, 10_000)?;
        within("max-iterations", self.max_iterations as usize, 1_000_000)?;
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return Err(format!(
                "tolerance is {}; it can't be negative",
                self.tolerance
            ));
        }
        if self.mini_batch == Some(0) {
            return Err("mini-batch is 0; it needs at least one row".to_owned());
        }
        Ok(())
    }
}
