//! The bodies of the fuzz targets on mutations of good input, from a fixed seed.

use mapreduce_data::fuzz;
use stdx::Prng;

fn mutated(samples: &[Vec<u8>], rounds: usize, run: fn(&[u8])) {
    let mut prng = Prng::from_seed(30);
    for sample in samples {
        run(sample);
    }
    for _ in 0..rounds {
        let mut bytes = prng.choose(samples).unwrap().clone();
        for _ in 0..1 + prng.index(4) {
            let at = prng.index(bytes.len().max(1)).min(bytes.len());
            match prng.index(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, prng.next_u64().to_le_bytes()[0]),
                2 if at < bytes.len() => bytes[at] ^= 1 << prng.index(8),
                _ => {
                    let copy = bytes[at..bytes.len().min(at + 40)].to_vec();
                    bytes.extend_from_slice(&copy);
                }
            }
        }
        run(&bytes);
    }
}

#[test]
fn extents() {
    mutated(&fuzz::extent_samples(), 2_000, fuzz::extent);
}

#[test]
fn streaming() {
    mutated(&fuzz::streaming_samples(), 4_000, fuzz::streaming);
}

#[test]
fn inputs() {
    mutated(&fuzz::input_samples(), 2_000, fuzz::inputs);
}

#[cfg(feature = "parquet")]
#[test]
fn parquet() {
    mutated(&fuzz::parquet_samples(), 2_000, fuzz::parquet);
}
