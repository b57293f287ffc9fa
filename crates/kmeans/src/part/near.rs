//! The distance of every row from its nearest centre, for seeding and for single questions.
//!
//! Seeding adds centres, so the distances are kept and only the new centres are looked at. If
//! the centres are others than the ones known, everything is computed anew.

use kmeans_kernels::{Centroids, Isa, Points, for_each_block, narrow};

use super::{Answer, Row, distance};

/// Distances from the centres so far.
#[derive(Debug, Default)]
pub(super) struct Near {
    centers: Vec<f64>,
    squares: Vec<f32>,
    nearest: Vec<u32>,
}

impl Near {
    /// Brings the distances up to date with centres of which the known ones are a beginning.
    pub(super) fn update(&mut self, isa: Isa, points: &Points, centers: &[f64], dimension: usize) {
        if self.nearest.len() != points.rows() || !centers.starts_with(&self.centers) {
            *self = Self {
                centers: Vec::new(),
                squares: vec![f32::INFINITY; points.rows()],
                nearest: vec![0; points.rows()],
            };
        }
        let fresh = &centers[self.centers.len()..];
        if fresh.is_empty() {
            return;
        }
        let known = u32::try_from(self.centers.len() / dimension).expect("centres are bounded");
        let centroids = Centroids::new(dimension, fresh);
        for_each_block(isa, points, points.ids(), &centroids, |rows, block| {
            for (&row, &center) in rows.iter().zip(block.indexes()) {
                let at = row as usize;
                let square = narrow(distance(points, at, fresh, center));
                if square < self.squares[at] {
                    self.squares[at] = square;
                    self.nearest[at] = known + center;
                }
            }
        });
        self.centers = centers.to_vec();
    }

    /// The same, but nothing known is used: the nearest centre is then chosen as in a step,
    /// which is not quite the same as by the smallest rounded distance.
    pub(super) fn restart(&mut self, isa: Isa, points: &Points, centers: &[f64], dimension: usize) {
        *self = Self::default();
        self.update(isa, points, centers, dimension);
    }

    /// The winner of a race in which every row takes `-ln(draw) / square`: the probability to
    /// win is proportional to `square`, however the rows are divided.
    pub(super) fn race(&self, points: &Points, draw: impl Fn(u64) -> f64, first: u64) -> Answer {
        let mut best = (f64::INFINITY, 0);
        for (row, &square) in (0u64..).zip(&self.squares) {
            let square = f64::from(square);
            // A draw is below 1 and has 53 bits, so `1 - draw` is exact and never 0; and as
            // `-ln(u) >= 1 - u`, the draw alone rules most rows out without a logarithm.
            let draw = draw(row);
            if square > 0.0 && draw < best.0 * square {
                let time = -(1.0 - draw).ln() / square;
                if time < best.0 {
                    best = (time, row);
                }
            }
        }
        let (key, row) = best;
        let rows = key.is_finite().then(|| self.row(points, row, key, first));
        Answer {
            rows: rows.into_iter().collect(),
            ..Answer::default()
        }
    }

    /// Rows drawn independently.
    pub(super) fn oversample(
        &self,
        points: &Points,
        draw: impl Fn(u64) -> f64,
        factor: f64,
        first: u64,
    ) -> Answer {
        let rows = (0u64..).zip(&self.squares);
        let taken = rows.filter(|&(row, &square)| draw(row) < factor * f64::from(square));
        Answer {
            rows: taken
                .map(|(row, _)| self.row(points, row, 0.0, first))
                .collect(),
            ..Answer::default()
        }
    }

    /// The nearest centre of each row.
    pub(super) fn nearest(&self) -> &[u32] {
        &self.nearest
    }

    /// How many rows are nearest to each centre.
    pub(super) fn weights(&self, count: usize) -> Answer {
        let mut counts = vec![0; count];
        for &center in &self.nearest {
            counts[center as usize] += 1;
        }
        Answer {
            counts,
            ..Answer::default()
        }
    }

    /// The rows with the largest distances, and those distances.
    pub(super) fn farthest(
        &self,
        points: &Points,
        centers: &[f64],
        count: usize,
        first: u64,
    ) -> Answer {
        let pairs = self.nearest.iter().enumerate();
        let mut ranked: Vec<(f64, usize)> = pairs
            .map(|(row, &center)| (distance(points, row, centers, center), row))
            .collect();
        if count < ranked.len() {
            let order =
                |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            ranked.select_nth_unstable_by(count, order);
            ranked.truncate(count);
        }
        let rows = ranked.into_iter();
        Answer {
            rows: rows
                .map(|(key, row)| self.row(points, row as u64, key, first))
                .collect(),
            ..Answer::default()
        }
    }

    fn row(&self, points: &Points, row: u64, key: f64, first: u64) -> Row {
        let at = usize::try_from(row).expect("a row of this shard");
        Row {
            row: first + row,
            key,
            center: self.nearest[at],
            values: points.row(at).to_vec(),
        }
    }
}
