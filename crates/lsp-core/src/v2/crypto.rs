//! The cipher of the data phase: ChaCha20-Poly1305 (RFC 8439), one key a direction.
//!
//! The nonce is the packet number, which is written out in full and never repeats; the
//! header is authenticated. A key is replaced after a number of packets by what the Noise
//! specification calls rekeying, so that somebody who gets hold of today's key can't read
//! what was recorded before. Bit 0 of a packet's first byte is the parity of the key's
//! generation.
//!
//! The sender changes first; the receiver follows when a packet opens under the next key.
//! The sender changes again only when a packet of the current generation was acknowledged,
//! so that the two are never more than one generation apart.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use snow::params::HashChoice;
use snow::resolvers::{CryptoResolver as _, DefaultResolver};

use crate::keys::KEY_BYTES;
use crate::v2::packet::{PROOF_BYTES, PathId, TAG_BYTES};

/// A key and its successor.
struct Generation {
    key: [u8; KEY_BYTES],
    number: u64,
}

impl Generation {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.key.into())
    }

    /// The next key: what the cipher makes of zeros under a nonce that no packet has.
    // spec: LSP2-3.6
    fn next(&self) -> Self {
        let mut key = [0; KEY_BYTES];
        let _tag = self
            .cipher()
            .encrypt_in_place_detached(&nonce(u64::MAX).into(), &[], &mut key)
            .expect("32 bytes are not too many");
        Self {
            key,
            number: self.number + 1,
        }
    }

    const fn is_odd(&self) -> bool {
        self.number % 2 == 1
    }

    fn open(&self, packet: u64, header: &[u8], sealed: &mut Vec<u8>) -> bool {
        let Some(length) = sealed.len().checked_sub(TAG_BYTES) else {
            return false;
        };
        let (body, tag) = sealed.split_at_mut(length);
        let tag = chacha20poly1305::Tag::clone_from_slice(tag);
        let opened =
            self.cipher()
                .decrypt_in_place_detached(&nonce(packet).into(), header, body, &tag);
        sealed.truncate(length);
        opened.is_ok()
    }
}

fn nonce(packet: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&packet.to_le_bytes());
    nonce
}

/// Encrypts what we send.
pub(crate) struct Sealer {
    current: Generation,
    /// The first packet of this generation.
    since: u64,
    /// Whether a packet of this generation was acknowledged.
    confirmed: bool,
    /// Whether a packet was made to want an answer only for that.
    asked: bool,
}

impl Sealer {
    pub(crate) const fn new(key: [u8; KEY_BYTES]) -> Self {
        Self {
            current: Generation { key, number: 0 },
            since: 0,
            confirmed: false,
            asked: false,
        }
    }

    pub(crate) const fn is_odd(&self) -> bool {
        self.current.is_odd()
    }

    /// How many times the key was changed.
    pub(crate) const fn generation(&self) -> u64 {
        self.current.number
    }

    /// Changes the key if it is due; call it before a packet's header is written.
    // spec: LSP2-3.6
    pub(crate) fn prepare(&mut self, packet: u64, every: u64) {
        if self.confirmed && packet - self.since >= every {
            self.current = self.current.next();
            self.since = packet;
            self.confirmed = false;
            self.asked = false;
        }
    }

    /// Whether to ask for an answer, once in a generation: who only acknowledges is never
    /// acknowledged, and would keep its key for ever.
    pub(crate) const fn asks(&mut self, packet: u64, every: u64) -> bool {
        let asks = !self.confirmed && !self.asked && packet - self.since >= every / 2;
        self.asked |= asks;
        asks
    }

    /// Takes note that a packet was acknowledged.
    pub(crate) const fn on_acked(&mut self, packet: u64) {
        if packet >= self.since {
            self.confirmed = true;
        }
    }

    /// Encrypts the end of a buffer in place, from `body` on, and appends the tag. The
    /// header is what stands before it from `start` on.
    pub(crate) fn seal(&self, packet: u64, buffer: &mut Vec<u8>, start: usize, body: usize) {
        let (before, plain) = buffer.split_at_mut(body);
        let tag = self
            .current
            .cipher()
            .encrypt_in_place_detached(&nonce(packet).into(), &before[start..], plain)
            .expect("a datagram is not too long");
        buffer.extend_from_slice(&tag);
    }
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sealer(generation {})", self.current.number)
    }
}

/// Decrypts what we receive.
pub(crate) struct Opener {
    current: Generation,
    /// The key before, for packets that are late.
    previous: Option<Generation>,
    /// The lowest packet of the current generation that was opened.
    since: u64,
}

