//! Bitcoin's proof of work: a header of 80 bytes whose double SHA-256, read as a
//! little-endian number of 256 bits, is at most the target.
//!
//! Unlike the CMU search this one stops at the first success. The first 64 bytes of the
//! header don't contain the nonce and are absorbed once. The hash of the hash needs only its
//! most significant word to be turned down, which is ready three rounds before the end.

use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

use thiserror::Error;

use crate::cmu::Best;
use crate::kernel::Kernel;
use crate::sha256::{Block, INITIAL, State, absorb, block, compress, to_bytes};
use crate::simd;

/// The length of a header.
pub const HEADER_BYTES: usize = 80;

/// A block's header: version, previous block, Merkle root, time, bits, nonce.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Header([u8; HEADER_BYTES]);

/// Text that is not a header.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ParseHeaderError {
    /// The wrong length.
    #[error("a header has 160 hexadecimal digits, not {0}")]
    Length(usize),
    /// Something else than a digit.
    #[error("not a hexadecimal digit at position {0}")]
    Digit(usize),
}

/// A target that no header can have.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the bits {0:#010x} are not a target: negative, zero or beyond 256 bits")]
pub struct BadTarget(pub u32);

/// The double hash of a header, as it is stored: the least significant byte first.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct BlockHash(pub [u8; 32]);

/// The largest hash that counts, the most significant byte first.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target([u8; 32]);

impl Header {
    /// A header from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; HEADER_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.0
    }

    /// The nonce.
    #[must_use]
    pub const fn nonce(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// The same header with another nonce.
    #[must_use]
    pub const fn with_nonce(mut self, nonce: u32) -> Self {
        [self.0[76], self.0[77], self.0[78], self.0[79]] = nonce.to_le_bytes();
        self
    }

    /// The target in its compact form.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        u32::from_le_bytes([self.0[72], self.0[73], self.0[74], self.0[75]])
    }

    /// The target that the header names.
    ///
    /// # Errors
    ///
    /// [`BadTarget`] if its bits mean no target.
    pub fn target(&self) -> Result<Target, BadTarget> {
        Target::from_bits(self.bits())
    }

    /// The double SHA-256, without any kernel: what claims are checked with.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        let grind = Grind::new(*self, Target([0xff; 32]));
        grind.hash(self.nonce())
    }

    /// The first nonce of a range, both ends included, whose hash is at most the target.
    #[must_use]
    pub fn search(
        &self,
        kernel: Kernel,
        target: Target,
        nonces: RangeInclusive<u32>,
    ) -> Option<u32> {
        let (first, last) = nonces.into_inner();
        simd::grind(
            kernel.instructions(),
            &Grind::new(*self, target),
            first,
            last,
        )
    }

    /// The smallest hash over a range of nonces, both ends included, as far as its first 64
    /// bits tell (see [`BlockHash::top`]), and the smallest nonce that has it. `None` for an
    /// empty range.
    #[must_use]
    pub fn minimum(&self, kernel: Kernel, nonces: RangeInclusive<u32>) -> Option<Best> {
        let (mut first, last) = nonces.into_inner();
        let mut grind = Grind::new(*self, Target([0xff; 32]));
        let mut best = None;
        // Each success is a new target. Of a million nonces about fourteen are the best so far.
        while let Some(nonce) = simd::grind(kernel.instructions(), &grind, first, last) {
            let hash = grind.hash(nonce).top();
            best = Some(Best {
                hash,
                nonce: nonce.into(),
            });
            let (Some(below), Some(next)) = (hash.checked_sub(1), nonce.checked_add(1)) else {
                break;
            };
            grind.aim(Target::below_top(below));
            first = next;
        }
        best
    }
}

impl BlockHash {
    /// The most significant 64 bits, with which hashes are compared in a pool.
    #[must_use]
    pub const fn top(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl FromStr for Header {
    type Err = ParseHeaderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 2 * HEADER_BYTES {
            return Err(ParseHeaderError::Length(text.len()));
        }
        let mut bytes = [0; HEADER_BYTES];
        for (at, digit) in text.bytes().enumerate() {
            let value = char::from(digit).to_digit(16);
            let value = value.and_then(|value| u8::try_from(value).ok());
            bytes[at / 2] = (bytes[at / 2] << 4) | value.ok_or(ParseHeaderError::Digit(at))?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({self})")
    }
}

impl fmt::Display for BlockHash {
    /// As explorers show it: the most significant byte first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.iter().rev();
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockHash({self})")
    }
}

impl Target {
    /// From the compact form: an exponent of 256 and a mantissa of 23 bits.
    ///
    /// # Errors
    ///
    /// [`BadTarget`] if it is negative, zero or more than 256 bits.
    pub fn from_bits(bits: u32) -> Result<Self, BadTarget> {
        let [exponent, mantissa @ ..] = bits.to_be_bytes();
        if mantissa[0] & 0x80 != 0 {
            return Err(BadTarget(bits));
        }
        let mut target = [0; 32];
        for (place, byte) in (1..).zip(mantissa) {
            // The mantissa's last byte has the weight of 256 to the power `exponent` - 3.
            let weight = i32::from(exponent) - place;
            let at = usize::try_from(31 - weight);
            match at {
                Ok(at) if at < 32 => target[at] = byte,
                // Bytes below the point are cut off.
                Ok(_) => {}
                Err(_) if byte == 0 => {}
                Err(_) => return Err(BadTarget(bits)),
            }
        }
        if target == [0; 32] {
            return Err(BadTarget(bits));
        }
        Ok(Self(target))
    }

