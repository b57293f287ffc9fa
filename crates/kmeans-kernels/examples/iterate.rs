//! Times iterations on made-up blobs: `iterate [ROWS DIMENSION K ITERATIONS SPREAD ISA]`.
//!
//! One thread. `SPREAD` is the standard deviation of a blob in a box of side 20: 1 gives blobs
//! that lie apart, 5 ones that overlap, 1000 hardly any structure at all.
#![expect(clippy::print_stdout, reason = "an example prints what it measured")]

use std::env;
use std::time::Instant;

use kmeans_kernels::{Centroids, Isa, Points, Scale, State};
use stdx::Prng;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: usize| -> usize {
        args.get(at)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (rows, dimension, k) = (number(0, 500_000), number(1, 16), number(2, 64));
    let (iterations, spread) = (number(3, 20), number(4, 1) as f64);
    let isa: Isa = args
        .get(5)
        .map_or("auto", String::as_str)
        .parse()
        .expect("an instruction set");

    let mut prng = Prng::from_seed(7);
    let mut uniform = move || (prng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let places: Vec<f64> = (0..k * dimension).map(|_| 10.0 * uniform()).collect();
    let mut values = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        let at = row * 7919 % k * dimension;
        for place in &places[at..at + dimension] {
            let normal: f64 = uniform() + uniform() + uniform();
            values.push(place + spread * normal);
        }
    }
    let points = Points::from_f64(dimension, &values);
    let scale = Scale::new(points.magnitude(), rows as u64);
    let mut centers = values[..k * dimension].to_vec();
    let mut state = State::default();
    let start = Instant::now();
    for iteration in 0..iterations {
        let begun = Instant::now();
        let centroids = Centroids::new(dimension, &centers).with_distances();
        let work = state.step(isa, &points, &centroids, scale);
        for (at, center) in centers.iter_mut().enumerate() {
            let count = state.counts()[at / dimension];
            if count > 0 {
                *center = scale.mean(state.sums()[at], count);
            }
        }
        let all = rows as f64 * k as f64;
        println!(
            "{iteration:3}: {:7.2} ms, {:5.1} % visited, {:5.1} % evaluated, {} moved",
            begun.elapsed().as_secs_f64() * 1e3,
            100.0 * work.visited as f64 / rows as f64,
            100.0 * work.evaluated as f64 / all,
            work.moved,
        );
    }
    println!(
        "{isa}: {:.1} ms in all",
        start.elapsed().as_secs_f64() * 1e3
    );
}
