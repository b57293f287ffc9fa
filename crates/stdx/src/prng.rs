//! Seeded pseudo-randomness: the only source of chance in a core.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), seeded by `SplitMix64` as its authors
//! advise. The sequence is part of what a seed means: a recorded simulation seed must
//! replay for years, so it may not follow the releases of a random-number crate. Not
//! for secrets.

use core::ops::Range;
use core::time::Duration;

/// A deterministic generator: the same seed gives the same sequence, for ever.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator whose whole sequence is determined by `seed`.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        let mut mix = seed;
        let mut state = [0; 4];
        let mut word = 0;
        while word < state.len() {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state[word] = z ^ (z >> 31);
            word += 1;
        }
        Self { state }
    }

    /// A generator of its own for one concern, so that drawing more numbers for that
    /// concern doesn't shift everybody else's.
    #[must_use]
    pub const fn split(&mut self) -> Self {
        Self::from_seed(self.next_u64())
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`, each equally likely (Lemire 2019; the bias of at most
    /// `bound / 2^64` is accepted).
    ///
    /// # Panics
    ///
    /// When `bound` is zero: there is no number below it.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a bound of zero leaves nothing to draw");
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a 128-bit product fits 64 bits")
    }

    /// An index into a collection of `len` elements.
    ///
    /// # Panics
    ///
    /// When `len` is zero.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("an index below a usize fits a usize")
    }

    /// A number in `range`, each equally likely.
    ///
    /// # Panics
    ///
    /// When the range is empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(
            range.start < range.end,
            "an empty range leaves nothing to draw"
        );
        range.start + self.below(range.end - range.start)
    }

    /// A span between `range.start` and `range.end`, to the nanosecond.
    ///
    /// # Panics
    ///
    /// When the range is empty or a bound exceeds 584 years.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let nanos =
            |span: Duration| u64::try_from(span.as_nanos()).expect("a span below 584 years");
        Duration::from_nanos(self.range(nanos(range.start)..nanos(range.end)))
    }

    /// True `numerator` times in `denominator`.
    ///
    /// # Panics
    ///
    /// When `denominator` is zero.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of the elements, each equally likely; `None` of nothing.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            None
        } else {
            items.get(self.index(items.len()))
        }
    }

    /// Puts the elements in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills a buffer with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        let mut prng = Prng::from_seed(0);
        // First outputs of xoshiro256++ seeded by SplitMix64(0).
        assert_eq!(prng.next_u64(), 0x5317_5d61_490b_23df);
        assert_eq!(prng.next_u64(), 0x61da_6f3d_c380_d507);
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut prng = Prng::from_seed(1);
        let mut seen = [false; 6];
        for _ in 0..1_000 {
            seen[prng.index(6)] = true;
        }
        assert!(seen.iter().all(|&hit| hit));
    }

    #[test]
    fn shuffle_keeps_the_elements() {
        let mut items: Vec<u32> = (0..100).collect();
        Prng::from_seed(2).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
