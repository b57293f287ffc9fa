//! Eight lanes in plain Rust; the compiler makes of them what the target has.

use crate::BLOCK;
use crate::simd::{Best, Lanes};

const WIDTH: usize = 8;

pub(crate) struct Portable;

impl Lanes for Portable {
    const WIDTH: usize = WIDTH;
    type Floats = [f32; WIDTH];
    type Indexes = [u32; WIDTH];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Floats {
        [value; WIDTH]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Floats {
        // SAFETY: the caller has WIDTH floats there; an array of floats needs no more
        // alignment than a float.
        unsafe { *from.cast() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::Floats) {
        // SAFETY: as `load`.
        unsafe { *to.cast() = value }
    }

    #[inline(always)]
    unsafe fn add_product(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    unsafe fn subtract_product(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|lane| (-a[lane]).mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    unsafe fn load_indexes(from: *const u32) -> Self::Indexes {
        // SAFETY: as `load`.
        unsafe { *from.cast() }
    }

    #[inline(always)]
    unsafe fn store_indexes(to: *mut u32, value: Self::Indexes) {
        // SAFETY: as `load`.
        unsafe { *to.cast() = value }
    }

    #[inline(always)]
    unsafe fn keep(best: &mut Best<Self>, score: Self::Floats, index: u32) {
        for lane in 0..WIDTH {
            let (first, score) = (best.score[lane], score[lane]);
            best.second[lane] = best.second[lane].min(first.max(score));
            if score < first {
                best.index[lane] = index;
                best.score[lane] = score;
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; BLOCK], at: usize, dimension: usize, to: *mut f32) {
        for (lane, row) in rows[at..at + WIDTH].iter().enumerate() {
            for j in 0..dimension {
                // SAFETY: the caller has `dimension` floats in every row and column.
                unsafe { *to.add(j * BLOCK + lane) = *row.add(j) };
            }
        }
    }
}
