//! Where the first centroids come from.
//!
//! k-means|| (Bahmani and others, 2012): start with one random row; a few times over, take every
//! row with a probability proportional to its squared distance from what was taken before, k rows
//! on average; weigh each row taken by the rows it is nearest to; and let k-means++ choose among
//! them. A row's draw depends on the seed, the round and its number, so the choice is the same
//! for any division of the rows.

use std::path::Path;

use kmeans_kernels::{Centroids, Isa, Points, distance_squared, for_each_block};
use stdx::Prng;

use super::{Cluster, Job};
use crate::input::read_small;
use crate::job::JobError;
use crate::limits::{OVERSAMPLING, ROUNDS};
use crate::part::{Question, Row};

/// Iterations over the candidates of k-means||: they are few.
const POLISH_ITERATIONS: usize = 10;

impl<C: Cluster> Job<'_, C> {
    pub(super) fn seed_from_file(&self, path: &Path) -> Result<Vec<f64>, JobError> {
        let (found_dimension, mut values) = read_small(&path.to_string_lossy())?;
        let (k, dimension) = (self.options.k, self.shift.len());
        if found_dimension != dimension || values.len() != k * dimension {
            return Err(JobError::InitialCentroids {
                path: path.to_path_buf(),
                found: values.len() / found_dimension,
                found_dimension,
                k,
                dimension,
            });
        }
        let shifts = self.shift.iter().cycle();
        values
            .iter_mut()
            .zip(shifts)
            .for_each(|(value, shift)| *value -= shift);
        Ok(values)
    }

    pub(super) async fn seed_first(&mut self) -> Result<Vec<f64>, JobError> {
        let count = self.options.k as u64;
        let answer = self.cluster.ask(Question::First { count }, &[]).await?;
        Ok(values_of(&answer.rows))
    }

    pub(super) async fn seed_random(&mut self, run: u32) -> Result<Vec<f64>, JobError> {
        let rows = self.random_rows(run, self.options.k).await?;
        Ok(values_of(&rows))
    }

    async fn random_rows(&mut self, run: u32, count: usize) -> Result<Vec<Row>, JobError> {
        let question = Question::Smallest {
            seed: self.seed_of(run),
            count,
        };
        Ok(self.cluster.ask(question, &[]).await?.rows)
    }

    pub(super) async fn seed_plus_plus(&mut self, run: u32) -> Result<Vec<f64>, JobError> {
        let mut centers = self.seed_random_one(run).await?;
        for round in 1..self.options.k as u64 {
            let question = Question::Race {
                seed: self.seed_of(run),
                round,
            };
            let answer = self.cluster.ask(question, &centers).await?;
            if let Some(row) = answer.rows.first() {
                centers.extend(row.values.iter().copied().map(f64::from));
            } else {
                // Every row is a centre already: the rest are empty clusters.
                centers.extend_from_within(..self.shift.len());
            }
        }
        Ok(centers)
    }

    async fn seed_random_one(&mut self, run: u32) -> Result<Vec<f64>, JobError> {
        let rows = self.random_rows(run, 1).await?;
        Ok(values_of(&rows))
    }

    pub(super) async fn seed_parallel(&mut self, run: u32) -> Result<Vec<f64>, JobError> {
        let seed = self.seed_of(run);
        let dimension = self.shift.len();
        let mut centers = self.seed_random_one(run).await?;
        for round in 1..=ROUNDS {
            let potential = self.potential(&centers).await?;
            if potential <= 0.0 {
                break;
            }
            let question = Question::Oversample {
                seed,
                round,
                factor: OVERSAMPLING * self.options.k as f64 / potential,
            };
            let answer = self.cluster.ask(question, &centers).await?;
            centers.extend(values_of(&answer.rows));
        }
        if centers.len() / dimension <= self.options.k {
            return self.seed_plus_plus(run).await;
        }
        let answer = self.cluster.ask(Question::Weights, &centers).await?;
        let candidates = Candidates {
            values: centers,
            weights: answer.counts,
            dimension,
        };
        Ok(candidates.choose(self.options.k, seed))
    }
}

