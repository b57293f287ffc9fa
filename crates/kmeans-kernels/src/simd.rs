//! The only `unsafe` code: kernels over raw rows, once for each instruction set.
//!
//! One generic kernel is written against [`Lanes`] and compiled three times, inside functions
//! that enable the instructions. Callers pass slices; what the pointers below rely on is
//! asserted here, once for each block of 64 points.
#![expect(
    unsafe_code,
    reason = "SIMD intrinsics, and functions that enable them"
)]
#![expect(
    clippy::inline_always,
    reason = "a kernel must be inlined into the function that enables its instructions"
)]

use crate::BLOCK;
use crate::centroids::Centroids;
use crate::fixed::{Moved, move_rows};
use crate::isa::Isa;
use crate::points::Points;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod flat;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Centroids scored together: with four registers of points the sums fill 24 of AVX-512's 32
/// registers; with two, 12 of AVX2's 16.
const GROUP: usize = 6;

/// A register of points.
trait Lanes {
    /// How many points it holds.
    const WIDTH: usize;
    /// One `f32` for each point.
    type Floats: Copy;
    /// One index for each point.
    type Indexes: Copy;

    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self::Floats;
    /// `WIDTH` floats from memory.
    unsafe fn load(from: *const f32) -> Self::Floats;
    /// `WIDTH` floats to memory.
    unsafe fn store(to: *mut f32, value: Self::Floats);
    /// `a * b + c`, rounded once.
    unsafe fn add_product(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `c - a * b`, rounded once.
    unsafe fn subtract_product(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `WIDTH` indexes from memory.
    unsafe fn load_indexes(from: *const u32) -> Self::Indexes;
    /// `WIDTH` indexes to memory.
    unsafe fn store_indexes(to: *mut u32, value: Self::Indexes);
    /// Keeps the two smallest scores, and the index of the smallest; the earlier one on a tie.
    unsafe fn keep(best: &mut Best<Self>, score: Self::Floats, index: u32);
    /// Writes column `j` of `WIDTH` rows to `to + j * BLOCK`, for every `j` below `dimension`.
    /// Rows may be read up to 15 floats beyond their end.
    unsafe fn transpose(rows: &[*const f32; BLOCK], at: usize, dimension: usize, to: *mut f32);
}

/// The two smallest scores so far.
struct Best<L: Lanes + ?Sized> {
    score: L::Floats,
    second: L::Floats,
    index: L::Indexes,
}

/// What a scan reads and writes, all of it for up to [`BLOCK`] points.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// `dimension * BLOCK` floats: the points, transposed.
    pub(crate) columns: &'a [f32],
    pub(crate) count: usize,
    pub(crate) best: &'a mut [f32; BLOCK],
    pub(crate) second: &'a mut [f32; BLOCK],
    pub(crate) index: &'a mut [u32; BLOCK],
}

/// Transposes rows into `columns` and computes their squared lengths.
pub(crate) fn gather(
    isa: Isa,
    points: &Points,
    rows: &[u32],
    columns: &mut [f32],
    norms: &mut [f32; BLOCK],
) {
    let dimension = points.dimension();
    assert!(
        !rows.is_empty() && rows.len() <= BLOCK,
        "a block has 1 to 64 points"
    );
    assert!(columns.len() >= dimension * BLOCK, "the columns fit");
    let values = points.padded();
    // Lanes without a point repeat the last one.
    let last = rows[rows.len() - 1];
    let mut starts = [values.as_ptr(); BLOCK];
    for (lane, start) in starts.iter_mut().enumerate() {
        let row = rows.get(lane).copied().unwrap_or(last) as usize;
        assert!(row < points.rows(), "rows are of these points");
        *start = values[row * dimension..].as_ptr();
    }
    let count = rows.len();
    // SAFETY: every start is a row of `points`, whose buffer reaches 16 floats beyond its last
    // row; `columns` was checked to hold every column; `isa` is here, `Isa` says so.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::gather(&starts, count, dimension, columns, norms),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::gather(&starts, count, dimension, columns, norms),
            _ => gather_lanes::<portable::Portable>(&starts, count, dimension, columns, norms),
        }
    }
}

/// Scores the points of a block against some centroids, in the order given.
pub(crate) fn scan(isa: Isa, scan: &mut Scan<'_>, centroids: &Centroids, candidates: &[u32]) {
    assert!(scan.count <= BLOCK, "a block has at most 64 points");
    assert!(
        scan.columns.len() >= centroids.dimension() * BLOCK,
        "the columns are whole"
    );
    let count = centroids.count();
    assert!(
        candidates.iter().all(|&at| (at as usize) < count),
        "candidates are centroids"
    );
    // SAFETY: columns, candidates and the arrays of lanes were just checked; `isa` is here.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::scan(scan, centroids, candidates),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::scan(scan, centroids, candidates),
            _ => scan_lanes::<portable::Portable, 1>(scan, centroids, candidates),
        }
    }
}

