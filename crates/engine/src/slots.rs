//! The hash tables, one a slot.
//!
//! A slot with a hash tag on every key may hold all of a database. One table for it
//! would stop the world while it grows, and a step of `SCAN` would have to look at all
//! of it. So a slot that grows is split into parts by the bits that order `SCAN`
//! (extendible hashing): growing moves at most one part's entries, and the parts are
//! ranges of the order.

use hashbrown::HashTable;
use kv_core::{SLOT_COUNT, hash_slot};

use crate::cursor::{ORDER_BITS, hash_key, order_of};
use crate::entry::Entry;

/// A part is split when it has more entries than this.
const PART_ENTRIES_MAX: usize = 4_096;

/// Keys that are warmed together: about as many cache misses as a processor has under
/// way.
pub(crate) const WARM_COUNT: usize = 32;

/// A key with its slot and hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Located<'k> {
    pub(crate) bytes: &'k [u8],
    pub(crate) slot: u16,
    pub(crate) hash: u64,
}

impl<'k> Located<'k> {
    #[inline]
    pub(crate) fn new(bytes: &'k [u8]) -> Self {
        Self {
            bytes,
            slot: hash_slot(bytes),
            hash: hash_key(bytes),
        }
    }
}

/// All slots.
#[derive(Debug)]
pub(crate) struct Slots {
    // Invariant: SLOT_COUNT of them.
    slots: Vec<Slot>,
}

/// The entries of one slot.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Few: one table.
    One(HashTable<Entry>),
    /// Many: parts.
    Many(Box<Parts>),
}

/// Parts of a slot by the first bits of the order.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// How many bits of the order choose an element of `index`.
    depth: u32,
    /// The part for each value of those bits; consecutive elements may share one.
    index: Vec<u32>,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    /// How many bits of the order all its entries share.
    depth: u32,
    table: HashTable<Entry>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: (0..SLOT_COUNT).map(|_| Slot::default()).collect(),
        }
    }
}

impl Slots {
    /// Slots made elsewhere, all of them in order.
    pub(crate) fn from_slots(slots: Vec<Slot>) -> Self {
        assert_eq!(slots.len(), usize::from(SLOT_COUNT));
        Self { slots }
    }

    #[inline]
    pub(crate) fn slot(&self, slot: u16) -> &Slot {
        &self.slots[usize::from(slot)]
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: u16) -> &mut Slot {
        &mut self.slots[usize::from(slot)]
    }

    #[inline]
    pub(crate) fn find(&self, key: Located<'_>) -> Option<&Entry> {
        self.slot(key.slot)
            .table(key.hash)
            .find(key.hash, |entry| entry.key() == key.bytes)
    }

