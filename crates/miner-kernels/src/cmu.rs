//! The hash of the CMU course and its minimum over a range of nonces.
//!
//! The hash of a message and a nonce is the first eight bytes, big-endian, of the SHA-256 of
//! the message, a space and the nonce in decimal. A search looks at every nonce of a range:
//! it cannot stop early, so all that helps is to hash faster.
//!
//! A search goes in runs of up to 1,000 nonces that differ in their last three digits. What
//! comes before them is absorbed once (the *midstate*), the digits before the last three are
//! counted up in place as text, and the kernels get one block in which one word, or two
//! neighbours, vary. Where the padding doesn't fit behind the nonce (56 to 63 bytes beyond
//! the last whole block) a second block follows.

use core::ops::RangeInclusive;

use crate::kernel::Kernel;
use crate::sha256::{Block, INITIAL, State, absorb, block, compress};
use crate::simd;
use crate::suffix::{DIGITS, RUN, SUFFIXES, Suffixes};

/// The outcome of a search: the smallest hash, and the smallest nonce that has it.
///
/// Ordered so that the better one is smaller.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Best {
    /// The hash.
    pub hash: u64,
    /// Where it was found.
    pub nonce: u64,
}

impl Best {
    /// Hashes whose upper half is above this can't be better.
    pub(crate) fn limit(best: Option<Self>) -> u32 {
        let hash = best.map_or(u64::MAX, |best| best.hash);
        u32::try_from(hash >> 32).expect("32 bits are left")
    }
}

/// A message, ready to be hashed with many nonces.
#[derive(Clone, Debug)]
pub struct Message {
    midstate: State,
    /// What follows the last whole block: the end of the message and the space.
    rest: Vec<u8>,
    /// Of the message with its space.
    bytes: u64,
}

/// Up to 1,000 nonces that differ in their last three digits.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The chaining value before `block`.
    pub(crate) state: State,
    /// The block in which the suffix begins, with zeros in its place.
    pub(crate) block: Block,
    /// The block after it, if there is one. A suffix that begins in word 15 can reach into
    /// its first word.
    pub(crate) tail: Option<Block>,
    /// The word in which the suffix begins.
    pub(crate) word: usize,
    pub(crate) suffixes: &'static Suffixes,
    /// The nonce whose suffix is 000.
    base: u64,
    /// The first suffix.
    pub(crate) first: usize,
    /// The last suffix, included.
    pub(crate) last: usize,
}

impl Run {
    /// The block after the first if it is the same for all nonces.
    pub(crate) fn settled_tail(&self) -> Option<Block> {
        self.tail.filter(|_| self.word < 15)
    }

    /// The block after the first if the suffix can reach into it.
    pub(crate) fn spill(&self) -> Option<Block> {
        self.tail.filter(|_| self.word == 15)
    }

    /// The better of `best` and what was found at a suffix, if that belongs to the run.
    pub(crate) fn better(
        &self,
        best: Option<Best>,
        suffix: usize,
        high: u32,
        low: u32,
    ) -> Option<Best> {
        let hash = (u64::from(high) << 32) | u64::from(low);
        if !(self.first..=self.last).contains(&suffix) || best.is_some_and(|best| best.hash <= hash)
        {
            return best;
        }
        let nonce = self.base + suffix as u64;
        Some(Best { hash, nonce })
    }
}

impl Message {
    /// Absorbs the message.
    #[must_use]
    pub fn new(message: &[u8]) -> Self {
        let (whole, _) = message.as_chunks::<64>();
        let (mut midstate, rest) = absorb(INITIAL, message);
        let mut rest = [rest, b" "].concat();
        let mut bytes = 64 * whole.len() as u64;
        if let Ok(full) = <&[u8; 64]>::try_from(&rest[..]) {
            midstate = compress(midstate, &block(full));
            bytes += 64;
            rest.clear();
        }
        bytes += rest.len() as u64;
        Self {
            midstate,
            rest,
            bytes,
        }
    }

    /// The hash of one nonce, without any kernel: what claims are checked with.
    #[must_use]
    pub fn hash(&self, nonce: u64) -> u64 {
        let mut tail = Tail::new(self, nonce.to_string().as_bytes());
        let mut state = self.midstate;
        for block in tail.blocks() {
            state = compress(state, &block);
        }
        (u64::from(state[0]) << 32) | u64::from(state[1])
    }

