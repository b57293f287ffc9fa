//! The last three digits of a nonce, ready to be put into a block.
//!
//! Counting in decimal costs more than it seems if every nonce is printed. Here the digits
//! before the last three are printed once for a thousand nonces, and the last three come
//! from a table with the words they make. They begin at any of the four bytes of a word, so
//! there are four tables, and they can reach into the next word, so an entry has two halves.

/// How many nonces share all digits but the last three.
pub(crate) const RUN: usize = 1000;
/// Three digits.
pub(crate) const DIGITS: usize = 3;

/// The words of all suffixes that begin at one byte of a word.
#[derive(Debug)]
pub(crate) struct Suffixes {
    /// What goes into the word where the suffix begins.
    pub(crate) here: [u32; RUN],
    /// What goes into the word after it.
    pub(crate) next: [u32; RUN],
    /// Both, the first in the lower half.
    pub(crate) both: [u64; RUN],
}

/// By the byte of the word at which the suffix begins.
pub(crate) static SUFFIXES: [Suffixes; 4] = [table(0), table(1), table(2), table(3)];

#[expect(
    clippy::cast_possible_truncation,
    reason = "digits and halves of words; `From` is not const"
)]
const fn table(byte: u32) -> Suffixes {
    let mut table = Suffixes {
        here: [0; RUN],
        next: [0; RUN],
        both: [0; RUN],
    };
    let mut at = 0;
    while at < RUN {
        let digits = [at / 100, at / 10 % 10, at % 10];
        let mut bytes = [0_u8; 8];
        let mut place = 0;
        while place < DIGITS {
            bytes[byte as usize + place] = b'0' + digits[place] as u8;
            place += 1;
        }
        let both = u64::from_be_bytes(bytes);
        table.here[at] = (both >> 32) as u32;
        table.next[at] = both as u32;
        table.both[at] = both.rotate_left(32);
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_three_digits_wherever_it_begins() {
        for (byte, table) in SUFFIXES.iter().enumerate() {
            for at in [0, 7, 42, 109, 999] {
                let mut expected = [0; 8];
                expected[byte..byte + 3].copy_from_slice(format!("{at:03}").as_bytes());
                let both = (u64::from(table.here[at]) << 32) | u64::from(table.next[at]);
                assert_eq!(both.to_be_bytes(), expected);
                assert_eq!(table.both[at].rotate_left(32), both);
            }
        }
    }
}
