//! The same bits from every instruction set, from every split of the rows, and with or without
//! the remembered bounds.

use kmeans_kernels::{Centroids, Isa, Points, Scale, State};
use stdx::Prng;

use crate::oracle::{blobs, uniform};

const ITERATIONS: usize = 12;

/// Centroids after every iteration, and the last assignments.
type Trace = (Vec<Vec<u64>>, Vec<u32>);

/// Iterates over the rows split into `parts`; `forget` says whether a part loses its state.
fn run(
    isa: Isa,
    data: (usize, &[f64]),
    k: usize,
    parts: usize,
    mut forget: impl FnMut(usize) -> bool,
) -> Trace {
    let (dimension, values) = data;
    let rows = values.len() / dimension;
    let parts: Vec<Points> = (0..parts)
        .map(|part| {
            let (from, to) = (part * rows / parts, (part + 1) * rows / parts);
            Points::from_f64(dimension, &values[from * dimension..to * dimension])
        })
        .collect();
    let mut states = vec![State::default(); parts.len()];
    let magnitude = parts.iter().map(Points::magnitude).fold(0.0, f32::max);
    let scale = Scale::new(magnitude, rows as u64);
    let mut centers = values[..k * dimension].to_vec();
    let mut trace = Vec::new();
    for _ in 0..ITERATIONS {
        let centroids = Centroids::new(dimension, &centers).with_distances();
        let mut sums = vec![0i64; centers.len()];
        let mut counts = vec![0u64; k];
        for (part, points) in parts.iter().enumerate() {
            if forget(part) {
                states[part] = State::default();
            }
            states[part].step(isa, points, &centroids, scale);
            sums.iter_mut()
                .zip(states[part].sums())
                .for_each(|(a, b)| *a += b);
            counts
                .iter_mut()
                .zip(states[part].counts())
                .for_each(|(a, b)| *a += b);
        }
        for (at, center) in centers.iter_mut().enumerate() {
            if counts[at / dimension] > 0 {
                *center = scale.mean(sums[at], counts[at / dimension]);
            }
        }
        trace.push(centers.iter().map(|c| c.to_bits()).collect());
    }
    let assigned = states.iter().flat_map(|state| state.assigned().to_vec());
    (trace, assigned.collect())
}

fn data(seed: u64) -> Vec<(usize, Vec<f64>, usize)> {
    let mut prng = Prng::from_seed(seed);
    let uniform = (0..1500 * 6).map(|_| uniform(&mut prng)).collect();
    let lattice = (0..2000u32).flat_map(|at| [f64::from(at % 37), f64::from(at % 11)]);
    vec![
        (16, blobs(&mut prng, 3000, 16, 12), 12),
        (3, blobs(&mut prng, 2500, 3, 30), 30),
        (6, uniform, 25),
        (2, lattice.collect(), 9),
    ]
}

#[test]
fn any_number_of_parts_and_any_loss_of_state() {
    let isa = Isa::detect();
    for (dimension, values, k) in data(1) {
        let whole = run(isa, (dimension, &values), k, 1, |_| false);
        for parts in 1..=7 {
            assert!(
                whole == run(isa, (dimension, &values), k, parts, |_| false),
                "{parts}"
            );
        }
        // Without any memory every step looks at every distance: this is plain Lloyd.
        assert!(whole == run(isa, (dimension, &values), k, 1, |_| true));
        let mut prng = Prng::from_seed(9);
        assert!(whole == run(isa, (dimension, &values), k, 5, |_| prng.chance(1, 3)));
    }
}

#[test]
fn every_instruction_set() {
    for (dimension, values, k) in data(2) {
        let first = run(Isa::Portable, (dimension, &values), k, 2, |_| false);
        for isa in Isa::all_here() {
            assert!(
                first == run(isa, (dimension, &values), k, 3, |_| false),
                "{isa}"
            );
        }
    }
}

#[test]
fn bounds_save_most_of_the_work_on_blobs() {
    let mut prng = Prng::from_seed(3);
    let values = blobs(&mut prng, 20_000, 16, 20);
    let points = Points::from_f64(16, &values);
    let scale = Scale::new(points.magnitude(), 20_000);
    let mut state = State::default();
    let mut centers = values[..20 * 16].to_vec();
    let mut evaluated = Vec::new();
    for _ in 0..8 {
        let centroids = Centroids::new(16, &centers).with_distances();
        evaluated.push(
            state
                .step(Isa::detect(), &points, &centroids, scale)
                .evaluated,
        );
        for (at, center) in centers.iter_mut().enumerate() {
            let count = state.counts()[at / 16];
            if count > 0 {
                *center = scale.mean(state.sums()[at], count);
            }
        }
    }
    assert_eq!(evaluated[0], 20_000 * 20);
    assert!(evaluated[7] * 4 < evaluated[0], "{evaluated:?}");
}
