//! Digests: of a multiset of records, and of a stream of bytes.
//!
//! Both are built on XXH3 with 128 bits, which is fixed by its specification, so that digests from
//! different builds can be compared. It finds accidents (lost, repeated, altered records), not
//! forgeries.

use core::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

/// The sum, modulo 2^128, of the hashes of records: it does not depend on their order, and a
/// record that is there twice counts twice.
///
/// Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Digest(u128);

impl Digest {
    /// Of no records.
    pub const EMPTY: Self = Self(0);

    /// Of one record.
    #[must_use]
    pub fn of(key: &[u8], value: &[u8]) -> Self {
        let mut joined = Vec::with_capacity(key.len() + value.len());
        joined.extend_from_slice(key);
        joined.extend_from_slice(value);
        Self::of_joined(&joined, key.len())
    }

    /// Of one record whose key and value lie one behind the other.
    #[inline]
    #[must_use]
    pub fn of_joined(record: &[u8], key_len: usize) -> Self {
        Self(xxh3_128_with_seed(record, key_len as u64))
    }

    /// With the records of another.
    #[inline]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Adds the records of another.
    #[inline]
    pub fn add(&mut self, other: Self) {
        *self = self.plus(other);
    }

    /// As a number.
    #[must_use]
    pub fn to_u128(self) -> u128 {
        self.0
    }

    /// From a number.
    #[must_use]
    pub fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// As 16 bytes, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From 16 bytes, little-endian.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl core::str::FromStr for Digest {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of bytes in their order, however they are cut into pieces.
#[derive(Clone)]
pub struct StreamDigest {
    hasher: Box<Xxh3>,
}

impl Default for StreamDigest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StreamDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDigest").finish_non_exhaustive()
    }
}

impl StreamDigest {
    /// Of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hasher: Box::new(Xxh3::new()),
        }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Of all bytes so far. Digests of different streams may be added like those of records.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(self.hasher.digest128())
    }
}

/// FNV-1a with 32 bits and without the sign: which partition a key is in, forever.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for byte in key {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_records_forgets_their_order_and_nothing_else() {
        let (a, b) = (Digest::of(b"k", b"v"), Digest::of(b"kv", b""));
        assert_ne!(a, b, "where the key ends matters");
        assert_eq!(a.plus(b), b.plus(a));
        assert_ne!(a.plus(a), a, "a repeated record shows");
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!(Digest::from_bytes(a.to_bytes()), a);
    }

    #[test]
    fn the_digest_of_a_stream_forgets_how_it_was_cut() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let mut whole = StreamDigest::new();
        whole.update(&bytes);
        for size in [1, 7, 64, 999] {
            let mut pieces = StreamDigest::new();
            bytes.chunks(size).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), whole.finish());
        }
    }

    #[test]
    fn digests_are_the_same_in_every_build() {
        // Receipts hold them: a change here is a change of format.
        let known = "99aa06d3014798d86001c324468d497f";
        assert_eq!(StreamDigest::new().finish().to_string(), known);
        assert_eq!(key_hash(b"a"), 0x640c_292c, "FNV-1a of \"a\" is e40c292c");
    }
}
