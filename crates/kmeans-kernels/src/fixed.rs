//! Sums that don't depend on the order: coordinates as integers, and wide sums of squares.

use crate::number::{power_of_two, to_f64};
use crate::points::Points;

/// Adding this to a small number leaves its nearest integer in the low bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Coordinates become integers below 2^50, where `MAGIC` works.
const COORDINATE_BITS: i32 = 50;
/// And their sum must stay below 2^62.
const SUM_BITS: i32 = 62;

/// The power of two that turns coordinates into integers.
///
/// All workers must use the same one: it follows from the largest magnitude and the number of
/// rows of the whole data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scale {
    exponent: i32,
}

impl Scale {
    /// The finest scale at which the sum of `rows` coordinates up to `magnitude` can't overflow.
    #[must_use]
    pub fn new(magnitude: f32, rows: u64) -> Self {
        let rows_bits = (64 - rows.leading_zeros()).cast_signed();
        let room = COORDINATE_BITS.min(SUM_BITS - rows_bits);
        Self {
            exponent: room - ceiling_exponent(f64::from(magnitude)),
        }
    }

    /// The scale with this exponent, as another process found it.
    #[must_use]
    pub const fn from_exponent(exponent: i32) -> Self {
        Self { exponent }
    }

    /// The exponent of two.
    #[must_use]
    pub const fn exponent(self) -> i32 {
        self.exponent
    }

    pub(crate) fn factor(self) -> f64 {
        power_of_two(self.exponent)
    }

    /// A coordinate as an integer.
    #[must_use]
    pub fn fixed(self, value: f32) -> i64 {
        fixed(value, self.factor())
    }

    /// The mean of `count` coordinates with this sum.
    #[must_use]
    pub fn mean(self, sum: i64, count: u64) -> f64 {
        to_f64(sum) * power_of_two(-self.exponent) / count as f64
    }
}

/// The smallest `e` with `value < 2^e`; 0 for zero.
fn ceiling_exponent(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    exponent_bits(value) - 1022
}

/// The exponent of a non-negative number, as stored.
#[inline]
const fn exponent_bits(value: f64) -> i32 {
    ((value.to_bits() >> 52) & 0x7ff) as i32
}

#[inline(always)]
fn fixed(value: f32, factor: f64) -> i64 {
    let shifted = f64::from(value) * factor + MAGIC;
    shifted
        .to_bits()
        .cast_signed()
        .wrapping_sub(MAGIC.to_bits().cast_signed())
}

/// A row that changes its centroid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) row: u32,
    /// `NOWHERE` if it was in no sum yet.
    pub(crate) source: u32,
    pub(crate) target: u32,
}

/// The centroid of a row that has none yet.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Inlined into functions that enable wider instructions.
#[inline(always)]
pub(crate) fn move_rows(points: &Points, moved: &[Moved], factor: f64, sums: &mut [i64]) {
    let dimension = points.dimension();
    for moved in moved {
        let row = points.row(moved.row as usize);
        let target = moved.target as usize * dimension;
        for (sum, &value) in sums[target..target + dimension].iter_mut().zip(row) {
            *sum = sum.wrapping_add(fixed(value, factor));
        }
        if moved.source != NOWHERE {
            let source = moved.source as usize * dimension;
            for (sum, &value) in sums[source..source + dimension].iter_mut().zip(row) {
                *sum = sum.wrapping_sub(fixed(value, factor));
            }
        }
    }
}

/// Adds rows, each to the sum of its centroid, and counts them.
///
/// # Panics
///
/// If a row or a centroid is out of range.
pub fn add_rows(
    points: &Points,
    rows: impl Iterator<Item = (u32, u32)>,
    scale: Scale,
    sums: &mut [i64],
    counts: &mut [u64],
) {
    for (row, target) in rows {
        let moved = Moved {
            row,
            source: NOWHERE,
            target,
        };
        move_rows(points, &[moved], scale.factor(), sums);
        counts[target as usize] += 1;
    }
}

