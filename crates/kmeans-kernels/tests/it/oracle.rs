//! Assignments beside an oracle in `f64`.

use kmeans_kernels::{Centroids, Isa, Points, Scale, State};
use stdx::Prng;

/// A number in -1..1.
pub(crate) fn uniform(prng: &mut Prng) -> f64 {
    (prng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Roughly normal: the sum of twelve.
pub(crate) fn normal(prng: &mut Prng) -> f64 {
    (0..12).map(|_| uniform(prng)).sum::<f64>() / 2.0
}

/// Blobs around `k` places.
pub(crate) fn blobs(prng: &mut Prng, rows: usize, dimension: usize, k: usize) -> Vec<f64> {
    let places: Vec<f64> = (0..k * dimension).map(|_| 10.0 * uniform(prng)).collect();
    let mut values = Vec::with_capacity(rows * dimension);
    for _ in 0..rows {
        let at = prng.index(k) * dimension;
        values.extend(
            places[at..at + dimension]
                .iter()
                .map(|place| place + normal(prng)),
        );
    }
    values
}

/// Runs iterations and compares every assignment: it must be the nearest centroid, or as near
/// as `f32` can tell; on an exact tie of the scores, the first.
fn check(dimension: usize, values: &[f64], start: &[f64], iterations: usize) {
    for isa in Isa::all_here() {
        let points = Points::from_f64(dimension, values);
        let rows = points.rows();
        let scale = Scale::new(points.magnitude(), rows as u64);
        let mut state = State::default();
        let mut centers = start.to_vec();
        for iteration in 0..iterations {
            let centroids = Centroids::new(dimension, &centers).with_distances();
            state.step(isa, &points, &centroids, scale);
            let mut counts = vec![0u64; centroids.count()];
            let mut sums = vec![0.0; centers.len()];
            for row in 0..rows {
                let x = points.row(row);
                let chosen = state.assigned()[row] as usize;
                let distance = |c: usize| -> f64 {
                    let pairs = x.iter().zip(centroids.row(c));
                    pairs
                        .map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2))
                        .sum()
                };
                let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                let largest = (0..centroids.count())
                    .map(|c| norm(centroids.row(c)))
                    .fold(0.0, f64::max);
                let tolerance = 1e-7 * (dimension + 2) as f64 * 2.0 * (norm(x) + largest);
                let nearest = (0..centroids.count())
                    .map(distance)
                    .fold(f64::INFINITY, f64::min);
                assert!(
                    distance(chosen) <= nearest + tolerance,
                    "{isa}, iteration {iteration}, row {row}: {chosen} at {} but {nearest}",
                    distance(chosen)
                );
                for c in 0..chosen {
                    assert_ne!(
                        centroids.row(c),
                        centroids.row(chosen),
                        "the first of equals"
                    );
                }
                counts[chosen] += 1;
                for (sum, &x) in sums[chosen * dimension..].iter_mut().zip(x) {
                    *sum += f64::from(x);
                }
            }
            assert_eq!(state.counts(), counts);
            for c in (0..centroids.count()).filter(|&c| counts[c] > 0) {
                for j in c * dimension..(c + 1) * dimension {
                    let mean = scale.mean(state.sums()[j], counts[c]);
                    let plain = sums[j] / counts[c] as f64;
                    let slack = 1e-11 * f64::from(points.magnitude());
                    assert!((mean - plain).abs() <= slack, "{mean} but {plain}");
                    centers[j] = mean;
                }
            }
        }
    }
}

fn first_rows(dimension: usize, values: &[f64], k: usize) -> Vec<f64> {
    values[..k * dimension].to_vec()
}

#[test]
fn blobs_of_every_shape() {
    let mut prng = Prng::from_seed(1);
    for (rows, dimension, k) in [
        (1, 1, 1),
        (63, 2, 3),
        (65, 3, 7),
        (500, 16, 13),
        (700, 17, 33),
        (300, 31, 6),
        (200, 130, 5),
    ] {
        let values = blobs(&mut prng, rows, dimension, k);
        check(dimension, &values, &first_rows(dimension, &values, k), 6);
    }
}

#[test]
fn uniform_points_where_bounds_hardly_help() {
    let mut prng = Prng::from_seed(2);
    let values: Vec<f64> = (0..2000 * 8).map(|_| uniform(&mut prng)).collect();
    check(8, &values, &first_rows(8, &values, 40), 8);
}

#[test]
fn a_lattice_full_of_ties() {
    let values: Vec<f64> = (0..40 * 40)
        .flat_map(|at| [f64::from(at / 40), f64::from(at % 40)])
        .collect();
    let start = [10.0, 10.0, 10.0, 30.0, 30.0, 10.0, 30.0, 30.0, 20.0, 20.0];
    check(2, &values, &start, 8);
}

#[test]
fn duplicates_of_points_and_of_centroids() {
    let mut prng = Prng::from_seed(3);
    let values = blobs(&mut prng, 40, 5, 4).repeat(10);
    let mut start = first_rows(5, &values, 6);
    start.extend_from_within(..10);
    check(5, &values, &start, 5);
    check(1, &[3.0; 100], &[3.0, 3.0, 3.0], 3);
}

#[test]
fn tight_clusters_far_from_the_origin() {
    let mut prng = Prng::from_seed(4);
    let values: Vec<f64> = blobs(&mut prng, 600, 4, 8)
        .into_iter()
        .map(|x| 50_000.0 + x)
        .collect();
    check(4, &values, &first_rows(4, &values, 8), 6);
}

#[test]
fn tiny_and_large_magnitudes() {
    let mut prng = Prng::from_seed(5);
    for factor in [1e-12, 1e12] {
        let values: Vec<f64> = blobs(&mut prng, 400, 3, 5)
            .into_iter()
            .map(|x| factor * x)
            .collect();
        check(3, &values, &first_rows(3, &values, 5), 5);
    }
}
