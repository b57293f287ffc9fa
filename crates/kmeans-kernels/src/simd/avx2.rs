//! Eight lanes with AVX2 and FMA.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_LT_OQ, _mm256_blendv_epi8, _mm256_castps_si256, _mm256_cmp_ps,
    _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_ps,
    _mm256_min_ps, _mm256_permute2f128_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use crate::BLOCK;
use crate::centroids::Centroids;
use crate::fixed::{Moved, move_rows};
use crate::points::Points;
use crate::simd::x86::lanes;
use crate::simd::{Best, Lanes, Scan, gather_lanes, scan_lanes};

lanes!(
    Avx2,
    width 8,
    tiles 2,
    features "avx2,fma",
    floats __m256,
    indexes __m256i,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_set1_epi32,
    select_less,
    transposed
);

/// In each lane, `index` where `score` is less than `best`, and `other` elsewhere.
#[inline(always)]
unsafe fn select_less(score: __m256, best: __m256, index: __m256i, other: __m256i) -> __m256i {
    // SAFETY: as for the trait.
    unsafe {
        let less = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(score, best));
        _mm256_blendv_epi8(other, index, less)
    }
}

/// An 8 x 8 transpose: pairs of floats, pairs of pairs, halves.
#[inline(always)]
unsafe fn transposed(r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: as for the trait.
    unsafe {
        let mut s = r;
        for pair in 0..4 {
            let (a, b) = (r[2 * pair], r[2 * pair + 1]);
            s[2 * pair] = _mm256_unpacklo_ps(a, b);
            s[2 * pair + 1] = _mm256_unpackhi_ps(a, b);
        }
        let mut q = s;
        for half in 0..2 {
            let o = 4 * half;
            q[o] = _mm256_shuffle_ps::<0x44>(s[o], s[o + 2]);
            q[o + 1] = _mm256_shuffle_ps::<0xee>(s[o], s[o + 2]);
            q[o + 2] = _mm256_shuffle_ps::<0x44>(s[o + 1], s[o + 3]);
            q[o + 3] = _mm256_shuffle_ps::<0xee>(s[o + 1], s[o + 3]);
        }
        let mut t = q;
        for j in 0..4 {
            t[j] = _mm256_permute2f128_ps::<0x20>(q[j], q[j + 4]);
            t[j + 4] = _mm256_permute2f128_ps::<0x31>(q[j], q[j + 4]);
        }
        t
    }
}
