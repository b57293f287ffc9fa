//! Up to 64 points, transposed, with their two best scores.

use crate::BLOCK;
use crate::centroids::Centroids;
use crate::isa::Isa;
use crate::points::Points;
use crate::simd::{Scan, gather, scan};

/// A rounding of a square root, an addition and a product, generously.
const ENOUGH: f32 = 1.0 / 1_048_576.0;

/// A block of points and what a scan found for each.
#[derive(Debug)]
pub struct Block {
    isa: Isa,
    columns: Vec<f32>,
    count: usize,
    norms: [f32; BLOCK],
    best: [f32; BLOCK],
    second: [f32; BLOCK],
    index: [u32; BLOCK],
}

impl Block {
    /// An empty block.
    ///
    /// # Panics
    ///
    /// If this processor lacks the instructions.
    #[must_use]
    pub fn new(isa: Isa, dimension: usize) -> Self {
        assert!(isa.is_here(), "the processor has these instructions");
        Self {
            isa,
            columns: vec![0.0; dimension * BLOCK],
            count: 0,
            norms: [0.0; BLOCK],
            best: [0.0; BLOCK],
            second: [0.0; BLOCK],
            index: [0; BLOCK],
        }
    }

    /// Takes 1 to 64 rows.
    pub(crate) fn gather(&mut self, points: &Points, rows: &[u32]) {
        gather(self.isa, points, rows, &mut self.columns, &mut self.norms);
        self.count = rows.len();
    }

    /// Finds the best and the second best of some centroids, in the order of their indexes.
    pub(crate) fn scan(&mut self, centroids: &Centroids, candidates: &[u32]) {
        self.best = [f32::INFINITY; BLOCK];
        self.second = [f32::INFINITY; BLOCK];
        self.index = [0; BLOCK];
        let mut lanes = Scan {
            columns: &self.columns,
            count: self.count,
            best: &mut self.best,
            second: &mut self.second,
            index: &mut self.index,
        };
        scan(self.isa, &mut lanes, centroids, candidates);
    }

    /// The chosen centroid of each point.
    #[must_use]
    pub fn indexes(&self) -> &[u32] {
        &self.index[..self.count]
    }

    /// Bounds from above on the distances to the chosen centroids.
    pub(crate) fn uppers(&self, slop: f32) -> [f32; BLOCK] {
        let mut bounds = [0.0; BLOCK];
        for (bound, (norm, score)) in bounds.iter_mut().zip(self.norms.iter().zip(&self.best)) {
            *bound = (norm + 2.0 * score + slop).max(0.0).sqrt() * (1.0 + ENOUGH);
        }
        bounds
    }

    /// Bounds from below on the distances to the other centroids of the scan.
    pub(crate) fn lowers(&self, slop: f32) -> [f32; BLOCK] {
        let mut bounds = [0.0; BLOCK];
        for (bound, (norm, score)) in bounds.iter_mut().zip(self.norms.iter().zip(&self.second)) {
            *bound = (norm + 2.0 * score - slop).max(0.0).sqrt() * (1.0 - ENOUGH);
        }
        bounds
    }
}

/// Scores rows against all centroids, without any state, block by block.
pub fn for_each_block(
    isa: Isa,
    points: &Points,
    rows: impl Iterator<Item = u32>,
    centroids: &Centroids,
    mut visit: impl FnMut(&[u32], &Block),
) {
    let mut block = Block::new(isa, points.dimension());
    let mut ids = Vec::with_capacity(BLOCK);
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        ids.clear();
        ids.extend(rows.by_ref().take(BLOCK));
        block.gather(points, &ids);
        block.scan(centroids, centroids.all());
        visit(&ids, &block);
    }
}