impl Opener {
    pub(crate) const fn new(key: [u8; KEY_BYTES]) -> Self {
        Self {
            current: Generation { key, number: 0 },
            previous: None,
            since: 0,
        }
    }

    /// Decrypts a packet's frames into `plain`; whether they are the peer's.
    // spec: LSP2-3.5 LSP2-3.6
    pub(crate) fn open(
        &mut self,
        packet: u64,
        odd: bool,
        header: &[u8],
        sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> bool {
        plain.clear();
        plain.extend_from_slice(sealed);
        if odd == self.current.is_odd() {
            let opened = self.current.open(packet, header, plain);
            if opened {
                self.since = self.since.min(packet);
            }
            return opened;
        }
        if packet < self.since
            && let Some(previous) = &self.previous
        {
            return previous.open(packet, header, plain);
        }
        let next = self.current.next();
        if !next.open(packet, header, plain) {
            return false;
        }
        self.previous = Some(core::mem::replace(&mut self.current, next));
        self.since = packet;
        true
    }
}

impl core::fmt::Debug for Opener {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Opener(generation {})", self.current.number)
    }
}

/// A key for one purpose, from a secret that has several.
pub(crate) fn derive(secret: &[u8; KEY_BYTES], purpose: &[u8]) -> [u8; KEY_BYTES] {
    let mut hash = DefaultResolver
        .resolve_hash(&HashChoice::SHA256)
        .expect("the feature for SHA-256 is on");
    let mut key = [0; KEY_BYTES];
    hash.hmac(secret, purpose, &mut key);
    key
}

/// What proves a reset: only the server and its client know it.
// spec: LSP2-7.4
pub(crate) fn reset_proof(key: &[u8; KEY_BYTES], path: PathId) -> [u8; PROOF_BYTES] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&path.to_le_bytes());
    let mut proof = [0; PROOF_BYTES];
    ChaCha20::new(&(*key).into(), &nonce.into()).apply_keystream(&mut proof);
    proof
}

/// Whether two proofs are the same, in a time that doesn't tell where they differ.
pub(crate) fn same(one: &[u8; PROOF_BYTES], other: &[u8; PROOF_BYTES]) -> bool {
    let differences = one
        .iter()
        .zip(other)
        .fold(0, |sum, (one, other)| sum | (one ^ other));
    core::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: &Sealer, packet: u64, text: &[u8]) -> Vec<u8> {
        let mut buffer = b"head".to_vec();
        buffer.extend_from_slice(text);
        sealer.seal(packet, &mut buffer, 0, 4);
        buffer.split_off(4)
    }

    // spec: LSP2-3.5
    #[test]
    fn what_was_changed_does_not_open() {
        let sealer = Sealer::new([5; 32]);
        let mut opener = Opener::new([5; 32]);
        let good = sealed(&sealer, 9, b"hello");
        let mut plain = Vec::new();
        assert!(opener.open(9, false, b"head", &good, &mut plain));
        assert_eq!(plain, b"hello");
        assert!(!opener.open(8, false, b"head", &good, &mut plain));
        assert!(!opener.open(9, false, b"heaD", &good, &mut plain));
        assert!(!opener.open(9, true, b"head", &good, &mut plain));
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(!opener.open(9, false, b"head", &bad, &mut plain));
            let cut = &good[..index];
            assert!(!opener.open(9, false, b"head", cut, &mut plain));
        }
    }

    // spec: LSP2-3.6
    #[test]
    fn keys_change_and_late_packets_still_open() {
        let mut sealer = Sealer::new([5; 32]);
        let mut opener = Opener::new([5; 32]);
        let mut plain = Vec::new();
        let late = sealed(&sealer, 3, b"late");
        sealer.prepare(100, 16);
        assert_eq!(sealer.generation(), 0, "nothing is acknowledged yet");
        sealer.on_acked(2);
        for packet in 100..400 {
            sealer.prepare(packet, 16);
            let bytes = sealed(&sealer, packet, b"x");
            assert!(opener.open(packet, sealer.is_odd(), b"head", &bytes, &mut plain));
            sealer.on_acked(packet);
            if packet == 101 {
                assert!(opener.open(3, false, b"head", &late, &mut plain));
                assert_eq!(plain, b"late");
            }
        }
        assert!(sealer.generation() > 15, "{sealer:?}");
        assert!(!opener.open(3, false, b"head", &late, &mut plain));
    }
}