    /// The smallest hash over a range of nonces, both ends included, and the smallest nonce
    /// that has it. `None` for an empty range.
    #[must_use]
    pub fn minimum(&self, kernel: Kernel, nonces: RangeInclusive<u64>) -> Option<Best> {
        let (mut at, upper) = nonces.into_inner();
        let mut best: Option<Best> = None;
        // Nonces of fewer than four digits have no digits that stay: there are 1,000.
        while at < RUN as u64 && at <= upper {
            let hash = self.hash(at);
            if best.is_none_or(|best| hash < best.hash) {
                best = Some(Best { hash, nonce: at });
            }
            at += 1;
        }
        if at > upper {
            return best;
        }
        let mut counter = Counter::new(at / RUN as u64);
        let last = upper / RUN as u64;
        loop {
            let high = counter.value;
            let first = if high == at / RUN as u64 {
                at % RUN as u64
            } else {
                0
            };
            let end = if high == last {
                upper % RUN as u64
            } else {
                RUN as u64 - 1
            };
            let run = self.run(&counter, suffix(first), suffix(end));
            best = simd::minimum(kernel.instructions(), &run, best);
            if high == last {
                return best;
            }
            counter.increment();
        }
    }

    /// The run of the nonces that begin with the counter's digits.
    fn run(&self, counter: &Counter, first: usize, last: usize) -> Run {
        let digits = counter.digits();
        let mut tail = Tail::new(self, digits);
        let at = self.rest.len() + digits.len();
        tail.leave_room(at);
        let mut blocks = tail.blocks();
        let mut state = self.midstate;
        let mut block = blocks.next().expect("a tail has a block");
        let mut next = blocks.next();
        if at >= 64 {
            state = compress(state, &block);
            block = next.take().expect("the suffix lies in the second block");
        }
        Run {
            state,
            block,
            tail: next,
            word: at % 64 / 4,
            suffixes: &SUFFIXES[at % 4],
            base: counter.value * RUN as u64,
            first,
            last,
        }
    }
}

fn suffix(value: u64) -> usize {
    usize::try_from(value).expect("less than 1,000")
}

/// What follows the midstate: the rest of the message, digits and padding.
///
/// The rest and the space take at most 63 bytes, digits 20, padding 9: two blocks.
#[derive(Debug)]
struct Tail {
    bytes: [u8; 128],
    /// Up to the end of the digits.
    filled: usize,
    /// Of the whole message, in bits.
    bits: u64,
}

impl Tail {
    fn new(message: &Message, digits: &[u8]) -> Self {
        let mut bytes = [0; 128];
        let rest = message.rest.len();
        let filled = rest + digits.len();
        bytes[..rest].copy_from_slice(&message.rest);
        bytes[rest..filled].copy_from_slice(digits);
        let bits = (message.bytes + digits.len() as u64).wrapping_mul(8);
        let mut tail = Self {
            bytes,
            filled,
            bits,
        };
        tail.bytes[filled] = 0x80;
        tail
    }

    /// Leaves room for the suffix at `at`, where the digits end.
    fn leave_room(&mut self, at: usize) {
        self.bytes[at..at + DIGITS].fill(0);
        self.filled = at + DIGITS;
        self.bytes[self.filled] = 0x80;
        self.bits = self.bits.wrapping_add(8 * DIGITS as u64);
    }

    /// The blocks, with the length at the end of the last.
    fn blocks(&mut self) -> impl Iterator<Item = Block> + '_ {
        let end = if self.filled + 9 <= 64 { 64 } else { 128 };
        self.bytes[end - 8..end].copy_from_slice(&self.bits.to_be_bytes());
        self.bytes[..end].as_chunks::<64>().0.iter().map(block)
    }
}

/// A number that counts up as text, in place.
#[derive(Debug)]
struct Counter {
    value: u64,
    /// Right-aligned.
    text: [u8; Self::DIGITS_MAX],
    start: usize,
}

impl Counter {
    /// Of `u64::MAX`.
    const DIGITS_MAX: usize = 20;

    fn new(value: u64) -> Self {
        let digits = value.to_string();
        let start = Self::DIGITS_MAX - digits.len();
        let mut text = [b'0'; Self::DIGITS_MAX];
        text[start..].copy_from_slice(digits.as_bytes());
        Self { value, text, start }
    }

    fn digits(&self) -> &[u8] {
        &self.text[self.start..]
    }

    fn increment(&mut self) {
        self.value += 1;
        let mut at = Self::DIGITS_MAX - 1;
        while self.text[at] == b'9' {
            self.text[at] = b'0';
            at -= 1;
        }
        self.text[at] += 1;
        self.start = self.start.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_as_printing_does() {
        for start in [1, 8, 98, 996, 9_999_998, u64::MAX / 1000 - 5] {
            let mut counter = Counter::new(start);
            for value in start..start + 5 {
                assert_eq!(counter.digits(), value.to_string().as_bytes());
                counter.increment();
            }
        }
    }

    #[test]
    fn the_better_of_two_is_the_smaller() {
        let best = |hash, nonce| Best { hash, nonce };
        assert!(best(1, 9) < best(2, 3));
        assert!(best(1, 3) < best(1, 9));
        assert_eq!(Best::limit(None), u32::MAX);
        assert_eq!(Best::limit(Some(best(0x1_ffff_ffff, 0))), 1);
    }
}
