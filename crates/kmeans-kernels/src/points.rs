//! Rows of `f32` in one aligned buffer.

use std::fmt;

use crate::number::{above, narrow, short};
use crate::simd::flat;

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line(pub(crate) [f32; 16]);

const LINE: usize = 16;

/// Points, row after row.
///
/// Invariants: the buffer reaches at least one line beyond the last row, so that a kernel may
/// load a whole register from any place in a row; every value is finite; there are fewer than
/// 2^32 - 1 rows.
#[derive(Clone)]
pub struct Points {
    lines: Vec<Line>,
    rows: usize,
    dimension: usize,
    magnitude: f32,
    norm: f64,
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Points({} x {})", self.rows, self.dimension)
    }
}

impl Points {
    /// No points yet, with room for `rows`.
    ///
    /// # Panics
    ///
    /// If the dimension is zero.
    #[must_use]
    pub fn new(dimension: usize, rows: usize) -> Self {
        assert!(dimension > 0, "a point has at least one coordinate");
        let lines = (rows * dimension).div_ceil(LINE) + 1;
        let mut vec = Vec::with_capacity(lines);
        vec.push(Line([0.0; LINE]));
        Self {
            lines: vec,
            rows: 0,
            dimension,
            magnitude: 0.0,
            norm: 0.0,
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// If the row has another dimension, a value that is not finite, or is one too many.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.dimension, "all rows have one dimension");
        assert!(
            self.rows < (u32::MAX - 1) as usize,
            "a shard holds fewer than 2^32 rows"
        );
        let start = self.rows * self.dimension;
        let need = (start + row.len()).div_ceil(LINE) + 1;
        while self.lines.len() < need {
            self.lines.push(Line([0.0; LINE]));
        }
        flat::values_mut(&mut self.lines)[start..start + row.len()].copy_from_slice(row);
        let norm = square_of(row);
        // As integers, magnitudes have the same order, and are compared eight at a time.
        let bits = row
            .iter()
            .fold(0, |most: u32, value| most.max(value.abs().to_bits()));
        let magnitude = f32::from_bits(bits);
        assert!(norm < f64::from(f32::MAX), "values are finite and not huge");
        self.magnitude = self.magnitude.max(magnitude);
        self.norm = self.norm.max(norm);
        self.rows += 1;
    }

    /// How many.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How many coordinates each has.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// The largest magnitude of a coordinate.
    #[must_use]
    pub const fn magnitude(&self) -> f32 {
        self.magnitude
    }

    /// A bound on the length of a row.
    pub(crate) fn norm(&self) -> f32 {
        above(self.norm.sqrt())
    }

    /// One row.
    #[inline]
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values()[row * self.dimension..(row + 1) * self.dimension]
    }

    /// All rows, one after the other.
    #[inline]
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &flat::values(&self.lines)[..self.rows * self.dimension]
    }

    /// All rows, and the room behind them that may be loaded.
    pub(crate) fn padded(&self) -> &[f32] {
        flat::values(&self.lines)
    }

    /// Row numbers as they are stored.
    #[must_use]
    pub fn ids(&self) -> std::ops::Range<u32> {
        0..short(self.rows)
    }

    /// Points from rows, rounded to `f32`.
    ///
    /// # Panics
    ///
    /// As [`Self::push`].
    #[must_use]
    pub fn from_f64(dimension: usize, values: &[f64]) -> Self {
        let mut points = Self::new(dimension, values.len() / dimension);
        let mut row = vec![0.0; dimension];
        for values in values.chunks_exact(dimension) {
            for (to, from) in row.iter_mut().zip(values) {
                *to = narrow(*from);
            }
            points.push(&row);
        }
        points
    }
}

/// The squared length of a row: eight sums, so that an addition need not wait for the last.
fn square_of(row: &[f32]) -> f64 {
    let (eights, rest) = row.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, &value) in sums.iter_mut().zip(eight) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum();
    sums.iter().sum::<f64>() + rest
}
