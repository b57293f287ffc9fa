//! Pairs in memory, and their order.
//!
//! An entry is one number: the partition (32 bits), the first eight bytes of the key, and where
//! the pair is (32 bits). Sorting the numbers sorts by partition, then almost by key, and keeps
//! the order in which pairs came; only pairs whose keys agree in eight bytes are looked at again.

use core::cmp::Ordering;

use crate::prefetch::prefetch;
use crate::run::{decode_record, encode_lengths, prefix};

/// What an entry takes.
pub(crate) const ENTRY_BYTES: usize = 16;
/// Offsets are 32 bits.
const ARENA_BYTES_MAX: usize = u32::MAX as usize;
/// How far ahead pairs are asked for while they are gathered.
const AHEAD: usize = 12;

#[inline]
pub(crate) fn entry(partition: u32, head: u64, at: u32) -> u128 {
    u128::from(partition) << 96 | u128::from(head) << 32 | u128::from(at)
}

#[inline]
pub(crate) fn partition_of(entry: u128) -> u32 {
    (entry >> 96) as u32
}

#[inline]
pub(crate) fn place_of(entry: u128) -> usize {
    (entry & 0xffff_ffff) as usize
}

/// Sorts entries by partition, key and place.
///
/// `heads_decide` says that keys with equal first eight bytes are equal.
pub(crate) fn sort_entries<'a>(entries: &mut [u128], key_at: impl Fn(usize) -> &'a [u8]) {
    entries.sort_unstable();
    let mut start = 0;
    while start < entries.len() {
        let mut end = start + 1;
        while end < entries.len() && entries[end] >> 32 == entries[start] >> 32 {
            end += 1;
        }
        if end - start > 1 {
            sort_alike(&mut entries[start..end], &key_at);
        }
        start = end;
    }
}

/// Sorts entries that differ in their places alone, and are sorted by them.
fn sort_alike<'a>(entries: &mut [u128], key_at: &impl Fn(usize) -> &'a [u8]) {
    let first = key_at(place_of(entries[0]));
    if entries[1..]
        .iter()
        .all(|entry| key_at(place_of(*entry)) == first)
    {
        return;
    }
    entries.sort_unstable_by(
        |a, b| match key_at(place_of(*a)).cmp(key_at(place_of(*b))) {
            Ordering::Equal => a.cmp(b),
            order => order,
        },
    );
}

/// Pairs in the order of their coming, until they are sorted.
#[derive(Debug)]
pub(crate) struct SortBuffer {
    arena: Vec<u8>,
    entries: Vec<u128>,
    limit: usize,
    /// How many first bytes all keys have in common: they are no use in an entry.
    common: Option<usize>,
    first_key: (usize, usize),
}

impl SortBuffer {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            arena: Vec::new(),
            entries: Vec::new(),
            limit,
            common: None,
            first_key: (0, 0),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a pair; false if it doesn't fit (an empty buffer takes any).
    #[inline]
    pub(crate) fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> bool {
        let more = key.len() + value.len() + 10;
        let used = self.arena.len() + self.entries.len() * ENTRY_BYTES;
        if used + more + ENTRY_BYTES > self.limit || self.arena.len() + more > ARENA_BYTES_MAX {
            if !self.entries.is_empty() {
                return false;
            }
        } else if self.arena.capacity() == 0 {
            self.reserve(more);
        }
        let at = self.arena.len();
        encode_lengths(&mut self.arena, key.len(), value.len());
        let key_at = self.arena.len();
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        self.see_common(key_at, key.len());
        let at = u32::try_from(at).expect("the arena is at most 4 GiB long");
        self.entries.push(entry(partition, prefix(key), at));
        true
    }

    /// Takes all the address space that the limit allows, divided by what the first pair looks
    /// like: memory is only used where it is written, and nothing is copied while it fills.
    #[cold]
    fn reserve(&mut self, first: usize) {
        let entries = self.limit / (first + ENTRY_BYTES);
        self.entries
            .reserve_exact(entries.clamp(16, self.limit / ENTRY_BYTES + 1));
        self.arena.reserve_exact(self.limit.min(ARENA_BYTES_MAX));
    }