fn values_of(rows: &[Row]) -> Vec<f64> {
    let values = rows.iter().flat_map(|row| row.values.iter().copied());
    values.map(f64::from).collect()
}

/// Weighted points among which k are chosen, in this process.
struct Candidates {
    values: Vec<f64>,
    weights: Vec<u64>,
    dimension: usize,
}

impl Candidates {
    /// Weighted k-means++, trying a few candidates for each place, then a few iterations.
    fn choose(&self, k: usize, seed: u64) -> Vec<f64> {
        let mut prng = Prng::from_seed(seed);
        let trials = 2 + k.ilog2() as usize;
        let count = self.weights.len();
        let points = Points::from_f64(self.dimension, &self.values);
        let total = self
            .weights
            .iter()
            .map(|&weight| weight as f64)
            .sum::<f64>();
        let weights: Vec<f64> = self.weights.iter().map(|&weight| weight as f64).collect();
        let first = pick(&weights, total, &mut prng);
        let mut centers = self.row(first).to_vec();
        let squares = |center: &[f64]| -> Vec<f64> {
            (0..count)
                .map(|at| distance_squared(points.row(at), center))
                .collect()
        };
        let mut nearest = squares(&centers);
        for _ in 1..k {
            let shares: Vec<f64> = nearest.iter().zip(&weights).map(|(n, w)| n * w).collect();
            let total = shares.iter().sum::<f64>();
            let mut best: Option<(f64, usize, Vec<f64>)> = None;
            for _ in 0..trials {
                let at = pick(&shares, total, &mut prng);
                let mut closer = squares(self.row(at));
                closer
                    .iter_mut()
                    .zip(&nearest)
                    .for_each(|(new, old)| *new = new.min(*old));
                let potential: f64 = closer.iter().zip(&weights).map(|(n, w)| n * w).sum();
                if best.as_ref().is_none_or(|(least, ..)| potential < *least) {
                    best = Some((potential, at, closer));
                }
            }
            let (_, at, closer) = best.expect("there is at least one trial");
            centers.extend_from_slice(self.row(at));
            nearest = closer;
        }
        for _ in 0..POLISH_ITERATIONS {
            self.polish(&points, &mut centers);
        }
        centers
    }

    /// One weighted iteration.
    fn polish(&self, points: &Points, centers: &mut [f64]) {
        let centroids = Centroids::new(self.dimension, centers);
        let mut sums = vec![0.0; centers.len()];
        let mut totals = vec![0.0; centroids.count()];
        for_each_block(
            Isa::detect(),
            points,
            points.ids(),
            &centroids,
            |rows, block| {
                for (&row, &center) in rows.iter().zip(block.indexes()) {
                    let weight = self.weights[row as usize] as f64;
                    let sums = &mut sums[center as usize * self.dimension..];
                    for (sum, &value) in sums.iter_mut().zip(points.row(row as usize)) {
                        *sum += weight * f64::from(value);
                    }
                    totals[center as usize] += weight;
                }
            },
        );
        let rows = centers
            .chunks_exact_mut(self.dimension)
            .zip(sums.chunks_exact(self.dimension));
        for ((center, sums), total) in rows.zip(totals).filter(|(_, total)| *total > 0.0) {
            center
                .iter_mut()
                .zip(sums)
                .for_each(|(center, sum)| *center = sum / total);
        }
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.values[at * self.dimension..(at + 1) * self.dimension]
    }
}

/// An index with a probability proportional to its share.
fn pick(shares: &[f64], total: f64, prng: &mut Prng) -> usize {
    let mut left = (prng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
    for (at, share) in shares.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return at;
        }
    }
    shares.len() - 1
}
