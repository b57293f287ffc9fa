//! What AVX2 and AVX-512 have in common: everything but the names and the shuffles.

/// Makes an implementation of `Lanes` out of instructions, and the functions that enable them.
///
/// `$select` picks, in each lane, the new index where the score is less than the best, and
/// `$transposed` transposes a square of floats.
macro_rules! lanes {
    (
        $lanes:ident, width $width:literal, tiles $tiles:literal, features $features:literal,
        floats $floats:ident, indexes $indexes:ident,
        $splat:ident, $load:ident, $store:ident, $fmadd:ident, $fnmadd:ident, $min:ident, $max:ident,
        $load_indexes:ident, $store_indexes:ident, $splat_index:ident,
        $select:ident, $transposed:ident
    ) => {
        struct $lanes;

        /// # Safety
        ///
        /// The instructions are here, and as [`gather_lanes`].
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn gather(
            starts: &[*const f32; BLOCK],
            count: usize,
            dimension: usize,
            columns: &mut [f32],
            norms: &mut [f32; BLOCK],
        ) {
            // SAFETY: passed on from the caller.
            unsafe { gather_lanes::<$lanes>(starts, count, dimension, columns, norms) }
        }

        /// # Safety
        ///
        /// The instructions are here, and as [`scan_lanes`].
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn scan(scan: &mut Scan<'_>, centroids: &Centroids, candidates: &[u32]) {
            // SAFETY: passed on from the caller.
            unsafe { scan_lanes::<$lanes, $tiles>(scan, centroids, candidates) }
        }

        #[target_feature(enable = $features)]
        pub(crate) fn accumulate(points: &Points, moved: &[Moved], factor: f64, sums: &mut [i64]) {
            move_rows(points, moved, factor, sums);
        }

        // SAFETY, for every block below: only called from the functions above, which enable the
        // instructions; pointers are the caller's, and no load or store needs alignment.
        impl Lanes for $lanes {
            const WIDTH: usize = $width;
            type Floats = $floats;
            type Indexes = $indexes;

            #[inline(always)]
            unsafe fn splat(value: f32) -> $floats {
                // SAFETY: see above.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> $floats {
                // SAFETY: see above.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, value: $floats) {
                // SAFETY: see above.
                unsafe { $store(to, value) }
            }

            #[inline(always)]
            unsafe fn add_product(a: $floats, b: $floats, c: $floats) -> $floats {
                // SAFETY: see above.
                unsafe { $fmadd(a, b, c) }
            }

            #[inline(always)]
            unsafe fn subtract_product(a: $floats, b: $floats, c: $floats) -> $floats {
                // SAFETY: see above.
                unsafe { $fnmadd(a, b, c) }
            }

            #[inline(always)]
            unsafe fn load_indexes(from: *const u32) -> $indexes {
                // SAFETY: see above.
                unsafe { $load_indexes(from.cast()) }
            }

            #[inline(always)]
            unsafe fn store_indexes(to: *mut u32, value: $indexes) {
                // SAFETY: see above.
                unsafe { $store_indexes(to.cast(), value) }
            }

            #[inline(always)]
            unsafe fn keep(best: &mut Best<Self>, score: $floats, index: u32) {
                // SAFETY: see above.
                unsafe {
                    let index = $splat_index(index.cast_signed());
                    best.index = $select(score, best.score, index, best.index);
                    best.second = $min(best.second, $max(best.score, score));
                    best.score = $min(best.score, score);
                }
            }

            #[inline(always)]
            unsafe fn transpose(
                rows: &[*const f32; BLOCK],
                at: usize,
                dimension: usize,
                to: *mut f32,
            ) {
                let mut start = 0;
                while start < dimension {
                    // SAFETY: see above; a row may be read beyond its end.
                    unsafe {
                        let mut r = [$splat(0.0); $width];
                        for (lane, r) in r.iter_mut().enumerate() {
                            *r = $load(rows[at + lane].add(start));
                        }
                        let columns = $transposed(r);
                        let columns = columns.into_iter().enumerate();
                        for (j, column) in columns.take(dimension - start) {
                            $store(to.add((start + j) * BLOCK), column);
                        }
                    }
                    start += $width;
                }
            }
        }
    };
}

pub(super) use lanes;
