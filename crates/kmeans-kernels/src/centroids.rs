//! Centroids as the kernels want them, and what can be known from them alone.

use crate::number::{above, below, narrow, short};

/// Beyond this many centroids their mutual distances are not kept: the square of it in floats
/// is 64 MiB.
const DISTANCES_MAX: usize = 4096;
/// Half a unit in the last place of 1.
const ROUNDING: f64 = 1.0 / 16_777_216.0;

/// A set of centroids.
#[derive(Clone, Debug)]
pub struct Centroids {
    dimension: usize,
    values: Vec<f32>,
    /// Half the squared length of each.
    halves: Vec<f32>,
    all: Vec<u32>,
    norm: f64,
    /// For each pair, a bound from below on the distance; empty if there are too many.
    distances: Vec<f32>,
    /// For each, a bound from below on the distance to the nearest other; 0 if unknown.
    nearest: Vec<f32>,
}

impl Centroids {
    /// Centroids from their coordinates, rounded to `f32`.
    ///
    /// # Panics
    ///
    /// If there are none, or the coordinates are not a multiple of the dimension.
    #[must_use]
    pub fn new(dimension: usize, coordinates: &[f64]) -> Self {
        assert!(!coordinates.is_empty(), "there is at least one centroid");
        assert_eq!(coordinates.len() % dimension, 0, "centroids are whole");
        let values: Vec<f32> = coordinates.iter().copied().map(narrow).collect();
        let count = coordinates.len() / dimension;
        let squares = values.chunks_exact(dimension).map(|row| {
            let squares = row.iter().map(|&c| f64::from(c) * f64::from(c));
            squares.sum::<f64>()
        });
        let squares: Vec<f64> = squares.collect();
        Self {
            dimension,
            halves: squares.iter().map(|square| narrow(square / 2.0)).collect(),
            all: (0..count).map(short).collect(),
            norm: squares
                .iter()
                .fold(0.0f64, |norm, &square| norm.max(square))
                .sqrt(),
            distances: Vec::new(),
            nearest: vec![0.0; count],
            values,
        }
    }

    /// The same, with the distances between them, which [`crate::State`] needs to be quick.
    #[must_use]
    pub fn with_distances(mut self) -> Self {
        let count = self.count();
        if count > DISTANCES_MAX {
            return self;
        }
        self.distances = vec![0.0; count * count];
        self.nearest = vec![f32::INFINITY; count];
        for a in 0..count {
            for b in 0..a {
                let distance = below(apart(self.row(a), self.row(b)));
                self.distances[a * count + b] = distance;
                self.distances[b * count + a] = distance;
                self.nearest[a] = self.nearest[a].min(distance);
                self.nearest[b] = self.nearest[b].min(distance);
            }
        }
        self
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.halves.len()
    }

    /// How many coordinates each has.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// Every index, in order.
    #[must_use]
    pub fn all(&self) -> &[u32] {
        &self.all
    }

    /// One of them.
    #[must_use]
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dimension..(at + 1) * self.dimension]
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn halves(&self) -> &[f32] {
        &self.halves
    }

    /// Bounds from below on the distances from one to all, if they are kept.
    pub(crate) fn distances(&self, from: usize) -> Option<&[f32]> {
        self.distances.chunks_exact(self.count()).nth(from)
    }

    pub(crate) fn nearest(&self, from: usize) -> f32 {
        self.nearest[from]
    }

    /// What rounding can do to a squared distance that is computed as `|x|^2 + 2 score`, for
    /// points no longer than `norm`.
    ///
    /// The score is a chain of `d` fused steps that starts from a rounded half square, so its
    /// error is below `(d + 1) u (|x| |c| + |c|^2 / 2)` up to terms of `u^2`; `|x|^2` has
    /// `(d + 1) u |x|^2`, and their sum one more rounding. The factor 8 covers all of it twice.
    /// It is also how far the squares of the two bounds of a point must be apart before it is
    /// certain that the scores, as computed, prefer the nearer centroid.
    pub(crate) fn slop(&self, norm: f32) -> f32 {
        let (x, c) = (f64::from(norm), self.norm);
        let terms = (self.dimension + 8) as f64;
        above(8.0 * terms * ROUNDING * (x * x + x * c + c * c)) + f32::MIN_POSITIVE * 1024.0
    }
}

/// The distance between two rows.
pub(crate) fn apart(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (at, (&a, &b)) in left.remainder().iter().zip(right.remainder()).enumerate() {
        sums[at] = (f64::from(a) - f64::from(b)).powi(2);
    }
    for (a, b) in left.zip(right) {
        for at in 0..8 {
            let difference = f64::from(a[at]) - f64::from(b[at]);
            sums[at] += difference * difference;
        }
    }
    sums.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_bounds_from_below() {
        let centroids = Centroids::new(2, &[0.0, 0.0, 3.0, 4.0, 0.0, 1.0]).with_distances();
        let row = centroids.distances(0).unwrap();
        assert!(row[1] <= 5.0 && row[1] > 4.9999);
        assert!(row[2] <= 1.0 && row[2] > 0.9999);
        assert!((centroids.nearest(1) - 18f32.sqrt()).abs() < 1e-4);
        assert_eq!(centroids.count(), 3);
    }

    #[test]
    fn one_centroid_has_no_neighbour() {
        let centroids = Centroids::new(1, &[7.0]).with_distances();
        assert_eq!(centroids.nearest(0), f32::INFINITY);
    }
}