    /// The largest number with these most significant 64 bits.
    fn below_top(top: u64) -> Self {
        let mut target = [0xff; 32];
        target[..8].copy_from_slice(&top.to_be_bytes());
        Self(target)
    }

    /// Whether a hash is at most the target.
    #[must_use]
    pub fn is_met_by(&self, hash: BlockHash) -> bool {
        hash.0.iter().rev().le(self.0.iter())
    }

    /// The share of all hashes that meet it.
    #[must_use]
    pub fn probability(&self) -> f64 {
        let digits = self.0.iter().rev();
        digits.fold(0.0, |sum, byte| (sum + f64::from(*byte)) / 256.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A header and a target, ready for the kernels.
#[derive(Clone, Debug)]
pub(crate) struct Grind {
    /// After the first 64 bytes.
    pub(crate) state: State,
    /// The rest of the header, with zero for the nonce, and padding.
    pub(crate) block: Block,
    /// The target's most significant word: a hash above it fails.
    pub(crate) limit: u32,
    target: Target,
}

impl Grind {
    fn new(header: Header, target: Target) -> Self {
        let header = header.with_nonce(0);
        let (state, rest) = absorb(INITIAL, header.as_bytes());
        let mut bytes = [0; 64];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        bytes[56..].copy_from_slice(&(8 * HEADER_BYTES as u64).to_be_bytes());
        let mut grind = Self {
            state,
            block: block(&bytes),
            limit: 0,
            target,
        };
        grind.aim(target);
        grind
    }

    /// Changes the target.
    const fn aim(&mut self, target: Target) {
        let [a, b, c, d, ..] = target.0;
        self.limit = u32::from_be_bytes([a, b, c, d]);
        self.target = target;
    }

    /// The block that hashes a digest, with zeros for the digest.
    #[expect(
        clippy::unused_self,
        reason = "a constant of what is ground, like `block`"
    )]
    pub(crate) const fn second_block(&self) -> Block {
        let mut block = [0; 16];
        block[8] = 0x8000_0000;
        block[15] = 256;
        block
    }

    fn hash(&self, nonce: u32) -> BlockHash {
        let mut block = self.block;
        block[3] = nonce.swap_bytes();
        let first = compress(self.state, &block);
        let mut block = self.second_block();
        block[..8].copy_from_slice(&first);
        BlockHash(to_bytes(compress(INITIAL, &block)))
    }

    /// Whether a nonce meets the target, without any kernel.
    pub(crate) fn is_met(&self, nonce: u32) -> bool {
        self.target.is_met_by(self.hash(nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_targets_are_as_the_protocol_has_them() {
        let text = |bits| Target::from_bits(bits).map(|target| target.to_string());
        let one = format!("00000000ffff{}", "0".repeat(52));
        assert_eq!(text(0x1d00_ffff), Ok(one));
        assert_eq!(text(0x207f_ffff), Ok(format!("7fffff{}", "0".repeat(58))));
        assert_eq!(text(0x0312_3456), Ok(format!("{}123456", "0".repeat(58))));
        assert_eq!(text(0x0212_3456), Ok(format!("{}1234", "0".repeat(60))));
        assert_eq!(text(0x0112_3456), Ok(format!("{}12", "0".repeat(62))));
        for bad in [
            0,
            0x1d80_0000,
            0x2312_3456,
            0x2112_3456,
            0x0012_3456,
            0x0100_1234,
        ] {
            assert_eq!(text(bad), Err(BadTarget(bad)), "{bad:#x}");
        }
        assert_eq!(text(0x2200_00ff), Ok(format!("ff{}", "0".repeat(62))));
    }

    #[test]
    fn bad_headers_say_what_is_wrong() {
        let parse = |text: &str| text.parse::<Header>().map(|_| ());
        assert_eq!(parse("00"), Err(ParseHeaderError::Length(2)));
        assert_eq!(parse(&"0".repeat(160)), Ok(()));
        let text = format!("{}x", "0".repeat(159));
        assert_eq!(parse(&text), Err(ParseHeaderError::Digit(159)));
        assert!(parse(&"\u{e4}".repeat(80)).is_err());
    }
}
