//! What a kernel may take as settled: the part of a block that is the same for all nonces.
//!
//! Only a few words of a block change from nonce to nonce. The rounds before the first of
//! them come out the same every time, and so do the terms of the message schedule that
//! don't contain one. Both are worked out once, in scalar arithmetic.

use crate::sha256::{Block, K, State, first_rounds, small_sigma0, small_sigma1};

/// A block whose words `FIRST..=LAST` vary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The chaining value before the block, to be added at the end.
    pub(crate) state: State,
    /// After the rounds before `FIRST`.
    pub(crate) early: State,
    /// The words, with zeros where digits go.
    pub(crate) words: Block,
    /// For the rounds 0 to 31: the constant, plus the word where that is the same for all.
    pub(crate) keyed: [u32; 32],
    /// For the words 16 to 31 of the schedule: the sum of the terms that are the same for
    /// all.
    pub(crate) partial: [u32; 16],
}

/// Whether word `t` of the schedule is the same for all nonces if `first..=last` vary.
pub(crate) const fn is_uniform(first: usize, last: usize, t: usize) -> bool {
    if t < 16 {
        return t < first || t > last;
    }
    is_uniform(first, last, t - 2)
        && is_uniform(first, last, t - 7)
        && is_uniform(first, last, t - 15)
        && is_uniform(first, last, t - 16)
}

impl Plan {
    /// Prepares a block whose words `FIRST..=LAST` vary.
    pub(crate) fn new<const FIRST: usize, const LAST: usize>(state: State, block: &Block) -> Self {
        let uniform = |t| is_uniform(FIRST, LAST, t);
        let mut w = [0_u32; 32];
        w[..16].copy_from_slice(block);
        let mut partial = [0_u32; 16];
        for t in 16..32 {
            let terms = [
                (t - 2, small_sigma1(w[t - 2])),
                (t - 7, w[t - 7]),
                (t - 15, small_sigma0(w[t - 15])),
                (t - 16, w[t - 16]),
            ];
            let settled = terms.into_iter().filter(|(from, _)| uniform(*from));
            partial[t - 16] = settled.fold(0, |sum, (_, term)| sum.wrapping_add(term));
            w[t] = partial[t - 16];
        }
        let mut keyed = [0; 32];
        for t in 0..32 {
            keyed[t] = K[t].wrapping_add(if uniform(t) { w[t] } else { 0 });
        }
        Self {
            state,
            early: first_rounds(state, block, FIRST),
            words: *block,
            keyed,
            partial,
        }
    }
}
