//! Words: what they are, and a table that counts them fast.
//!
//! Counting is done in two steps over pieces of a few KiB. The first writes down where separators
//! are, 64 bytes at a time. The second goes through that list: it loads each word as one 16-byte
//! number, hashes it with one multiplication, and counts it in a table of fixed-size slots. So no
//! loop's length depends on the text in a way that the processor can't foresee.

use hashbrown::HashMap;

use crate::builtin::Arguments;
use crate::builtin::scan;
use crate::error::{SpecError, Stopped, UserError};
use crate::function::{BlockMapper, Emit};

/// What a word is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Words {
    /// What stands between white space (of ASCII).
    Whitespace,
    /// Letters, of any script.
    Letters,
}

impl Words {
    pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Self, SpecError> {
        match arguments.value("words") {
            None | Some("whitespace") => Ok(Self::Whitespace),
            Some("letters") => Ok(Self::Letters),
            Some(_) => Err(arguments.error("words", "must be `whitespace` or `letters`")),
        }
    }

    /// The words of a line.
    pub(crate) fn of<'a>(self, line: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = line;
        core::iter::from_fn(move || {
            let start = self.skip(rest, false);
            rest = &rest[start..];
            let len = self.skip(rest, true);
            let (word, after) = rest.split_at(len);
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    }

    /// How many bytes at the front belong to words, or do not.
    fn skip(self, bytes: &[u8], word: bool) -> usize {
        if self == Self::Whitespace {
            let other = |byte: &u8| is_space(*byte) == word;
            return bytes.iter().position(other).unwrap_or(bytes.len());
        }
        let mut at = 0;
        while at < bytes.len() {
            let (letter, len) = letter(&bytes[at..]);
            if letter != word {
                break;
            }
            at += len;
        }
        at
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// Whether a letter comes first, and how many bytes the character has; bytes that are no UTF-8 are
/// no letters.
fn letter(bytes: &[u8]) -> (bool, usize) {
    let first = bytes[0];
    if first.is_ascii() {
        return (first.is_ascii_alphabetic(), 1);
    }
    let chunk = &bytes[..bytes.len().min(4)];
    let Some(chunk) = chunk.utf8_chunks().next() else {
        return (false, 1);
    };
    let character = chunk.valid().chars().next();
    character.map_or((false, 1), |character| {
        (character.is_alphabetic(), character.len_utf8())
    })
}

/// Words up to this length are kept in the slots.
const SHORT_BYTES: usize = 15;
/// So many different words are kept before they are handed on.
const WORDS_MAX: usize = 1 << 18;
const SLOTS_MIN: usize = 1 << 12;
/// Text is scanned in pieces whose list of separators stays in the first cache.
const PIECE_BYTES: usize = 4 << 10;

/// A word of at most 15 bytes, filled with zeros, and its length in the last byte. No word is 0.
type Key = [u64; 2];

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: Key,
    count: u64,
}

/// Counts words.
#[derive(Debug)]
pub(crate) struct WordTable {
    words: Words,
    /// A power of two of them.
    slots: Vec<Slot>,
    used: usize,
    long: HashMap<Box<[u8]>, u64, foldhash::fast::FixedState>,
    /// Where separators are in the piece, and room for 64 more.
    ends: Vec<u32>,
}

impl WordTable {
    pub(crate) fn new(words: Words) -> Self {
        Self {
            words,
            slots: vec![Slot::default(); SLOTS_MIN],
            used: 0,
            long: HashMap::default(),
            ends: vec![0; PIECE_BYTES + 64],
        }
    }

    /// Counts the words of a text that ends with the last word.
    fn count(&mut self, text: &[u8]) {
        let mut ends = core::mem::take(&mut self.ends);
        let mut start = 0;
        let mut base = 0;
        for piece in text.chunks(PIECE_BYTES) {
            let found = match self.words {
                Words::Whitespace => scan::spaces(piece, base, &mut ends),
                Words::Letters => scan::others(piece, base, &mut ends),
            };
            for end in &ends[..found] {
                let end = *end as usize;
                self.count_word(text, start, end);
                start = end + 1;
            }
            base += PIECE_BYTES;
        }
        self.count_word(text, start, text.len());
        self.ends = ends;
    }

    #[inline]
    fn count_word(&mut self, text: &[u8], start: usize, end: usize) {
        let len = end.wrapping_sub(start);
        if len.wrapping_sub(1) >= SHORT_BYTES {
            if len > 0 && start < end {
                self.count_long(&text[start..end]);
            }
            return;
        }
        self.add_short(load(text, start, len), 1);
    }

    #[inline]
    fn add_short(&mut self, key: Key, count: u64) {
        let mask = self.slots.len() - 1;
        let mut at = hash(key) & mask;
        loop {
            let slot = &mut self.slots[at & mask];
            if slot.key == key {
                slot.count = slot.count.wrapping_add(count);
                return;
            }
            if slot.count == 0 {
                *slot = Slot { key, count };
                self.used += 1;
                if self.used * 2 > self.slots.len() {
                    self.grow();
                }
                return;
            }
            at = at.wrapping_add(1);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let more = vec![Slot::default(); self.slots.len() * 2];
        let old = core::mem::replace(&mut self.slots, more);
        self.used = 0;
        for slot in old {
            if slot.count > 0 {
                self.add_short(slot.key, slot.count);
            }
        }
    }

    #[cold]
    fn count_long(&mut self, word: &[u8]) {
        *self.long.entry_ref(word).or_insert(0) += 1;
    }

    fn hand_on(&mut self, out: &mut dyn Emit) -> Result<(), Stopped> {
        for slot in &mut self.slots {
            if slot.count > 0 {
                let [low, high] = slot.key;
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&low.to_le_bytes());
                bytes[8..].copy_from_slice(&high.to_le_bytes());
                let len = usize::from(bytes[SHORT_BYTES]);
                out.emit(&bytes[..len], &slot.count.to_le_bytes())?;
                *slot = Slot::default();
            }
        }
        self.used = 0;
        for (word, count) in self.long.drain() {
            out.emit(&word, &count.to_le_bytes())?;
        }
        Ok(())
    }
}

/// The bytes of a short word as two numbers.
#[inline]
fn load(text: &[u8], start: usize, len: usize) -> Key {
    let mut bytes = [0; 16];
    if let Some(whole) = text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
        bytes = *whole;
    } else {
        // Too near the end of the text to load more than the word.
        bytes[..len].copy_from_slice(&text[start..start + len]);
    }
    let [low_mask, high_mask] = MASKS[len & 15];
    let (low, high) = bytes.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    [
        number(low) & low_mask,
        number(high) & high_mask | (len as u64) << 56,
    ]
}

/// Which bytes belong to a word of each length.
const MASKS: [Key; 16] = {
    let mut masks = [[0; 2]; 16];
    let mut len = 0;
    while len < 16 {
        masks[len] = if len < 8 {
            [(1 << (8 * len)) - 1, 0]
        } else {
            [u64::MAX, (1 << (8 * (len - 8))) - 1]
        };
        len += 1;
    }
    masks
};

#[inline]
fn hash([low, high]: Key) -> usize {
    let product =
        u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd1b5_4a32_d192_ed03);
    let folded = (product >> 64) as u64 ^ (product & 0xffff_ffff_ffff_ffff) as u64;
    usize::try_from(folded >> 16).unwrap_or(0)
}

