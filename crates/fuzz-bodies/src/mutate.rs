//! A small mutation engine with a seed: what a fuzzer does, without its feedback.

use stdx::Prng;

/// Bytes of the largest input.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of the largest block that is moved or copied.
const BLOCK_BYTES_MAX: usize = 64;
/// Numbers at which code changes its mind.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX.cast_unsigned(),
    u64::MAX,
];

/// Makes inputs out of samples. The same seed and samples give the same inputs.
#[derive(Clone, Debug)]
pub struct Mutator {
    prng: Prng,
    samples: Vec<Vec<u8>>,
}

impl Mutator {
    /// A generator of mutations of these samples; empty input is always one of them.
    #[must_use]
    pub fn new(seed: u64, mut samples: Vec<Vec<u8>>) -> Self {
        samples.push(Vec::new());
        Self {
            prng: Prng::from_seed(seed),
            samples,
        }
    }

    /// The next input: a sample with one to eight changes.
    ///
    /// # Panics
    ///
    /// Never: there is always the empty sample.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.sample();
        for _ in 0..self.prng.range(1..9) {
            self.change(&mut bytes);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn sample(&mut self) -> Vec<u8> {
        let sample = self.prng.choose(&self.samples);
        sample.expect("the empty sample is always there").clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.prng.index(bytes.len() + 1);
        let end = (at + self.prng.index(BLOCK_BYTES_MAX)).min(bytes.len());
        match self.prng.below(9) {
            0 => self.flip_bit(bytes),
            1 => self.put_edge(bytes, at),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let block = bytes[at..end].to_vec();
                let to = self.prng.index(bytes.len() + 1);
                bytes.splice(to..to, block);
            }
            5 => {
                let mut noise = vec![0; self.prng.index(9)];
                self.prng.fill(&mut noise);
                bytes.splice(at..at, noise);
            }
            6 => {
                let other = self.sample();
                let from = self.prng.index(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => self.count_on(bytes),
            _ => {
                let mut noise = vec![0; end - at];
                self.prng.fill(&mut noise);
                bytes[at..end].copy_from_slice(&noise);
            }
        }
    }

    fn flip_bit(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.prng.index(bytes.len());
            bytes[at] ^= 1 << self.prng.below(8);
        }
    }

    /// Writes an edge over one, two, four or eight bytes.
    fn put_edge(&mut self, bytes: &mut [u8], at: usize) {
        let edge = *self.prng.choose(&EDGES).expect("there are edges");
        let width = 1 << self.prng.below(4);
        let value = if self.prng.chance(1, 4) {
            edge.to_be_bytes()
        } else {
            edge.to_le_bytes()
        };
        for (byte, value) in bytes.iter_mut().skip(at).take(width).zip(value) {
            *byte = value;
        }
    }

    /// Adds a little to one byte.
    fn count_on(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.prng.index(bytes.len());
            let step = self.prng.range(1..5).to_le_bytes()[0];
            let up = self.prng.chance(1, 2);
            let byte = bytes[at];
            bytes[at] = if up {
                byte.wrapping_add(step)
            } else {
                byte.wrapping_sub(step)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let samples = vec![b"one sample".to_vec(), b"another one".to_vec()];
        let mut one = Mutator::new(3, samples.clone());
        let mut two = Mutator::new(3, samples.clone());
        let mut other = Mutator::new(4, samples);
        let inputs: Vec<_> = (0..100).map(|_| one.next_input()).collect();
        assert_eq!(
            inputs,
            (0..100).map(|_| two.next_input()).collect::<Vec<_>>()
        );
        assert_ne!(
            inputs,
            (0..100).map(|_| other.next_input()).collect::<Vec<_>>()
        );
    }
}
