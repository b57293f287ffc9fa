//! The arithmetic of k-means: exact assignment with SIMD and bounds, sums without order.
//!
//! # What is computed
//!
//! Points are rows of `f32`. A row `x` goes to the centroid `c` with the smallest score
//! `|c|^2 / 2 - x.c`, which is the smallest distance, because `|x|^2` is the same for all. The
//! score is one chain of fused multiply-adds over the dimensions in their order. Ties go to the
//! centroid with the lowest index.
//!
//! # Why the result is the same everywhere
//!
//! * **Every lane is one point.** A wider register holds more points, never more of one
//!   point's terms, so the chain of roundings is the same with AVX-512, with AVX2 and in plain
//!   Rust. All paths give the same bits.
//! * **Sums are integers.** Coordinates are scaled by one power of two and rounded to 64-bit
//!   integers ([`Scale`]). Integer addition has no order: any split of the rows among any
//!   number of workers gives the same sums, and a point that moves can be subtracted without
//!   drift. With a million rows the step is 2^-42 of the largest coordinate, far below what
//!   `f32` input carries.
//! * **Bounds only skip what can't matter.** [`State`] keeps Hamerly's two bounds for each
//!   point and tests them with a margin for the rounding of the score (`Centroids::slop`): a
//!   point is skipped only if the score as computed could not choose anything else. Losing the
//!   state loses time and nothing else.
//!
//! # Where the time goes
//!
//! Rows are gathered and transposed 64 at a time into a buffer in the first-level cache
//! ([`Block`]), and scored against six centroids at a time with all accumulators in registers.
//! Points that fail their bounds are grouped by centroid, so that a block needs only the
//! centroids near its own: for blobs that is two or three, whatever k is.
//!
//! It is not a library of linear algebra: no matrix of distances is ever stored.

mod block;
mod centroids;
mod fixed;
mod isa;
mod number;
mod points;
mod simd;
mod state;

pub use block::{Block, for_each_block};
pub use centroids::Centroids;
pub use fixed::{Exact, Scale, add_rows, distance_squared};
pub use isa::Isa;
pub use number::{narrow, to_f64};
pub use points::Points;
pub use state::{State, Work};

/// How many points are transposed and scored together.
pub const BLOCK: usize = 64;

/// Coordinates whose magnitude exceeds this are refused: their squares would overflow.
pub const MAGNITUDE_MAX: f64 = 1e15;