/// The squared distance of a row from a point, in `f64`: eight partial sums, in fixed order.
#[must_use]
pub fn distance_squared(row: &[f32], from: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (rows, centers) = (row.chunks_exact(8), from.chunks_exact(8));
    for (at, (&x, &c)) in rows.remainder().iter().zip(centers.remainder()).enumerate() {
        sums[at] = (f64::from(x) - c) * (f64::from(x) - c);
    }
    for (x, c) in rows.zip(centers) {
        for at in 0..8 {
            let difference = f64::from(x[at]) - c[at];
            sums[at] += difference * difference;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// A sum of non-negative numbers, kept as an integer of 128 bits so that its order does not
/// matter: numbers up to `2^exponent`, in steps of `2^(exponent - 80)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exact {
    exponent: i32,
    sum: u128,
}

impl Exact {
    const STEPS_BITS: i32 = 80;

    /// Zero, for numbers up to `largest`.
    #[must_use]
    pub fn new(largest: f64) -> Self {
        Self {
            exponent: ceiling_exponent(largest),
            sum: 0,
        }
    }

    /// Adds a number that is no larger than promised.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let biased = exponent_bits(value);
        if biased == 0 {
            return;
        }
        let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52));
        // The mantissa counts 2^(biased - 1075); the sum counts 2^(exponent - 80).
        let shift = biased - 1075 - self.exponent + Self::STEPS_BITS;
        self.sum += match shift {
            0..=64 => mantissa << shift,
            -63..0 => mantissa >> -shift,
            _ => 0,
        };
    }

    /// The sum as an integer, to send to another process.
    #[must_use]
    pub const fn raw(self) -> u128 {
        self.sum
    }

    /// Adds what another process has summed with the same bound.
    pub const fn add_raw(&mut self, raw: u128) {
        self.sum += raw;
    }

    /// The sum.
    #[must_use]
    pub fn value(self) -> f64 {
        self.sum as f64 * power_of_two(self.exponent - Self::STEPS_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_become_the_nearest_integers() {
        let scale = Scale::from_exponent(3);
        for (value, integer) in [
            (0.0, 0),
            (1.0, 8),
            (-1.0, -8),
            (0.06, 0),
            (0.07, 1),
            (-2.57, -21),
        ] {
            assert_eq!(scale.fixed(value), integer, "{value}");
        }
    }

    #[test]
    fn the_scale_leaves_room_for_every_row() {
        for (magnitude, rows) in [(1.0, 1), (0.3, 1_000_000), (1e15, 1 << 40), (1e-30, 7)] {
            let scale = Scale::new(magnitude, rows);
            let one = i128::from(scale.fixed(magnitude));
            assert!(one <= 1 << 50, "{magnitude}");
            assert!(one * i128::from(rows) < 1 << 62, "{magnitude} x {rows}");
            assert!(one > 1 << 19, "{magnitude} keeps its digits");
        }
        assert_eq!(Scale::new(0.0, 10).fixed(0.0), 0);
    }

    #[test]
    fn a_mean_is_exact_where_the_sum_is() {
        let scale = Scale::new(100.0, 4);
        let sum: i64 = [1.5f32, 2.5, 99.25, -3.0]
            .map(|x| scale.fixed(x))
            .iter()
            .sum();
        assert_eq!(scale.mean(sum, 4), 100.25 / 4.0);
    }

    #[test]
    fn wide_sums_have_no_order() {
        let values = [1e9, 1e-9, 0.1, 3.0, 0.0, 1e9];
        let mut forward = Exact::new(1e9);
        let mut backward = Exact::new(1e9);
        values.iter().for_each(|&value| forward.add(value));
        values.iter().rev().for_each(|&value| backward.add(value));
        assert_eq!(forward, backward);
        assert_eq!(forward.value(), 2_000_000_003.1);
    }

    #[test]
    fn distances_agree_with_the_plain_sum() {
        for dimension in 1..40u8 {
            let row: Vec<f32> = (0..dimension).map(f32::from).collect();
            let from = vec![1.0; row.len()];
            let plain: f64 = row.iter().map(|&x| (f64::from(x) - 1.0).powi(2)).sum();
            assert_eq!(distance_squared(&row, &from), plain);
        }
    }
}
