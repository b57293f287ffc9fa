//! The bodies of the fuzz targets, on random input.

use miner_core::fuzz;
use stdx::Prng;

#[test]
fn the_pool_takes_any_sequence_of_inputs() {
    let mut prng = Prng::from_seed(1);
    for sample in fuzz::pool_samples() {
        fuzz::pool(&sample);
    }
    for _ in 0..40 {
        let mut bytes = vec![0; 3 * prng.index(400)];
        prng.fill(&mut bytes);
        fuzz::pool(&bytes);
    }
}

#[test]
fn the_codecs_take_any_bytes() {
    let mut prng = Prng::from_seed(2);
    let samples = fuzz::codec_samples();
    for sample in &samples {
        fuzz::codec(sample);
    }
    for _ in 0..20_000 {
        let mut bytes = prng.choose(&samples).unwrap().clone();
        for _ in 0..=prng.index(3) {
            let at = prng.index(bytes.len());
            bytes[at] = *prng.choose(b"0123456789{}[]\",:aDR\\\xff").unwrap();
        }
        fuzz::codec(&bytes);
    }
}

#[test]
fn headers_are_read_from_any_bytes() {
    let mut prng = Prng::from_seed(3);
    let samples = fuzz::header_samples();
    for sample in &samples {
        fuzz::header(sample);
    }
    for _ in 0..2_000 {
        let mut bytes = prng.choose(&samples).unwrap().clone();
        for _ in 0..=prng.index(3) {
            let at = prng.index(bytes.len());
            bytes[at] = u8::try_from(prng.below(256)).unwrap();
        }
        fuzz::header(&bytes);
    }
}
