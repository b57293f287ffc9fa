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
use crate::simd::{Best, Lanes, Scan, gather_lanes, scan_lanes};

struct Avx512;

/// # Safety
///
/// AVX-512 F and DQ are here, and as [`gather_lanes`].
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub(crate) unsafe fn gather(
    starts: &[*const f32; BLOCK],
    count: usize,
    dimension: usize,
    columns: &mut [f32],
    norms: &mut [f32; BLOCK],
) {
    // SAFETY: passed on from the caller.
    unsafe { gather_lanes::<Avx512>(starts, count, dimension, columns, norms) }
}

/// # Safety
///
/// AVX-512 F and DQ are here, and as [`scan_lanes`].
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub(crate) unsafe fn scan(scan: &mut Scan<'_>, centroids: &Centroids, candidates: &[u32]) {
    // SAFETY: passed on from the caller.
    unsafe { scan_lanes::<Avx512, 4>(scan, centroids, candidates) }
}

#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub(crate) fn accumulate(points: &Points, moved: &[Moved], factor: f64, sums: &mut [i64]) {
    move_rows(points, moved, factor, sums);
}

// SAFETY, for every block below: only called from the functions above, which enable the
// instructions; pointers are the caller's.
impl Lanes for Avx512 {
    const WIDTH: usize = 16;
    type Floats = __m512;
    type Indexes = __m512i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn add_product(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn subtract_product(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn load_indexes(from: *const u32) -> __m512i {
        // SAFETY: see above; the load needs no alignment.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_indexes(to: *mut u32, value: __m512i) {
        // SAFETY: see above; the store needs no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn keep(best: &mut Best<Self>, score: __m512, index: u32) {
        // SAFETY: see above.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(score, best.score);
            best.second = _mm512_min_ps(best.second, _mm512_max_ps(best.score, score));
            let index = _mm512_set1_epi32(index.cast_signed());
            best.index = _mm512_mask_mov_epi32(best.index, less, index);
            best.score = _mm512_min_ps(best.score, score);
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; BLOCK], at: usize, dimension: usize, to: *mut f32) {
        let mut start = 0;
        while start < dimension {
            // SAFETY: see above; a row may be read beyond its end.
            unsafe {
                let mut r = [_mm512_set1_ps(0.0); 16];
                for (lane, r) in r.iter_mut().enumerate() {
                    *r = _mm512_loadu_ps(rows[at + lane].add(start));
                }
                let columns = transposed(r);
                for (j, column) in columns.into_iter().enumerate().take(dimension - start) {
                    _mm512_storeu_ps(to.add((start + j) * BLOCK), column);
                }
            }
            start += 16;
        }
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
