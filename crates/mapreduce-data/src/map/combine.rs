//! A table of keys and what their values were merged to.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::UserError;
use crate::function::Combiner;
use crate::map::buffer::{entry, partition_of, place_of, sort_entries};
use crate::run::prefix;

/// What a key takes besides its bytes: its slot, its place in the table, its entry while sorting.
const SLOT_BYTES: usize = size_of::<Slot>() + 8 + 16;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    partition: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    /// What the value may grow to in its place.
    room: u32,
}

/// Whether a pair was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    Yes,
    /// Drain the table first.
    Full,
}

/// Merges values as they come.
#[derive(Debug)]
pub(crate) struct CombineTable {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    arena: Vec<u8>,
    scratch: Vec<u8>,
    order: Vec<u128>,
    limit: usize,
    taken: u64,
}

impl CombineTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            arena: Vec::new(),
            scratch: Vec::new(),
            order: Vec::new(),
            limit: limit.min(u32::MAX as usize),
            taken: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether merging was worth the table: not if most pairs had keys of their own.
    pub(crate) fn pays(&self) -> bool {
        (self.slots.len() as u64) < self.taken / 4 * 3
    }

    fn room(&self, more: usize) -> bool {
        let used = self.arena.len() + self.slots.len() * SLOT_BYTES;
        self.slots.is_empty() || used + more + SLOT_BYTES <= self.limit
    }

    /// Takes a pair. `partition` is asked for new keys only.
    pub(crate) fn push(
        &mut self,
        key: &[u8],
        value: &[u8],
        combiner: &mut dyn Combiner,
        partition: impl FnOnce() -> u32,
    ) -> Result<Taken, UserError> {
        let hash = xxh3_64(key);
        let (slots, arena) = (&self.slots, &self.arena);
        let found = self.table.find(hash, |index| {
            let slot = &slots[*index as usize];
            slot.hash == hash && part(arena, slot.key, slot.key_len) == key
        });
        if let Some(index) = found {
            return self.merge(*index as usize, value, combiner);
        }
        if !self.room(key.len() + value.len() + 8) {
            return Ok(Taken::Full);
        }
        let index = number(self.slots.len());
        let slot = Slot {
            hash,
            partition: partition(),
            key: number(self.arena.len()),
            key_len: number(key.len()),
            value: number(self.arena.len() + key.len()),
            value_len: number(value.len()),
            room: number(value.len()),
        };
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        self.slots.push(slot);
        let slots = &self.slots;
        self.table
            .insert_unique(hash, index, |index| slots[*index as usize].hash);
        self.taken += 1;
        Ok(Taken::Yes)
    }

    fn merge(
        &mut self,
        index: usize,
        value: &[u8],
        combiner: &mut dyn Combiner,
    ) -> Result<Taken, UserError> {
        let Slot {
            key,
            key_len,
            value: at,
            value_len,
            room,
            ..
        } = self.slots[index];
        self.scratch.clear();
        self.scratch
            .extend_from_slice(part(&self.arena, at, value_len));
        combiner.merge(part(&self.arena, key, key_len), &mut self.scratch, value)?;
        let len = self.scratch.len();
        if len <= room as usize {
            self.arena[at as usize..at as usize + len].copy_from_slice(&self.scratch);
        } else {
            let room = len.next_power_of_two().max(8);
            if !self.room(room) {
                return Ok(Taken::Full);
            }
            self.slots[index].value = number(self.arena.len());
            self.slots[index].room = number(room);
            self.arena.extend_from_slice(&self.scratch);
            self.arena.resize(self.arena.len() + room - len, 0);
        }
        self.slots[index].value_len = number(len);
        self.taken += 1;
        Ok(Taken::Yes)
    }

    /// Puts the keys in order, for [`CombineTable::pair`].
    pub(crate) fn sort(&mut self) {
        self.order.clear();
        for (index, slot) in self.slots.iter().enumerate() {
            let head = prefix(part(&self.arena, slot.key, slot.key_len));
            self.order.push(entry(slot.partition, head, number(index)));
        }
        let (slots, arena) = (&self.slots, &self.arena);
        sort_entries(&mut self.order, |index| {
            part(arena, slots[index].key, slots[index].key_len)
        });
    }

    /// The partition, key and value with this number in the order.
    pub(crate) fn pair(&self, index: usize) -> (u32, &[u8], &[u8]) {
        let entry = self.order[index];
        let slot = &self.slots[place_of(entry)];
        (
            partition_of(entry),
            part(&self.arena, slot.key, slot.key_len),
            part(&self.arena, slot.value, slot.value_len),
        )
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.slots.clear();
        self.arena.clear();
        self.order.clear();
        self.taken = 0;
    }
}

fn part(arena: &[u8], at: u32, len: u32) -> &[u8] {
    &arena[at as usize..at as usize + len as usize]
}

fn number(value: usize) -> u32 {
    u32::try_from(value).expect("the table's limit is at most 4 GiB, and records are shorter")
}
