//! Sixteen lanes with AVX-512.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_LT_OQ, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_max_ps, _mm512_min_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

use crate::BLOCK;
use crate::centroids::Centroids;
use crate::fixed::{Moved, move_rows};
use crate::points::Points;
use crate::simd::x86::lanes;
use crate::simd::{Best, Lanes, Scan, gather_lanes, scan_lanes};

lanes!(
    Avx512,
    width 16,
    tiles 4,
    features "avx512f,avx512dq,avx2,fma",
    floats __m512,
    indexes __m512i,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_set1_epi32,
    select_less,
    transposed
);

/// In each lane, `index` where `score` is less than `best`, and `other` elsewhere.
#[inline(always)]
unsafe fn select_less(score: __m512, best: __m512, index: __m512i, other: __m512i) -> __m512i {
    // SAFETY: as for the trait.
    unsafe {
        let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(score, best);
        _mm512_mask_mov_epi32(other, less, index)
    }
}

/// A 16 x 16 transpose: 4 x 4 within each quarter of a register, then the quarters.
#[inline(always)]
unsafe fn transposed(r: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: as for the trait.
    unsafe {
        let mut q = r;
        for rows in 0..4 {
            let o = 4 * rows;
            let (a, b) = (
                _mm512_unpacklo_ps(r[o], r[o + 1]),
                _mm512_unpackhi_ps(r[o], r[o + 1]),
            );
            let (c, d) = (
                _mm512_unpacklo_ps(r[o + 2], r[o + 3]),
                _mm512_unpackhi_ps(r[o + 2], r[o + 3]),
            );
            q[o] = _mm512_shuffle_ps::<0x44>(a, c);
            q[o + 1] = _mm512_shuffle_ps::<0xee>(a, c);
            q[o + 2] = _mm512_shuffle_ps::<0x44>(b, d);
            q[o + 3] = _mm512_shuffle_ps::<0xee>(b, d);
        }
        // q[4 * rows + j] holds columns j, 4 + j, 8 + j, 12 + j of four rows.
        let mut t = q;
        for j in 0..4 {
            let low = _mm512_shuffle_f32x4::<0x88>(q[j], q[4 + j]);
            let high = _mm512_shuffle_f32x4::<0xdd>(q[j], q[4 + j]);
            let low2 = _mm512_shuffle_f32x4::<0x88>(q[8 + j], q[12 + j]);
            let high2 = _mm512_shuffle_f32x4::<0xdd>(q[8 + j], q[12 + j]);
            t[j] = _mm512_shuffle_f32x4::<0x88>(low, low2);
            t[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
            t[4 + j] = _mm512_shuffle_f32x4::<0x88>(high, high2);
            t[12 + j] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
        }
        t
    }
}
