//! AVX2: eight nonces at once, for processors without the newer instructions.

use core::arch::x86_64::*;

use crate::bitcoin::Grind;
use crate::cmu::{Best, Run};
use crate::plan::{Plan, is_uniform};
use crate::sha256::{INITIAL, K, keyed_schedule};
use crate::suffix::RUN;

type V = __m256i;

#[target_feature(enable = "avx2")]
#[inline]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn splat(word: u32) -> V {
    _mm256_set1_epi32(word.cast_signed())
}

#[target_feature(enable = "avx2")]
#[inline]
fn choice(e: V, f: V, g: V) -> V {
    _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn majority(a: V, b: V, c: V) -> V {
    _mm256_or_si256(
        _mm256_and_si256(a, b),
        _mm256_and_si256(c, _mm256_or_si256(a, b)),
    )
}

/// A rotation by `RIGHT`; `LEFT` is the rest of the 32 bits. The halves don't overlap, so
/// that they can be joined by the `xor` that follows anyway.
#[target_feature(enable = "avx2")]
#[inline]
fn rotate<const RIGHT: i32, const LEFT: i32>(x: V) -> V {
    _mm256_xor_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x))
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor(a: V, b: V, c: V) -> V {
    _mm256_xor_si256(a, _mm256_xor_si256(b, c))
}

#[target_feature(enable = "avx2")]
#[inline]
fn sigma0(a: V) -> V {
    xor(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a))
}

#[target_feature(enable = "avx2")]
#[inline]
fn sigma1(e: V) -> V {
    xor(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e))
}

#[target_feature(enable = "avx2")]
#[inline]
fn small_sigma0(w: V) -> V {
    xor(
        rotate::<7, 25>(w),
        rotate::<18, 14>(w),
        _mm256_srli_epi32::<3>(w),
    )
}

#[target_feature(enable = "avx2")]
#[inline]
fn small_sigma1(w: V) -> V {
    xor(
        rotate::<17, 15>(w),
        rotate::<19, 13>(w),
        _mm256_srli_epi32::<10>(w),
    )
}

#[target_feature(enable = "avx2")]
#[inline]
fn swap_bytes(x: V) -> V {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order))
}

#[target_feature(enable = "avx2")]
#[inline]
fn count_from(base: u32) -> V {
    add(splat(base), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// One bit for each lane of `a` that is at most that of `b`, without sign.
#[target_feature(enable = "avx2")]
#[inline]
fn at_most(a: V, b: V) -> u32 {
    let lower = _mm256_cmpeq_epi32(_mm256_min_epu32(a, b), a);
    _mm256_movemask_ps(_mm256_castsi256_ps(lower)).cast_unsigned()
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(words: &[u32; RUN], at: usize) -> V {
    let words = &words[at..at + LANES];
    // SAFETY: the slice has as many words as the vector; the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(x: V) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the array has as many words as the vector; the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), x) };
    words
}

lanes_kernel! {
    #[target_feature(enable = "avx2")]
    lanes = 8,
    words = [0..=3 => 0..=4, 4..=7 => 4..=8, 8..=11 => 8..=12, _ => 12..=15]
}
