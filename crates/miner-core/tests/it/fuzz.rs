//! The bodies of the fuzz targets, on random input.

use miner_core::{Message, fuzz};
use stdx::Prng;

#[test]
fn the_pool_takes_any_sequence_of_inputs() {
    let mut prng = Prng::from_seed(1);
    for _ in 0..60 {
        let mut bytes = vec![0; 3 * prng.index(400)];
        prng.fill(&mut bytes);
        fuzz::pool(&bytes);
    }
}

#[test]
fn the_codecs_take_any_bytes() {
    let mut prng = Prng::from_seed(2);
    let range = Some((5, vec![1; 16]));
    let best = miner_kernels::Best { hash: 1, nonce: 2 };
    let good = Message::Result { best, range }.encode();
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=prng.index(3) {
            let at = prng.index(bytes.len());
            bytes[at] = *prng.choose(b"0123456789{}[]\",:aDR\\\xff").unwrap();
        }
        fuzz::codec(&bytes);
    }
}