    #[inline]
    pub(crate) fn find_mut(&mut self, key: Located<'_>) -> Option<&mut Entry> {
        self.slot_mut(key.slot)
            .table_mut(key.hash)
            .find_mut(key.hash, |entry| entry.key() == key.bytes)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Brings the memory around some keys into the processor's cache.
    ///
    /// A look-up waits for memory two or three times, each time for what the last
    /// told. For many keys the waits of each kind overlap when they are done together.
    pub(crate) fn warm(&self, keys: &[Located<'_>]) {
        let mut entries = [None; WARM_COUNT];
        for keys in keys.chunks(WARM_COUNT) {
            for (entry, key) in entries.iter_mut().zip(keys) {
                *entry = self.slot(key.slot).table(key.hash).find(key.hash, |_| true);
            }
            let seen = entries[..keys.len()].iter().flatten();
            let sum = seen.map(|entry| entry.touch()).fold(0_u8, u8::wrapping_add);
            std::hint::black_box(sum);
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::One(HashTable::new())
    }
}

impl Slot {
    /// A slot with these entries, whose keys differ.
    pub(crate) fn from_entries(entries: Vec<Entry>) -> Self {
        if entries.len() <= PART_ENTRIES_MAX {
            let mut table = HashTable::with_capacity(entries.len());
            for entry in entries {
                table.insert_unique(hash_key(entry.key()), entry, rehash);
            }
            return Self::One(table);
        }
        let mut slot = Self::default();
        for entry in entries {
            slot.insert(hash_key(entry.key()), entry);
        }
        slot
    }

    #[inline]
    pub(crate) fn table(&self, hash: u64) -> &HashTable<Entry> {
        match self {
            Self::One(table) => table,
            Self::Many(parts) => &parts.parts[parts.part_of(order_of(hash))].table,
        }
    }

    #[inline]
    pub(crate) fn table_mut(&mut self, hash: u64) -> &mut HashTable<Entry> {
        match self {
            Self::One(table) => table,
            Self::Many(parts) => {
                let part = parts.part_of(order_of(hash));
                &mut parts.parts[part].table
            }
        }
    }

    /// Adds an entry whose key is not there.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        let table = self.table_mut(hash);
        if table.len() >= PART_ENTRIES_MAX {
            return self.insert_splitting(hash, entry);
        }
        table.insert_unique(hash, entry, rehash);
    }

    fn insert_splitting(&mut self, hash: u64, entry: Entry) {
        if let Self::One(table) = self {
            let table = std::mem::take(table);
            let parts = vec![Part { depth: 0, table }];
            *self = Self::Many(Box::new(Parts {
                depth: 0,
                index: vec![0],
                parts,
            }));
        }
        let Self::Many(parts) = self else {
            unreachable!("it was just made so")
        };
        parts.split(parts.part_of(order_of(hash)));
        // One split is enough for the average: a part may exceed its size for a while.
        self.table_mut(hash).insert_unique(hash, entry, rehash);
    }

    /// Removes the entry of a key.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let found = self
            .table_mut(hash)
            .find_entry(hash, |entry| entry.key() == key);
        found.ok().map(|occupied| occupied.remove().0)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        match self {
            Self::One(table) => table.len(),
            Self::Many(parts) => parts.parts.iter().map(|part| part.table.len()).sum(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let (one, many) = match self {
            Self::One(table) => (Some(table), &[][..]),
            Self::Many(parts) => (None, &parts.parts[..]),
        };
        one.into_iter()
            .chain(many.iter().map(|part| &part.table))
            .flatten()
    }

    /// Keeps the entries for which the predicate holds.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut Entry) -> bool) {
        match self {
            Self::One(table) => table.retain(&mut keep),
            Self::Many(parts) => {
                for part in &mut parts.parts {
                    part.table.retain(&mut keep);
                }
            }
        }
    }

    /// The entries around an order, and where in the order the next ones begin.
    pub(crate) fn range(&self, order: u64) -> (&HashTable<Entry>, Option<u64>) {
        match self {
            Self::One(table) => (table, None),
            Self::Many(parts) => {
                let part = &parts.parts[parts.part_of(order)];
                let width = ORDER_BITS - part.depth;
                let next = ((order >> width) + 1) << width;
                (&part.table, (next < 1 << ORDER_BITS).then_some(next))
            }
        }
    }
}

impl Parts {
    #[inline]
    fn part_of(&self, order: u64) -> usize {
        let position = usize::try_from(order >> (ORDER_BITS - self.depth));
        self.index[position.expect("the index has an element for all its bits")] as usize
    }

    /// Splits a part in two by one more bit of the order.
    fn split(&mut self, part: usize) {
        let depth = self.parts[part].depth + 1;
        if depth > ORDER_BITS / 2 {
            // 2^24 parts, or as many equal hashes: let it grow instead.
            return;
        }
        if depth > self.depth {
            self.index = self.index.iter().flat_map(|&part| [part, part]).collect();
            self.depth = depth;
        }
        let table = std::mem::take(&mut self.parts[part].table);
        let bit = ORDER_BITS - depth;
        let (mut zeros, mut ones) = (HashTable::new(), HashTable::new());
        for entry in table {
            let hash = hash_key(entry.key());
            let half = if order_of(hash) >> bit & 1 == 0 {
                &mut zeros
            } else {
                &mut ones
            };
            half.insert_unique(hash, entry, rehash);
        }
        let added = u32::try_from(self.parts.len()).expect("at most 2^24 parts");
        self.parts[part] = Part {
            depth,
            table: zeros,
        };
        self.parts.push(Part { depth, table: ones });
        let shift = self.depth - depth;
        for (position, target) in self.index.iter_mut().enumerate() {
            if *target as usize == part && position >> shift & 1 == 1 {
                *target = added;
            }
        }
    }
}

fn rehash(entry: &Entry) -> u64 {
    hash_key(entry.key())
}

#[cfg(test)]
mod tests {
    use kv_core::{Kind, Meta};

    use super::*;

    fn entry(number: u32) -> Entry {
        let meta = Meta {
            kind: Kind::String,
            version: 1,
            expires_ms: 0,
        };
        Entry::record(0, format!("{{tag}}{number}").as_bytes(), meta, b"value")
    }

    #[test]
    fn a_slot_that_splits_keeps_every_entry_and_its_order() {
        let mut slot = Slot::default();
        let count = 10 * u32::try_from(PART_ENTRIES_MAX).unwrap();
        for number in 0..count {
            let entry = entry(number);
            slot.insert(hash_key(entry.key()), entry);
        }
        assert!(matches!(slot, Slot::Many(_)));
        assert_eq!(slot.len(), count as usize);
        assert_eq!(slot.iter().count(), count as usize);
        for number in 0..count {
            let key = entry(number).key().to_vec();
            let hash = hash_key(&key);
            assert!(
                slot.table(hash)
                    .find(hash, |entry| entry.key() == key)
                    .is_some()
            );
        }
        // The ranges partition the order.
        let (mut order, mut seen) = (0, 0);
        loop {
            let (table, next) = slot.range(order);
            for entry in table {
                let at = order_of(hash_key(entry.key()));
                assert!(at >= order);
                assert!(next.is_none_or(|next| at < next));
            }
            seen += table.len();
            match next {
                Some(next) => order = next,
                None => break,
            }
        }
        assert_eq!(seen, count as usize);
        assert!(
            slot.remove(hash_key(entry(7).key()), entry(7).key())
                .is_some()
        );
        assert!(
            slot.remove(hash_key(entry(7).key()), entry(7).key())
                .is_none()
        );
    }
}
