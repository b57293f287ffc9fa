//! Chance that depends on a seed, a round and a row number, and on nothing else.
//!
//! Whoever asks about a row gets the same answer, so a choice made by many workers over
//! different divisions of the rows is one choice.

/// 64 random bits for a row.
pub(crate) const fn bits(seed: u64, round: u64, row: u64) -> u64 {
    let mut z = mix(seed.wrapping_add(mix(round)));
    z = z.wrapping_add(row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mix(z)
}

/// A number in `0..1`, with 53 bits.
pub(crate) const fn unit(seed: u64, round: u64, row: u64) -> f64 {
    (bits(seed, round, row) >> 11) as f64 / (1u64 << 53) as f64
}

/// The finisher of `SplitMix64`.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_about_as_often_as_they_should() {
        for seed in 0..5 {
            let hits = (0..100_000).filter(|&row| unit(seed, 3, row) < 0.1).count();
            assert!((9_500..10_500).contains(&hits), "{hits}");
            let other = (0..100_000).filter(|&row| bits(seed, 1, row) == bits(seed, 2, row));
            assert_eq!(other.count(), 0);
        }
    }
}
