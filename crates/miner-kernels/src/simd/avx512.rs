//! AVX-512: sixteen nonces at once. A rotation and a function of three operands are one
//! instruction each, which is why this beats the processor's own SHA instructions on some
//! machines.

use core::arch::x86_64::*;

use crate::bitcoin::Grind;
use crate::cmu::{Best, Run};
use crate::plan::{Plan, is_uniform};
use crate::sha256::{INITIAL, K, keyed_schedule};
use crate::suffix::RUN;

type V = __m512i;

/// `a ^ b ^ c` as a truth table.
const XOR: i32 = 0x96;
/// `a ? b : c`.
const SELECT: i32 = 0xca;
/// Two of three.
const MAJORITY: i32 = 0xe8;

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn splat(word: u32) -> V {
    _mm512_set1_epi32(word.cast_signed())
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn choice(e: V, f: V, g: V) -> V {
    _mm512_ternarylogic_epi32::<SELECT>(e, f, g)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn majority(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sigma0(a: V) -> V {
    let (x, y) = (_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a));
    _mm512_ternarylogic_epi32::<XOR>(x, y, _mm512_ror_epi32::<22>(a))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sigma1(e: V) -> V {
    let (x, y) = (_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e));
    _mm512_ternarylogic_epi32::<XOR>(x, y, _mm512_ror_epi32::<25>(e))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn small_sigma0(w: V) -> V {
    let (x, y) = (_mm512_ror_epi32::<7>(w), _mm512_ror_epi32::<18>(w));
    _mm512_ternarylogic_epi32::<XOR>(x, y, _mm512_srli_epi32::<3>(w))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn small_sigma1(w: V) -> V {
    let (x, y) = (_mm512_ror_epi32::<17>(w), _mm512_ror_epi32::<19>(w));
    _mm512_ternarylogic_epi32::<XOR>(x, y, _mm512_srli_epi32::<10>(w))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn swap_bytes(x: V) -> V {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn count_from(base: u32) -> V {
    let counting = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    add(splat(base), counting)
}

/// One bit for each lane of `a` that is at most that of `b`, without sign.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn at_most(a: V, b: V) -> u32 {
    u32::from(_mm512_cmple_epu32_mask(a, b))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn load(words: &[u32; RUN], at: usize) -> V {
    let words = &words[at..at + LANES];
    // SAFETY: the slice has as many words as the vector; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn store(x: V) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the array has as many words as the vector; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), x) };
    words
}

lanes_kernel! {
    #[target_feature(enable = "avx512f,avx512bw")]
    lanes = 16,
    words = [
        0 => 0..=1,
        1 => 1..=2,
        2 => 2..=3,
        3 => 3..=4,
        4 => 4..=5,
        5 => 5..=6,
        6 => 6..=7,
        7 => 7..=8,
        8 => 8..=9,
        9 => 9..=10,
        10 => 10..=11,
        11 => 11..=12,
        12 => 12..=13,
        13 => 13..=14,
        14 => 14..=15,
        _ => 15..=15,
    ]
}