impl BlockMapper for WordTable {
    fn map_block(&mut self, block: &[u8], out: &mut dyn Emit) -> Result<(), UserError> {
        if self.words == Words::Whitespace || block.is_ascii() {
            self.count(block);
        } else {
            for line in block.split(|byte| *byte == b'\n') {
                if line.is_ascii() {
                    self.count(line);
                } else {
                    for word in self.words.of(line) {
                        self.count_word(word, 0, word.len());
                    }
                }
            }
        }
        if self.used + self.long.len() > WORDS_MAX {
            self.hand_on(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), UserError> {
        self.hand_on(out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Counts(BTreeMap<Vec<u8>, u64>);

    impl Emit for Counts {
        fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped> {
            let count = u64::from_le_bytes(value.try_into().unwrap());
            *self.0.entry(key.to_vec()).or_default() += count;
            Ok(())
        }

        fn count(&mut self, _: &str, _: &str, _: i64) {}

        fn status(&mut self, _: &str) {}
    }

    /// The table's counts and those of the plain way.
    fn both(words: Words, text: &[u8]) -> [BTreeMap<Vec<u8>, u64>; 2] {
        let mut table = WordTable::new(words);
        let mut counts = Counts::default();
        table.map_block(text, &mut counts).unwrap();
        table.finish(&mut counts).unwrap();
        let mut plain = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            for word in words.of(line) {
                *plain.entry(word.to_vec()).or_default() += 1;
            }
        }
        [counts.0, plain]
    }

    #[test]
    fn words_are_what_they_say() {
        let words = |words: Words, line: &str| {
            let words = words.of(line.as_bytes());
            words
                .map(|word| String::from_utf8(word.to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        let line = "  it's a\td\u{e9}j\u{e0}-vu,\r";
        assert_eq!(
            words(Words::Whitespace, line),
            ["it's", "a", "d\u{e9}j\u{e0}-vu,"]
        );
        assert_eq!(
            words(Words::Letters, line),
            ["it", "s", "a", "d\u{e9}j\u{e0}", "vu"]
        );
        assert_eq!(words(Words::Letters, ""), [""; 0]);
    }

    #[test]
    fn the_table_counts_like_the_plain_way() {
        let mut prng = stdx::Prng::from_seed(7);
        for round in 0..300 {
            let len = prng.index(20_000);
            let spread = 1 + prng.below(40);
            let mut text = Vec::with_capacity(len);
            while text.len() < len {
                match prng.below(spread + 4) {
                    0 => text.push(b' '),
                    1 => text.push(b'\n'),
                    2 if round % 3 == 0 => text.extend_from_slice("\u{e9}\u{a0}".as_bytes()),
                    2 if round % 3 == 1 => text.push(prng.index(128).to_le_bytes()[0] | 0x80),
                    3 => text.extend_from_slice(b"\t \x0b"),
                    _ => text.push(b"abcd"[prng.index(4)]),
                }
            }
            for words in [Words::Whitespace, Words::Letters] {
                let [table, plain] = both(words, &text);
                assert_eq!(table, plain, "round {round}, {words:?}");
            }
        }
    }

    #[test]
    fn many_words_are_handed_on_in_time() {
        let text: Vec<u8> = (0..WORDS_MAX + 10)
            .flat_map(|word| format!("{word} ").into_bytes())
            .collect();
        let [table, plain] = both(Words::Whitespace, &text);
        assert_eq!(table.len(), WORDS_MAX + 10);
        assert_eq!(table, plain);
    }
}
