//! Secrets of version 2: what identifies a server, what both ends may share, and where
//! randomness comes from.
//!
//! None of them is ever printed: `Debug` shows a public key and hides the rest. None is
//! derived from a clock or drawn in here: the program that owns the socket passes them in.

use core::fmt;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

/// The length of every key, in bytes.
pub const KEY_BYTES: usize = 32;

/// A server's identity: an X25519 private key.
///
/// Any 32 random bytes are one. Keep it in a file that only the server's user can read;
/// clients that pin its [`public`](Self::public) half talk to nobody else.
#[derive(Clone, Eq, PartialEq)]
pub struct SecretKey([u8; KEY_BYTES]);

/// The public half of a [`SecretKey`]: what a client pins.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; KEY_BYTES]);

/// A secret of both ends, mixed into the handshake: without it nobody connects.
///
/// It must be random, not a password: a recorded handshake lets an attacker try guesses.
#[derive(Clone, Eq, PartialEq)]
pub struct SharedKey([u8; KEY_BYTES]);

/// Where an endpoint's randomness starts: 32 bytes that nobody else knows.
///
/// In production they come from the operating system, anew for each endpoint; two endpoints
/// with the same seed have the same keys, and whoever knows it can read what they say. In a
/// simulation they come from the run's seed.
#[derive(Clone)]
pub struct Seed([u8; KEY_BYTES]);

impl SecretKey {
    /// Takes a private key.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for keeping them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key that clients pin.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(crate::v2::noise::public_key(&self.0))
    }
}

impl PublicKey {
    /// Takes a public key.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for printing and comparing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl SharedKey {
    /// Takes a secret that the other end has, too.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl Seed {
    /// Takes 32 bytes of the operating system's randomness, or a simulation's.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A seed of a simulation: not secret.
    #[must_use]
    pub fn insecure(prng: &mut stdx::Prng) -> Self {
        let mut bytes = [0; KEY_BYTES];
        prng.fill(&mut bytes);
        Self(bytes)
    }
}

/// A cryptographically strong generator: the key stream of `ChaCha20` under the seed.
///
/// After each draw the key is replaced by more of the stream, so that what was drawn can't
/// be found again in a later copy of the memory.
pub(crate) struct Random {
    key: [u8; KEY_BYTES],
}

impl Random {
    pub(crate) const fn new(seed: &Seed) -> Self {
        Self { key: seed.0 }
    }

    /// Fills a buffer.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let mut stream = ChaCha20::new(&self.key.into(), &[0; 12].into());
        self.key.fill(0);
        stream.apply_keystream(&mut self.key);
        bytes.fill(0);
        stream.apply_keystream(bytes);
    }

    /// Thirty-two bytes.
    pub(crate) fn key(&mut self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        self.fill(&mut bytes);
        bytes
    }

    /// Eight bytes.
    pub(crate) fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_what_is_drawn_and_no_draw_repeats() {
        let mut one = Random::new(&Seed::new([7; 32]));
        let mut two = Random::new(&Seed::new([7; 32]));
        let mut other = Random::new(&Seed::new([8; 32]));
        let first = one.key();
        assert_eq!(first, two.key());
        assert_ne!(first, other.key());
        assert_ne!(first, one.key());
        assert_ne!(one.word(), one.word());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!(
            "{:?} {:?} {:?} {:?}",
            SecretKey::new([0x41; 32]),
            SharedKey::new([0x41; 32]),
            Seed::new([0x41; 32]),
            Random::new(&Seed::new([0x41; 32])),
        );
        assert_eq!(text, "SecretKey SharedKey Seed Random");
    }

    #[test]
    fn a_public_key_is_that_of_rfc_7748() {
        // RFC 7748, section 6.1: Alice's keys.
        let secret = SecretKey::new([
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        assert_eq!(
            secret.public().to_string(),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        );
    }
}
