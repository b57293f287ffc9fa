//! Any processor: one nonce at a time, with all that the plan of a block saves.
//!
//! Four nonces in arrays were tried: the compiler makes scalar code of them all the same,
//! and slower by three because it runs out of registers.

use crate::bitcoin::Grind;
use crate::cmu::{Best, Run};
use crate::plan::{Plan, is_uniform};
use crate::sha256::{INITIAL, K, keyed_schedule, small_sigma0, small_sigma1};
use crate::suffix::RUN;

type V = u32;

const fn add(a: V, b: V) -> V {
    a.wrapping_add(b)
}

const fn splat(word: u32) -> V {
    word
}

const fn choice(e: V, f: V, g: V) -> V {
    g ^ (e & (f ^ g))
}

const fn majority(a: V, b: V, c: V) -> V {
    (a & b) | (c & (a | b))
}

const fn sigma0(a: V) -> V {
    a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22)
}

const fn sigma1(e: V) -> V {
    e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25)
}

const fn swap_bytes(x: V) -> V {
    x.swap_bytes()
}

const fn count_from(base: u32) -> V {
    base
}

/// One bit if `a` is at most `b`.
fn at_most(a: V, b: V) -> u32 {
    u32::from(a <= b)
}

const fn load(words: &[u32; RUN], at: usize) -> V {
    words[at]
}

const fn store(x: V) -> [u32; LANES] {
    [x]
}

lanes_kernel! {
    lanes = 1,
    words = [0..=3 => 0..=4, 4..=7 => 4..=8, 8..=11 => 8..=12, _ => 12..=15]
}
