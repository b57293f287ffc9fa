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
use crate::simd::{Best, Lanes, Scan, gather_lanes, scan_lanes};

struct Avx2;

/// # Safety
///
/// AVX2 and FMA are here, and as [`gather_lanes`].
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn gather(
    starts: &[*const f32; BLOCK],
    count: usize,
    dimension: usize,
    columns: &mut [f32],
    norms: &mut [f32; BLOCK],
) {
    // SAFETY: passed on from the caller.
    unsafe { gather_lanes::<Avx2>(starts, count, dimension, columns, norms) }
}

/// # Safety
///
/// AVX2 and FMA are here, and as [`scan_lanes`].
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn scan(scan: &mut Scan<'_>, centroids: &Centroids, candidates: &[u32]) {
    // SAFETY: passed on from the caller.
    unsafe { scan_lanes::<Avx2, 2>(scan, centroids, candidates) }
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn accumulate(points: &Points, moved: &[Moved], factor: f64, sums: &mut [i64]) {
    move_rows(points, moved, factor, sums);
}

// SAFETY, for every block below: only called from the functions above, which enable the
// instructions; pointers are the caller's.
impl Lanes for Avx2 {
    const WIDTH: usize = 8;
    type Floats = __m256;
    type Indexes = __m256i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn add_product(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn subtract_product(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn load_indexes(from: *const u32) -> __m256i {
        // SAFETY: see above; the load needs no alignment.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_indexes(to: *mut u32, value: __m256i) {
        // SAFETY: see above; the store needs no alignment.
        unsafe { _mm256_storeu_si256(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn keep(best: &mut Best<Self>, score: __m256, index: u32) {
        // SAFETY: see above.
        unsafe {
            let less = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(score, best.score));
            best.second = _mm256_min_ps(best.second, _mm256_max_ps(best.score, score));
            let index = _mm256_set1_epi32(index.cast_signed());
            best.index = _mm256_blendv_epi8(best.index, index, less);
            best.score = _mm256_min_ps(best.score, score);
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; BLOCK], at: usize, dimension: usize, to: *mut f32) {
        let mut start = 0;
        while start < dimension {
            // SAFETY: see above; a row may be read beyond its end.
            unsafe {
                let mut r = [_mm256_set1_ps(0.0); 8];
                for (lane, r) in r.iter_mut().enumerate() {
                    *r = _mm256_loadu_ps(rows[at + lane].add(start));
                }
                let columns = transposed(r);
                for (j, column) in columns.into_iter().enumerate().take(dimension - start) {
                    _mm256_storeu_ps(to.add((start + j) * BLOCK), column);
                }
            }
            start += 8;
        }
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