    #[inline]
    fn see_common(&mut self, key_at: usize, key_len: usize) {
        match self.common {
            Some(0) => {}
            None => {
                self.common = Some(key_len);
                self.first_key = (key_at, key_len);
            }
            Some(common) => {
                let first = &self.arena[self.first_key.0..self.first_key.0 + common];
                let key = &self.arena[key_at..key_at + key_len];
                let alike = first.iter().zip(key).take_while(|(a, b)| a == b).count();
                self.common = Some(alike);
            }
        }
    }

    pub(crate) fn sort(&mut self) {
        let common = self.common.unwrap_or(0);
        if common > 0 {
            for slot in &mut self.entries {
                let place = place_of(*slot);
                let head = prefix(&key_in(&self.arena, place)[common..]);
                *slot = entry(partition_of(*slot), head, (*slot & 0xffff_ffff) as u32);
            }
        }
        let arena = &self.arena;
        sort_entries(&mut self.entries, |place| key_in(arena, place));
    }

    /// The partition and the encoded pair with this number.
    #[inline]
    pub(crate) fn pair(&self, index: usize) -> (u32, &[u8]) {
        if let Some(ahead) = self.entries.get(index + AHEAD) {
            let place = place_of(*ahead);
            prefetch(&self.arena, place);
            prefetch(&self.arena, place + 64);
        }
        let entry = self.entries[index];
        let place = place_of(entry);
        let (_, _, end) = decode_record(&self.arena, place).expect("this buffer encoded the pair");
        (partition_of(entry), &self.arena[place..end])
    }

    /// Forgets the pairs and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.common = None;
    }
}

#[inline]
fn key_in(arena: &[u8], place: usize) -> &[u8] {
    let (key, value, _) = decode_record(arena, place).expect("this buffer encoded the pair");
    &arena[key..value]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(pairs: &[(u32, &str, &str)]) -> Vec<(u32, String, String)> {
        let mut buffer = SortBuffer::new(1 << 20);
        for (partition, key, value) in pairs {
            assert!(buffer.push(*partition, key.as_bytes(), value.as_bytes()));
        }
        buffer.sort();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..buffer.len())
            .map(|index| {
                let (partition, pair) = buffer.pair(index);
                let (key, value, end) = decode_record(pair, 0).unwrap();
                (partition, text(&pair[key..value]), text(&pair[value..end]))
            })
            .collect()
    }

    #[test]
    fn pairs_come_by_partition_and_key_and_in_their_order() {
        let pairs = [
            (1, "b", "1"),
            (0, "prefix-shared-2", "2"),
            (0, "prefix-shared-1", "3"),
            (0, "prefix-shared-1", "4"),
            (0, "", "5"),
            (0, "a\0", "6"),
            (0, "a", "7"),
            (0, "prefix-shared-1", "0"),
        ];
        let mut expected = pairs
            .map(|(p, k, v)| (p, k.to_owned(), v.to_owned()))
            .to_vec();
        expected.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        assert_eq!(sorted(&pairs), expected);
    }

    #[test]
    fn a_common_start_of_all_keys_is_left_out_of_the_comparison() {
        let keys = ["http://h/9", "http://h/10", "http://h/1", "http://h/"];
        let pairs = keys.map(|key| (0, key, ""));
        let mut expected = keys.map(str::to_owned);
        expected.sort();
        let found: Vec<String> = sorted(&pairs).into_iter().map(|(_, key, _)| key).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_full_buffer_refuses_and_an_empty_one_takes_anything() {
        let mut buffer = SortBuffer::new(100);
        assert!(buffer.push(0, &[1; 500], b""));
        assert!(!buffer.push(0, b"a", b""));
        buffer.clear();
        assert!(buffer.push(0, b"a", b""));
    }
}
