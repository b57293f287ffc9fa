//! The original's checksum, with its quirk.
//!
//! It means to be the Internet's 16-bit one's complement sum over connection id,
//! sequence number, size and payload. But the two halves of each *number* are added in
//! 16-bit arithmetic, where the carry is lost, before they join the 32-bit sum. A peer
//! that "repairs" this rejects one message in every 65,536 or so once sequence numbers
//! pass 65,535. The payload is summed as little-endian words, an odd byte padded with
//! zero; carries are folded at the end and the result is complemented.

use crate::message::{ConnId, SeqNum};

/// The checksum of a Data message.
// spec: LSP-2.4
#[must_use]
pub fn checksum(id: ConnId, seq: SeqNum, payload: &[u8]) -> u16 {
    let numbers = number(id.get()) + number(seq.get()) + number(payload.len() as u64);
    let mut sum = numbers + words(payload);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [low, high, ..] = sum.to_le_bytes();
    !u16::from_le_bytes([low, high])
}

/// A number's part of the sum: the halves of its low 32 bits, carry lost.
const fn number(value: u64) -> u64 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    let low = u16::from_le_bytes([a, b]);
    let high = u16::from_le_bytes([c, d]);
    low.wrapping_add(high) as u64
}

/// The payload's part of the sum.
fn words(payload: &[u8]) -> u64 {
    let pairs = payload.chunks_exact(2);
    let odd = pairs.remainder().first().map_or(0, |&last| u64::from(last));
    let whole: u64 = pairs
        .map(|pair| u64::from(u16::from_le_bytes([pair[0], pair[1]])))
        .sum();
    whole + odd
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: u64, seq: u64, payload: &str, expected: u16) {
        let sum = checksum(ConnId::new(id), SeqNum::new(seq), payload.as_bytes());
        assert_eq!(sum, expected, "({id}, {seq}, {payload:?})");
    }

    // spec: LSP-2.4
    #[test]
    fn the_original_vectors_hold() {
        check(1, 1, "hello", 11_701);
        check(1, 2, "abc", 40_245);
        check(3, 123_456_789, "hello world", 23_791);
        check(7, 131_071, "", 65_528);
    }

    #[test]
    fn the_carry_between_the_halves_of_a_number_is_lost() {
        // 0xffff + 0x0001 is zero in 16 bits, so this number adds nothing at all.
        check(0, 0x0001_ffff, "", !0);
        check(0, 0, "", !0);
    }

    #[test]
    fn only_the_low_32_bits_of_a_number_count() {
        check(0, 5 << 32, "", !0);
    }
}