/// Takes rows out of the sums they were in and adds them to others.
pub(crate) fn accumulate(
    isa: Isa,
    points: &Points,
    moved: &[Moved],
    factor: f64,
    sums: &mut [i64],
) {
    // SAFETY: `isa` is here; the code inside is safe.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::accumulate(points, moved, factor, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::accumulate(points, moved, factor, sums),
            _ => move_rows(points, moved, factor, sums),
        }
    }
}

/// # Safety
///
/// Each start has `dimension` floats and 15 more; `columns` holds `dimension * BLOCK`.
#[inline(always)]
unsafe fn gather_lanes<L: Lanes>(
    starts: &[*const f32; BLOCK],
    count: usize,
    dimension: usize,
    columns: &mut [f32],
    norms: &mut [f32; BLOCK],
) {
    let to = columns.as_mut_ptr();
    let mut lane = 0;
    while lane < count {
        // SAFETY: `lane + WIDTH` is at most BLOCK, a multiple of every width.
        unsafe {
            L::transpose(starts, lane, dimension, to.add(lane));
            let mut norm = L::splat(0.0);
            for j in 0..dimension {
                let x = L::load(to.add(j * BLOCK + lane));
                norm = L::add_product(x, x, norm);
            }
            L::store(norms.as_mut_ptr().add(lane), norm);
        }
        lane += L::WIDTH;
    }
}

/// # Safety
///
/// As checked by [`scan`].
#[inline(always)]
unsafe fn scan_lanes<L: Lanes, const TILES: usize>(
    scan: &mut Scan<'_>,
    centroids: &Centroids,
    candidates: &[u32],
) {
    let mut lane = 0;
    // SAFETY: a tile starts below `count`, so it ends within BLOCK.
    unsafe {
        while lane + (TILES - 1) * L::WIDTH < scan.count {
            scan_tiles::<L, TILES>(scan, lane, centroids, candidates);
            lane += TILES * L::WIDTH;
        }
        while lane < scan.count {
            scan_tiles::<L, 1>(scan, lane, centroids, candidates);
            lane += L::WIDTH;
        }
    }
}

/// # Safety
///
/// `lane + TILES * WIDTH <= BLOCK`, and as checked by [`scan`].
#[inline(always)]
unsafe fn scan_tiles<L: Lanes, const TILES: usize>(
    scan: &mut Scan<'_>,
    lane: usize,
    centroids: &Centroids,
    candidates: &[u32],
) {
    let mut groups = candidates.chunks_exact(GROUP);
    // SAFETY: passed on from the caller.
    unsafe {
        for group in &mut groups {
            scan_group::<L, TILES, GROUP>(scan, lane, centroids, group);
        }
        let mut rest = groups.remainder();
        if let Some((group, others)) = rest.split_at_checked(4) {
            scan_group::<L, TILES, 4>(scan, lane, centroids, group);
            rest = others;
        }
        if let Some((group, others)) = rest.split_at_checked(2) {
            scan_group::<L, TILES, 2>(scan, lane, centroids, group);
            rest = others;
        }
        if !rest.is_empty() {
            scan_group::<L, TILES, 1>(scan, lane, centroids, rest);
        }
    }
}

/// # Safety
///
/// `group` has `COUNT` valid candidates, and as [`scan_tiles`].
#[inline(always)]
unsafe fn scan_group<L: Lanes, const TILES: usize, const COUNT: usize>(
    scan: &mut Scan<'_>,
    lane: usize,
    centroids: &Centroids,
    group: &[u32],
) {
    let dimension = centroids.dimension();
    let values = centroids.values().as_ptr();
    let halves = centroids.halves();
    // SAFETY: candidates are below the number of centroids, so their rows are in `values`;
    // columns hold `dimension * BLOCK` floats; lanes end within BLOCK.
    unsafe {
        let mut rows = [values; COUNT];
        let mut sums = [[L::splat(0.0); TILES]; COUNT];
        for c in 0..COUNT {
            let at = *group.get_unchecked(c) as usize;
            rows[c] = values.add(at * dimension);
            sums[c] = [L::splat(*halves.get_unchecked(at)); TILES];
        }
        let mut column = scan.columns.as_ptr().add(lane);
        for j in 0..dimension {
            let mut x = [L::splat(0.0); TILES];
            for (tile, x) in x.iter_mut().enumerate() {
                *x = L::load(column.add(tile * L::WIDTH));
            }
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = L::splat(*row.add(j));
                for (x, sum) in x.iter().zip(sums) {
                    *sum = L::subtract_product(*x, value, *sum);
                }
            }
            column = column.wrapping_add(BLOCK);
        }
        for tile in 0..TILES {
            let at = lane + tile * L::WIDTH;
            let mut best = Best::<L> {
                score: L::load(scan.best.as_ptr().add(at)),
                second: L::load(scan.second.as_ptr().add(at)),
                index: L::load_indexes(scan.index.as_ptr().add(at)),
            };
            for (sums, index) in sums.iter().zip(group) {
                L::keep(&mut best, sums[tile], *index);
            }
            L::store(scan.best.as_mut_ptr().add(at), best.score);
            L::store(scan.second.as_mut_ptr().add(at), best.second);
            L::store_indexes(scan.index.as_mut_ptr().add(at), best.index);
        }
    }
}
