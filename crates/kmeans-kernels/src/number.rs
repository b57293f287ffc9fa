//! Conversions that lose something on purpose, in one place.

/// The nearest `f32`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what is asked for"
)]
#[inline]
#[must_use]
pub const fn narrow(value: f64) -> f32 {
    value as f32
}

/// The nearest `f64` of an exact sum.
#[inline]
#[must_use]
pub const fn to_f64(value: i64) -> f64 {
    value as f64
}

/// An index as it is stored: rows of a shard and centroids are below 2^32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by `Points` and `Centroids`"
)]
#[inline]
pub(crate) const fn short(index: usize) -> u32 {
    index as u32
}

/// `2^exponent`, for exponents of normal numbers.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    let biased = u64::try_from(exponent.clamp(-1022, 1023) + 1023).expect("clamped above");
    f64::from_bits(biased << 52)
}

/// The `f32` above, with room for the rounding of a few operations.
pub(crate) fn above(value: f64) -> f32 {
    narrow(value * (1.0 + 1e-6))
}

/// The `f32` below, likewise; never negative.
pub(crate) fn below(value: f64) -> f32 {
    narrow((value * (1.0 - 1e-6)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_exact() {
        for exponent in [-1000, -1, 0, 1, 52, 1000] {
            assert_eq!(power_of_two(exponent), 2f64.powi(exponent));
        }
    }

    #[test]
    fn bounds_enclose() {
        for value in [0.0, 1e-30, 0.1, 1.0, 12_345.678] {
            assert!(f64::from(below(value)) <= value);
            assert!(f64::from(above(value)) >= value);
        }
    }
}
